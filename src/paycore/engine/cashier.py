"""Which ways to pay an order this client has, in order, and why one cannot be chosen.

The same questions are asked when a way is shown and when it is chosen. What is not known of a client never hides a
method: a guess costs a payer, a wrong offer only a fallback.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from paycore.channel import ChannelKind, Method, Price, Text
from paycore.core.offers import Deals
from paycore.core.order import LineItem, Order
from paycore.core.paying import refuse_unpayable
from paycore.core.refusals import Reason, Refused
from paycore.core.terms import SECOND
from paycore.engine.accounts import OpenAccount
from paycore.engine.host import Host
from paycore.engine.offers import Offers, Quote

Client = Mapping[str, Any]
"""The ClientContext as plain data: face, os, installed_apps, client_ip, locale, ..."""

FACES = frozenset({"android", "ios", "harmony", "h5", "in_wallet", "mini_program", "pc", "tv", "car"})
MAX_INPUT = 512
_VERSION = re.compile(r"v?([0-9]{1,9}(?:\.[0-9]{1,9})*)", re.ASCII)
_PAYER = re.compile(r"open_?id|payer|buyer", re.IGNORECASE)
"""Inputs that say who pays; one that is missing is PAYER_REQUIRED."""


@dataclass(frozen=True, slots=True)
class Unusable:
    """Why a method cannot be chosen: a stable code, and words that the payer may read."""

    code: str
    words: Text


_WORDS: dict[str, Text] = {
    "ORDER_NOT_PAYABLE": Text("订单当前不能支付", "The order cannot be paid now."),
    "NO_ACCOUNT": Text("商户未开通此支付方式", "The merchant does not take this way of paying."),
    "ACCOUNT_UNUSABLE": Text("商户账户暂不可用", "The merchant's account cannot be used at the moment."),
    "CHANNEL_RESTING": Text("此支付方式暂时不可用", "This way of paying is not available for the moment."),
    "CURRENCY_NOT_TAKEN": Text("此支付方式不支持该币种", "This way of paying does not take the currency."),
    "AMOUNT_TOO_SMALL": Text("金额低于此支付方式的下限", "The amount is too small for this way of paying."),
    "AMOUNT_TOO_LARGE": Text("金额超过此支付方式的上限", "The amount is too large for this way of paying."),
    "FACE_NOT_SUITED": Text("当前设备不支持此支付方式", "This way of paying does not suit the device."),
    "APP_NOT_INSTALLED": Text("设备上没有安装所需的应用", "The app that is needed is not on the device."),
    "SDK_TOO_OLD": Text("应用版本过低，请升级后再试", "The app is too old for this way of paying."),
    "TOO_LITTLE_TIME": Text("剩余支付时间不足", "Too little time is left for this way of paying."),
    "ITEMS_NOT_SUITED": Text("订单商品不能通过应用商店购买", "What is ordered cannot be bought in the store."),
}


def unusable(code: str) -> Unusable:
    """The reason of this code with its words."""
    return Unusable(code, _WORDS[code])


@dataclass(frozen=True, slots=True)
class Option:
    """One method as the cashier shows it. `account_id` is where the money would go; empty when there is nowhere."""

    channel: str
    method: str
    account_id: str
    title: Text
    scene: str
    step_kinds: tuple[str, ...]
    required_inputs: tuple[str, ...]
    quote: Quote
    reason: Unusable | None = None
    is_degraded: bool = False
    is_recommended: bool = False
    is_last_used: bool = False

    @property
    def is_available(self) -> bool:
        """Whether the payer can choose it."""
        return self.reason is None


def options(
    order: Order,
    client: Client,
    accounts: Iterable[OpenAccount],
    *,
    unusable_at: Iterable[str] = (),
    host: Host,
    offers: Offers,
    deals: Deals,
    now: int,
) -> list[Option]:
    """Every method of every channel that the app has an account at; those that can be chosen come first.

    `unusable_at` names the channels where the app has accounts of which none can be opened.
    """
    by_channel: dict[str, list[OpenAccount]] = {channel: [] for channel in unusable_at}
    for account in accounts:
        by_channel.setdefault(account.kind.name, []).append(account)
    case = _Case(order, client, host, offers, deals, now)
    found = [
        case.option(kind, method, best_account(by_channel[name]) if by_channel[name] else None)
        for name, kind in sorted(host.kinds.items())
        if name in by_channel
        for method in kind.methods
    ]
    found.sort(
        key=lambda option: (
            not option.is_available,
            option.is_degraded,
            not _fits_exactly(option, client),
            not option.is_last_used,
        )
    )
    return [replace(option, is_recommended=at == 0 and option.is_available) for at, option in enumerate(found)]


def best_account(accounts: list[OpenAccount]) -> OpenAccount:
    """The first account that takes new payments; the first of all when none does."""
    return next((account for account in accounts if account.takes_payments), accounts[0])


@dataclass(frozen=True, slots=True)
class _Case:
    """One order before one client: what every method is looked at with."""

    order: Order
    client: Client
    host: Host
    offers: Offers
    deals: Deals
    now: int

    def option(self, kind: ChannelKind, method: Method, account: OpenAccount | None) -> Option:
        order, now = self.order, self.now
        quote = self.offers.quote(order, kind.name, method.name, self.offers.given(order, kind, method, self.deals))
        reason = (
            _why_not_payable(order, now)
            or why_not(order, self.client, method, quote.amount_minor)
            or why_not_account(account, self.host, now)
            or _why_not_installed(self.client, method)
            or (unusable("SDK_TOO_OLD") if old_sdk(self.client, method) else None)
            or _why_no_time(order, method, now)
        )
        return Option(
            channel=kind.name,
            method=method.name,
            account_id=account.account_id if account is not None and account.takes_payments else "",
            title=method.title,
            scene=method.scene,
            step_kinds=method.step_kinds,
            required_inputs=tuple(one.name for one in method.inputs),
            quote=quote,
            reason=reason,
            is_degraded=reason is None and self.host.is_shaky(kind.name),
            is_last_used=self.deals.payer.last_used == (kind.name, method.name),
        )


def _fits_exactly(option: Option, client: Client) -> bool:
    """Whether the method's scene is the one that this face of client is made for; only the order of showing depends on it."""
    face = face_of(client)
    return option.scene in _SCENES_FIRST.get(face, ())


_SCENES_FIRST: dict[str, tuple[str, ...]] = {
    "android": ("app", "store"),
    "ios": ("app", "store"),
    "harmony": ("app", "store"),
    "h5": ("redirect", "form"),
    "in_wallet": ("jsapi",),
    "mini_program": ("mini_program", "jsapi"),
    "pc": ("qr", "redirect", "form"),
    "tv": ("qr",),
    "car": ("qr",),
}


# ---------------------------------------------------------------------------------------------- why not


def why_not(order: Order, client: Client, method: Method, amount_minor: int) -> Unusable | None:
    """Why this order and client cannot pay so much by the method, apart from time, account and what is installed; None if they can."""
    limit = method.limits.get(order.currency)
    face = face_of(client)
    if limit is None:
        return unusable("CURRENCY_NOT_TAKEN")
    if amount_minor < limit.least_minor:
        return unusable("AMOUNT_TOO_SMALL")
    if amount_minor > limit.most_minor:
        return unusable("AMOUNT_TOO_LARGE")
    if face and method.faces and face not in method.faces:
        return unusable("FACE_NOT_SUITED")
    if method.price is Price.STORE and store_item(order) is None:
        return unusable("ITEMS_NOT_SUITED")
    return None


def why_not_account(account: OpenAccount | None, host: Host, now: int) -> Unusable | None:
    """Why this account takes no new payment; None if it does. No account is one that cannot be opened."""
    if account is None or not account.takes_payments:
        return unusable("ACCOUNT_UNUSABLE")
    if host.is_quarantined(account.kind.name, now):
        return unusable("CHANNEL_RESTING")
    return None


def _why_not_payable(order: Order, now: int) -> Unusable | None:
    try:
        refuse_unpayable(order, now)
    except Refused:
        return unusable("ORDER_NOT_PAYABLE")
    return None


def _why_not_installed(client: Client, method: Method) -> Unusable | None:
    installed = client.get("installed_apps")
    if not method.needs_app or not installed or method.needs_app in installed:
        return None
    return unusable("APP_NOT_INSTALLED")


def old_sdk(client: Client, method: Method) -> str:
    """The SDK of the client that is known to be too old for the method; empty if none is."""
    told = client.get("sdk_versions") or {}
    for name, least in method.least_sdks.items():
        has, wants = _version(str(told.get(name, ""))), _version(least)
        if has and has < wants:
            return name
    return ""


def _version(text: str) -> tuple[int, ...]:
    """The numbers that a version begins with, without zeros at the end; empty where that says nothing."""
    found = _VERSION.match(text)
    numbers = [int(number) for number in found[1].split(".")] if found else []
    while numbers and not numbers[-1]:
        numbers.pop()
    return tuple(numbers)


def _why_no_time(order: Order, method: Method, now: int) -> Unusable | None:
    return unusable("TOO_LITTLE_TIME") if order.expires_at - now < method.expiry_min_seconds * SECOND else None


def face_of(client: Client) -> str:
    """The kind of client, where it is one that we know; empty if not."""
    face = str(client.get("face") or client.get("os") or "").lower()
    return face if face in FACES else ""


def store_item(order: Order) -> LineItem | None:
    """What a store purchase of this order would buy: the one item that it has."""
    items = order.details.items
    return items[0] if len(items) == 1 and items[0].product_id else None


# ---------------------------------------------------------------------------------------------- a choice


@dataclass(frozen=True, slots=True)
class Choice:
    """What a payer chose. Without an account the app's first usable one of the channel is taken."""

    channel: str
    method: str
    target: str = ""
    """Where the steps are to run; empty to let the client decide it."""
    account_id: str = ""
    inputs: Mapping[str, str] | None = None
    client: Client | None = None
    quote_token: str = ""
    """What the payer was shown; empty to pay whatever the price is."""


def target_for(method: Method, choice: Choice) -> str:
    """Where the method's steps will run. Raises Refused with BRIDGE_UNSUPPORTED when none fits the client or its SDK is too old."""
    if sdk := old_sdk(choice.client or {}, method):
        text = "An SDK of the client is too old for this method."
        raise Refused(Reason.BRIDGE_UNSUPPORTED, text, fields=("client",), sdk=sdk, least=method.least_sdks[sdk])
    if not method.targets:
        return ""
    client = choice.client or {}
    named = [str(word).lower() for word in (choice.target, client.get("face"), client.get("os")) if word]
    fitting = next((word for word in named if word in method.targets), None)
    if fitting is not None:
        return fitting
    if named:
        raise Refused(
            Reason.BRIDGE_UNSUPPORTED,
            "No action of this method runs on the client.",
            fields=("client",),
            targets=",".join(method.targets),
        )
    return ""


def inputs_for(method: Method, given: Mapping[str, str]) -> dict[str, str]:
    """What the method asks of the payer, checked; what it does not ask for is left behind. Raises Refused."""
    taken: dict[str, str] = {}
    for wanted in method.inputs:
        value = given.get(wanted.name, "")
        is_good = re.fullmatch(wanted.pattern, value) is not None if wanted.pattern else len(value) <= MAX_INPUT
        if not value or not is_good:
            is_payer = _PAYER.search(wanted.name) is not None
            raise Refused(
                Reason.PAYER_REQUIRED if is_payer else Reason.INPUT_REQUIRED,
                "The method needs something that is missing or not well formed.",
                fields=(f"inputs.{wanted.name}",),
                input=wanted.name,
            )
        taken[wanted.name] = value
    return taken
