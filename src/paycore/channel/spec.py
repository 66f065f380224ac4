"""The hooks of a plugin. One that has either is a plugin: most give channels, some make offers."""

from collections.abc import Iterable

import pluggy

from paycore.channel.kind import ChannelKind
from paycore.channel.offers import OfferAsk
from paycore.core.offers import Offer

PROJECT = "paycore"
ENTRY_POINT_GROUP = "paycore.channels"

hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


@hookspec
def paycore_channels() -> Iterable[ChannelKind]:  # type: ignore[empty-body]
    """Describe the channels of this plugin. Called once, at start."""


@hookspec
def paycore_offers(ask: OfferAsk) -> Iterable[Offer]:  # type: ignore[empty-body]
    """Name the offers that this order may be given, at most 100, without asking anybody anything.

    Called each time that a cashier is shown or a payment begun, beside the event loop and for half a second at most. A
    method gets what the offer's terms allow; budgets and quotas are kept by the offer's id, so an id always means the same.
    """
