"""The plugins of this server: found by their entry points, loaded one by one, looked over, and watched while they work.

A plugin that cannot be loaded is reported and skipped; the server starts without it, unless the configuration requires
it. One whose code fails again and again takes no new payments for a while; the payments that it has are still asked
about, and the first answer ends the quarantine.
"""

import logging
import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import partial
from importlib import metadata
from itertools import islice
from typing import Any

import pluggy

from paycore.channel import (
    API_VERSION,
    ENTRY_POINT_GROUP,
    AfterUnknown,
    AnyChannel,
    ChannelKind,
    ChannelVerb,
    Method,
    NoticeCase,
    Offer,
    OfferAsk,
    Simulator,
)
from paycore.channel import spec as channel_spec
from paycore.core.money import CURRENCY_EXPONENTS
from paycore.core.offers import problem_with
from paycore.core.terms import SECOND
from paycore.engine.soundness import Unsound, check_reply
from paycore.engine.workshop import Stuck, ThreadWorkshop, Workshop, within

log = logging.getLogger("paycore.engine.host")

SCENES = frozenset({"app", "qr", "redirect", "form", "jsapi", "mini_program", "barcode", "store"})
CRASHES = 5
"""How many crashes in a row put a kind into quarantine."""
LOAD_SECONDS = 20.0
"""How long a plugin may take to be imported and to describe itself."""
OFFER_SECONDS = 0.5
"""How long a plugin may take to name its offers."""
MOST_OFFERS = 100
"""How many offers a plugin may name for one order."""
QUARANTINE = 60 * SECOND
"""How long it then takes no new payments."""
LEAST_REFRESH_SECONDS = 60
_NAME = re.compile(r"[a-z][a-z0-9_]{0,31}", re.ASCII)


class PluginState(StrEnum):
    """What became of a plugin."""

    LOADED = "loaded"
    BROKEN = "broken"
    DENIED = "denied"


@dataclass(frozen=True, slots=True)
class PluginReport:
    """One plugin as `doctor` shows it. `problem` is one sentence; empty when there is none."""

    plugin: str
    distribution: str
    version: str
    state: PluginState
    channels: tuple[str, ...] = ()
    problem: str = ""


class PluginRequired(Exception):
    """A plugin that the configuration requires is not there, or is broken."""


class BadKind(Exception):
    """A plugin's description of its channel contradicts the channel API."""


class BadOffer(Exception):
    """What a plugin named is no offer that anybody could be given."""


@dataclass(frozen=True, slots=True)
class _Plugin:
    """What a plugin gives: channels, and perhaps offers."""

    kinds: list[ChannelKind]
    offers: Callable[[OfferAsk], list[Iterable[Offer]]] | None


@dataclass(slots=True)
class _Conduct:
    """How a kind has behaved of late."""

    crashes: int = 0
    quarantined_until: int = 0
    last_problem: str = ""


class Host:
    """The channels that this server can speak, by name, and what it knows of their plugins."""

    def __init__(
        self,
        kinds: Iterable[ChannelKind] = (),
        reports: Iterable[PluginReport] = (),
        *,
        workshop: Workshop | None = None,
    ) -> None:
        self.kinds: dict[str, ChannelKind] = {}
        self.reports: list[PluginReport] = list(reports)
        self._offerers: dict[str, Callable[[OfferAsk], list[Iterable[Offer]]]] = {}
        self._conduct: dict[str, _Conduct] = {}
        self._shared_workshop = workshop
        self._workshops: dict[str, Workshop] = {}
        for kind in kinds:
            self._adopt(kind)

    @classmethod
    def load(
        cls,
        *,
        allow: Collection[str] | None = None,
        deny: Collection[str] = (),
        required: Collection[str] = (),
        workshop: Workshop | None = None,
        entry_points: Sequence[metadata.EntryPoint] | None = None,
    ) -> "Host":
        """Load the installed plugins, all of them or the allowed ones. Raises PluginRequired.

        The lists name plugins by their entry points; `required` may also name a channel.
        """
        host = cls(workshop=workshop)
        found = metadata.entry_points(group=ENTRY_POINT_GROUP) if entry_points is None else entry_points
        for point in sorted(found, key=lambda one: one.name):
            is_wanted = point.name not in deny and (allow is None or point.name in allow)
            host.reports.append(host._load(point) if is_wanted else _report(point, PluginState.DENIED))
        host._demand(required)
        return host

    # ------------------------------------------------------------------------------------ loading

    def _load(self, point: metadata.EntryPoint) -> PluginReport:
        try:
            plugin = within(LOAD_SECONDS, lambda: _describe(point))
            kinds = plugin.kinds
            fresh = [kind for kind in kinds if self._take(kind, kinds)]
        except BadKind as error:
            problem = str(error)
        except Stuck:
            problem = f"It could not be loaded in {LOAD_SECONDS:g} s."
        except Exception as error:
            problem = f"It could not be loaded: {type(error).__name__}."
            log.warning("plugin %s could not be loaded", point.name, exc_info=True)
        else:
            for kind in fresh:
                self._adopt(kind)
            if plugin.offers is not None:
                self._offerers[point.name] = plugin.offers
                self._workshops[_offerer(point.name)] = self._shared_workshop or ThreadWorkshop(_offerer(point.name))
            return replace(_report(point, PluginState.LOADED), channels=tuple(kind.name for kind in kinds))
        log.warning("plugin %s is skipped: %s", point.name, problem)
        return replace(_report(point, PluginState.BROKEN), problem=problem)

    def _take(self, kind: object, kinds: Sequence[object]) -> bool:
        check_kind(kind)
        assert isinstance(kind, ChannelKind)
        twins = sum(isinstance(other, ChannelKind) and other.name == kind.name for other in kinds)
        if kind.name in self.kinds or twins > 1:
            raise BadKind(f"Another plugin already gives the channel {kind.name}.")
        return True

    def _adopt(self, kind: ChannelKind) -> None:
        self.kinds[kind.name] = kind
        self._conduct[kind.name] = _Conduct()
        self._workshops[kind.name] = self._shared_workshop or ThreadWorkshop(kind.name)

    def _demand(self, required: Collection[str]) -> None:
        good = {report.plugin for report in self.reports if report.state is PluginState.LOADED} | self.kinds.keys()
        missing = sorted(set(required) - good)
        if missing:
            raise PluginRequired(f"The configuration requires {', '.join(missing)}, which could not be loaded.")

    # ------------------------------------------------------------------------------------ using

    def kind(self, channel: str) -> ChannelKind | None:
        """The kind of this name, if it is loaded."""
        return self.kinds.get(channel)

    def workshop(self, channel: str) -> Workshop:
        """Where this kind's code runs."""
        return self._workshops[channel]

    def simulators(self) -> Mapping[str, Simulator]:
        """A fresh simulator of every channel that ships one that can be made."""
        made: dict[str, Simulator] = {}
        for name, kind in self.kinds.items():
            try:
                if kind.simulator is not None:
                    made[name] = kind.simulator()
            except Exception as error:  # noqa: BLE001 - the others play without it
                log.warning("the simulator of channel %s cannot be made: %s", name, type(error).__name__)
        return made

    async def offers(self, ask: OfferAsk) -> list[Offer]:
        """The offers that plugins name for this order, each under its plugin's name. A plugin that fails names none."""
        named: list[Offer] = []
        for plugin, hook in self._offerers.items():
            who = _offerer(plugin)
            if self.is_quarantined(who, ask.now):
                continue
            try:
                found = await self._workshops[who].run(partial(_named, hook, ask), seconds=OFFER_SECONDS)
            except Exception as error:  # noqa: BLE001 - whatever a plugin does, the order can be paid
                self.crashed(
                    who, "paycore_offers", str(error) if isinstance(error, BadOffer) else type(error).__name__, ask.now
                )
                continue
            self.behaved(who)
            named += [replace(offer, offer_id=f"{plugin}.{offer.offer_id}") for offer in found]
        return named

    # ------------------------------------------------------------------------------------ conduct

    def crashed(self, channel: str, verb: str, problem: str, now: int, *, counts: bool = True) -> None:
        """The plugin's code failed. Five times in a row, with nothing good in between, is a quarantine.

        What strangers can provoke (a notice, a piece of evidence) is reported but does not count.
        """
        log.warning("channel %s failed in %s: %s", channel, verb, problem)
        conduct = self._conduct.setdefault(channel, _Conduct())
        conduct.last_problem = f"{verb}: {problem}"
        if not counts:
            return
        conduct.crashes += 1
        if conduct.crashes >= CRASHES:
            conduct.quarantined_until = now + QUARANTINE

    def behaved(self, channel: str) -> None:
        """The plugin's code did its work; whatever was held against it is forgotten."""
        conduct = self._conduct.get(channel)
        if conduct is not None and conduct.crashes:
            conduct.crashes, conduct.quarantined_until = 0, 0

    def is_quarantined(self, channel: str, now: int) -> bool:
        """Whether the kind takes no new payments now."""
        conduct = self._conduct.get(channel)
        return conduct is not None and now < conduct.quarantined_until

    def is_shaky(self, channel: str) -> bool:
        """Whether the kind's code failed the last time it was run."""
        conduct = self._conduct.get(channel)
        return conduct is not None and conduct.crashes > 0

    def last_problem(self, channel: str) -> str:
        """The last thing that went wrong in the kind's own code, as one line; empty if nothing has."""
        conduct = self._conduct.get(channel)
        return "" if conduct is None else conduct.last_problem


def _offerer(plugin: str) -> str:
    """The name under which a plugin's offers run and are held to account; no channel can have it."""
    return f"{plugin} (offers)"


def _named(hook: Callable[[OfferAsk], list[Iterable[Offer]]], ask: OfferAsk) -> list[Offer]:
    """The offers that a plugin names. Raises BadOffer."""
    found: list[Any] = [offer for answer in hook(ask) for offer in islice(answer, MOST_OFFERS + 1)]
    if len(found) > MOST_OFFERS:
        raise BadOffer(f"it names more than {MOST_OFFERS} offers")
    for offer in found:
        problem = problem_with(offer) if isinstance(offer, Offer) else "It is no Offer."
        if problem:
            raise BadOffer(problem)
    if len({offer.offer_id for offer in found}) < len(found):
        raise BadOffer("two offers have one id")
    return found


def _describe(point: metadata.EntryPoint) -> _Plugin:
    """What one plugin gives. It is registered alone, so that nothing it does touches another."""
    manager = pluggy.PluginManager(channel_spec.PROJECT)
    manager.add_hookspecs(channel_spec)
    manager.register(point.load(), point.name)
    try:
        manager.check_pending()
    except pluggy.PluginValidationError:
        raise BadKind("It implements a hook that paycore does not have.") from None
    answers = manager.hook.paycore_channels()
    makes_offers = bool(manager.hook.paycore_offers.get_hookimpls())
    if not answers and not makes_offers:
        raise BadKind("It has neither the hook paycore_channels nor paycore_offers.")
    kinds = [kind for answer in answers for kind in answer]
    return _Plugin(kinds, (lambda ask: manager.hook.paycore_offers(ask=ask)) if makes_offers else None)


def _report(point: metadata.EntryPoint, state: PluginState) -> PluginReport:
    made_by = point.dist
    return PluginReport(point.name, made_by.name if made_by else "", made_by.version if made_by else "", state)


# ---------------------------------------------------------------------------------------------- looking over


def check_kind(kind: object) -> None:
    """Raise BadKind with one sentence unless the description holds together."""
    if not isinstance(kind, ChannelKind):
        raise BadKind(f"It describes a {type(kind).__name__}, which is no ChannelKind.")
    if kind.api_version != API_VERSION:
        raise BadKind(f"It was made for version {kind.api_version} of the channel API; this is {API_VERSION}.")
    if _NAME.fullmatch(kind.name) is None:
        raise BadKind("The channel's name is not lower-case letters, digits and underscores.")
    if ChannelVerb.PREPARE not in kind.verbs or not kind.methods:
        raise BadKind(f"{kind.name}: a channel needs the verb prepare and at least one method.")
    if not kind.verbs <= set(ChannelVerb):
        raise BadKind(f"{kind.name}: it declares a verb that the channel API does not have.")
    if len({method.name for method in kind.methods}) != len(kind.methods):
        raise BadKind(f"{kind.name}: two methods have one name.")
    for method in kind.methods:
        _check_method(kind, method)
    _check_settings(kind)
    _check_refusals(kind)
    _check_extras(kind)


def _check_method(kind: ChannelKind, method: Method) -> None:
    where = f"{kind.name}.{method.name}"
    if _NAME.fullmatch(method.name) is None or method.scene not in SCENES:
        raise BadKind(f"{where}: the name or the scene is not one that a method can have.")
    if not method.limits or not method.limits.keys() <= CURRENCY_EXPONENTS.keys():
        raise BadKind(f"{where}: limits name at least one currency, by its ISO 4217 code.")
    if any(not 0 < limit.least_minor <= limit.most_minor for limit in method.limits.values()):
        raise BadKind(f"{where}: a limit's least amount is positive and at most its greatest.")
    if not 0 < method.expiry_min_seconds <= method.expiry_max_seconds:
        raise BadKind(f"{where}: the expiry bounds are positive and in order.")
    needed = {ChannelVerb.QUERY, ChannelVerb.CLOSE}
    if method.after_unknown is AfterUnknown.QUERY_THEN_CLOSE and not needed <= kind.verbs:
        raise BadKind(f"{where}: a method that is queried and closed after silence needs the verbs query and close.")
    _check_patterns(where, [one.pattern for one in method.inputs])


def _check_settings(kind: ChannelKind) -> None:
    if len({setting.name for setting in kind.settings}) != len(kind.settings):
        raise BadKind(f"{kind.name}: two settings have one name.")
    identities = [setting for setting in kind.settings if setting.identity]
    if len(identities) > 1 or any(setting.secret for setting in identities):
        raise BadKind(f"{kind.name}: one setting at most is the merchant's identity, and it is no secret.")
    if not kind.environments:
        raise BadKind(f"{kind.name}: it has no environment.")
    _check_patterns(kind.name, [setting.pattern for setting in kind.settings])


def _check_refusals(kind: ChannelKind) -> None:
    if ChannelVerb.READ_NOTICE not in kind.verbs:
        return
    missing = [case.value for case in NoticeCase if case not in kind.refusals]
    if missing:
        raise BadKind(f"{kind.name}: it reads notices but gives no answer for {', '.join(missing)}.")
    for reply in kind.refusals.values():
        try:
            check_reply(reply)
        except Unsound as error:
            raise BadKind(f"{kind.name}: an answer to notices is malformed: {error}.") from None


def _check_extras(kind: ChannelKind) -> None:
    """What belongs to a verb is declared with it or not at all."""
    belongings = {
        ChannelVerb.STATEMENT: bool(kind.statements),
        ChannelVerb.REFRESH: kind.refresh_seconds is not None,
        ChannelVerb.OPERATE: bool(kind.operations),
    }
    for verb, is_described in belongings.items():
        if is_described != (verb in kind.verbs):
            raise BadKind(f"{kind.name}: the verb {verb.value} and what it needs are declared together or not at all.")
    if kind.refresh_seconds is not None and kind.refresh_seconds < LEAST_REFRESH_SECONDS:
        raise BadKind(f"{kind.name}: a refresh less than {LEAST_REFRESH_SECONDS} seconds after the last is too soon.")
    if kind.notice_window_seconds is not None and kind.notice_window_seconds <= 0:
        raise BadKind(f"{kind.name}: the notice window is positive.")
    for named in ([one.name for one in kind.statements], [one.name for one in kind.operations]):
        if len(set(named)) != len(named) or any(_NAME.fullmatch(name) is None for name in named):
            raise BadKind(f"{kind.name}: statements and operations have names of their own, like methods.")
    for operation in kind.operations:
        _check_patterns(f"{kind.name}.{operation.name}", [one.pattern for one in operation.inputs])


def _check_patterns(where: str, patterns: Iterable[str]) -> None:
    for pattern in patterns:
        try:
            re.compile(pattern)
        except re.error:
            raise BadKind(f"{where}: a pattern is not a regular expression.") from None


def check_channel(kind: ChannelKind, channel: AnyChannel) -> None:
    """Raise ValueError with one sentence unless an opened channel has every verb that its kind declares."""
    missing = sorted(verb.value for verb in kind.verbs if not callable(getattr(channel, verb.value, None)))
    if missing:
        raise ValueError(f"the channel lacks verbs that its kind declares: {', '.join(missing)}")
    merchant = getattr(channel, "merchant", None)
    if not isinstance(merchant, str) or not 0 < len(merchant) <= 128 or "\0" in merchant:
        raise ValueError("the channel does not say whose account it is")
