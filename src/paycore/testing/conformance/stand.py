"""The stand on which a plugin is tried: its channel opened on its own simulator, a clock, and a wire that can be spoilt."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, TypeVar, cast
from urllib.parse import urlsplit

from paycore.channel import (
    AccountKeys,
    Channel,
    ChannelVerb,
    Conversation,
    EvidenceAsk,
    Forged,
    KeyState,
    KeyVersion,
    KitSimulator,
    LineItem,
    Method,
    NoticeReply,
    OutgoingNotice,
    Paid,
    PaymentAsk,
    PaymentFinding,
    Price,
    RawNotice,
    Ready,
    RefundAsk,
    Reply,
    Request,
    Secret,
    Silence,
    Unknown,
)
from paycore.core.ids import Prefix, make_id
from paycore.engine.accounts import check_settings
from paycore.engine.asking import token_of
from paycore.testing.conformance.case import Case

T = TypeVar("T")

NOW = 1_795_000_000_000_000
SECOND = 1_000_000
MINUTE = 60 * SECOND
HOUR = 60 * MINUTE
NOTIFY = "https://shop.example/v1/notices/ac1"
MAX_REQUESTS = 10
USUAL_MINOR = 12_807
"""An amount whose digits show when they are cut, rounded or moved."""

Spoil = Callable[[Request, Reply | None], Reply | None]
"""What the wire makes of an answer: another one, or None for silence."""


def faithful(request: Request, reply: Reply | None) -> Reply | None:
    """The wire as it should be."""
    return reply


@dataclass(slots=True)
class Heard:
    """A conversation that is over: what it concluded, what was asked and what was answered."""

    finding: Any
    requests: list[Request]
    replies: list[Reply]


@dataclass(slots=True)
class Begun:
    """A payment that was prepared."""

    ask: PaymentAsk
    heard: Heard

    @property
    def payment_id(self) -> str:
        return self.ask.payment_id

    @property
    def plan_json(self) -> str | None:
        finding = self.heard.finding
        return finding.plan_json if isinstance(finding, Ready) else None


class Stand:
    """One merchant at one channel, as a plugin sees it. Time moves only by hand."""

    def __init__(self, case: Case) -> None:
        self.case = case
        self.kind = case.kind
        self.simulator: KitSimulator = case.make_simulator()
        self.now = NOW
        self._numbers = itertools.count(1)
        self.settings = dict(self.simulator.settings(case.base_url))
        self.channel: Channel = self.open(self.settings)

    # ------------------------------------------------------------------------------------ accounts

    def keys(self, *versions: tuple[Mapping[str, str], KeyState]) -> AccountKeys:
        """An account with these settings, the newest first, as the engine hands it over."""
        made = [
            self._version(len(versions) - place, state, settings) for place, (settings, state) in enumerate(versions)
        ]
        signing = next((one for one in made if one.state is not KeyState.VERIFY_ONLY), None)
        return AccountKeys("ac1", self.kind.environments[0], tuple(made), signing)

    def _version(self, number: int, state: KeyState, settings: Mapping[str, str]) -> KeyVersion:
        secrets = {setting.name for setting in self.kind.settings if setting.secret}
        whole = check_settings(self.kind.settings, settings)
        return KeyVersion(
            number, state, {name: Secret(value) if name in secrets else value for name, value in whole.items()}
        )

    def open(self, settings: Mapping[str, str]) -> Channel:
        """The channel of an account with one active key version."""
        return self.open_keys(self.keys((settings, KeyState.ACTIVE)))

    def open_keys(self, keys: AccountKeys) -> Channel:
        """The channel of an account with these key versions."""
        return cast("Channel", self.kind.open(keys))  # whether its verbs are there is a check of its own

    # ------------------------------------------------------------------------------------ what there is

    def has(self, *verbs: ChannelVerb) -> bool:
        """Whether the kind declares all of these."""
        return set(verbs) <= self.kind.verbs

    @property
    def exact_methods(self) -> list[Method]:
        """The methods by which the merchant sets the price."""
        return [method for method in self.kind.methods if method.price is Price.EXACT]

    @property
    def store_methods(self) -> list[Method]:
        return [method for method in self.kind.methods if method.price is Price.STORE]

    @property
    def main_method(self) -> Method | None:
        """A method by which a payment waits for its payer; the first that there is otherwise; None for a pure store."""
        waiting = [method for method in self.exact_methods if not method.may_pay_at_prepare]
        return next(iter(waiting or self.exact_methods), None)

    def currency_of(self, method: Method) -> str:
        return "CNY" if "CNY" in method.limits else next(iter(method.limits))

    def usual_minor(self, method: Method, currency: str = "") -> int:
        """An unround amount within the method's limits."""
        limit = method.limits[currency or self.currency_of(method)]
        return min(max(USUAL_MINOR, limit.least_minor), limit.most_minor)

    # ------------------------------------------------------------------------------------ asks

    def number(self) -> int:
        return next(self._numbers)

    def payment_id(self) -> str:
        return make_id(Prefix.PAYMENT, self.now, self.number())

    def payment(self, method: Method | None = None, **changes: Any) -> PaymentAsk:
        """An ask about a payment, with everything that the engine would put into it."""
        chosen = method or self.main_method or self.kind.methods[0]
        number = self.number()
        payment_id = changes.pop("payment_id", None) or make_id(Prefix.PAYMENT, self.now, number)
        is_store = chosen.price is Price.STORE
        product_id = self.case.product_id if is_store else ""
        fields: dict[str, Any] = {
            "payment_id": payment_id,
            "order_id": make_id(Prefix.ORDER, self.now, number),
            "method": chosen.name,
            "target": chosen.targets[0] if chosen.targets else "",
            "amount_minor": self.usual_minor(chosen),
            "currency": self.currency_of(chosen),
            "subject": "Two tickets 两张票",
            "created_at": self.now,
            "expires_at": self.now + min(15 * 60, chosen.expiry_max_seconds) * SECOND,
            "now": self.now,
            "nonce": f"{number:032x}",
            "notify_url": NOTIFY,
            "return_url": "https://shop.example/back",
            "inputs": self.case.inputs_of(chosen, number),
            "client": dict(self.case.client),
            "items": (LineItem(product_id, "Two tickets", 1, self.usual_minor(chosen)),) if is_store else (),
            "product_id": product_id,
            "token": token_of(payment_id) if is_store else "",
        }
        return PaymentAsk(**fields | changes)

    def again(self, ask: PaymentAsk, **changes: Any) -> PaymentAsk:
        """The same payment asked about now."""
        return replace(ask, now=self.now, nonce=f"{self.number():032x}", **changes)

    def refund(self, payment: PaymentAsk, amount_minor: int, **changes: Any) -> RefundAsk:
        number = self.number()
        fields: dict[str, Any] = {
            "refund_id": make_id(Prefix.REFUND, self.now, number),
            "payment": self.again(payment),
            "amount_minor": amount_minor,
            "currency": payment.currency,
            "captured_minor": payment.amount_minor,
            "reason": "",
            "created_at": self.now,
            "now": self.now,
            "nonce": f"{number:032x}",
            "notify_url": NOTIFY,
        }
        return RefundAsk(**fields | changes)

    def refund_again(self, ask: RefundAsk) -> RefundAsk:
        """The same refund, sent or asked about now."""
        return replace(ask, now=self.now, nonce=f"{self.number():032x}", payment=self.again(ask.payment))

    # ------------------------------------------------------------------------------------ conversations

    def listen(self, conversation: Conversation[Any], spoil: Spoil = faithful) -> Heard:
        """Carry a conversation to its end as the engine does; what the wire makes of the answers is up to `spoil`.

        Silence that the verb does not catch is Unknown, and so is a reply that it calls Forged.
        """
        requests: list[Request] = []
        replies: list[Reply] = []
        try:
            request = next(conversation)
            while True:
                assert isinstance(request, Request), f"it yields a {type(request).__name__}, which is no Request"
                assert len(requests) < MAX_REQUESTS, "it makes too many requests"
                requests.append(request)
                reply = spoil(request, self.simulator.handle(request, self.now))
                if reply is None:
                    request = conversation.throw(Silence("no answer"))
                else:
                    replies.append(reply)
                    request = conversation.send(reply)
        except StopIteration as stop:
            return Heard(stop.value, requests, replies)
        except (Silence, Forged) as error:
            return Heard(Unknown(str(error)), requests, replies)

    def hold(self, conversation: Conversation[Any], spoil: Spoil = faithful) -> Any:
        """What a conversation concludes."""
        return self.listen(conversation, spoil).finding

    def query(self, ask: PaymentAsk, spoil: Spoil = faithful) -> PaymentFinding:
        finding: PaymentFinding = self.hold(self.channel.query(self.again(ask)), spoil)
        return finding

    # ------------------------------------------------------------------------------------ payments

    def begin(self, method: Method | None = None, **changes: Any) -> Begun:
        """Prepare a payment and let the payer's device do what its plan says."""
        ask = self.payment(method, **changes)
        begun = Begun(ask, self.listen(self.channel.prepare(ask)))
        if begun.plan_json is not None:
            accepted = self.simulator.accept(begun.plan_json, self.now)
            assert accepted in (ask.payment_id, ask.token or ask.payment_id), (
                "the payer's device opened another payment than the one that was asked for"
            )
        return begun

    def paid(self, method: Method | None = None, **changes: Any) -> PaymentAsk:
        """A payment whose money was taken."""
        chosen = method or self.main_method
        if chosen is None or chosen.price is Price.STORE:
            return self._bought(chosen or self.kind.methods[0], **changes)
        begun = self.begin(method, **changes)
        if not isinstance(begun.heard.finding, Paid):
            self.simulator.pay(begun.payment_id, self.now)
        return begun.ask

    def _bought(self, method: Method, **changes: Any) -> PaymentAsk:
        """A purchase in a store, which the phone brought to us: the store has its own number for it."""
        begun = self.begin(method, **changes)
        ask, plan_json = begun.ask, begun.plan_json
        assert plan_json is not None, f"{method.name}: {begun.heard.finding}"
        evidence = self.simulator.purchase(plan_json, self.now, amount_minor=ask.amount_minor)
        proof = EvidenceAsk(evidence, self.again(ask), self.now, f"{self.number():032x}")
        [about] = self.hold(self.channel.confirm(proof)).findings
        return self.again(ask, channel_trade_no=about.finding.channel_trade_no)

    # ------------------------------------------------------------------------------------ notices

    def collect(self) -> list[OutgoingNotice]:
        """What the channel wants to deliver now."""
        return list(self.simulator.due(self.now))

    def notices(self) -> list[RawNotice]:
        """What the channel delivers now, each acknowledged as soon as it is here."""
        collected = self.collect()
        for notice in collected:
            raw = raw_notice(notice.request)
            try:
                reply: NoticeReply | None = self.channel.read_notice(raw, self.now).acknowledge
            except Forged:
                reply = None
            self.simulator.answered(notice.key, reply, self.now)
        return [raw_notice(notice.request) for notice in collected]

    def payment_notice(self) -> tuple[PaymentAsk, Request]:
        """A payment that was just paid, and the notice of it as it leaves the channel."""
        self.collect()
        ask = self.paid()
        for notice in self.collect():
            read = self.channel.read_notice(raw_notice(notice.request), self.now)
            if any(getattr(about, "payment_id", None) == ask.payment_id for about in read.findings):
                return ask, notice.request
        raise AssertionError("the channel announces no payment to the address that it was given")


def raw_notice(request: Request) -> RawNotice:
    """A notice as it arrives at our door."""
    parts = urlsplit(request.url)
    headers = {name.lower(): value for name, value in request.headers.items()}
    return RawNotice(request.method, parts.path, headers, request.body, parts.query)
