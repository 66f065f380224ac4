"""What the tests share: vectors, an account at a simulated Alipay, asks, and a wire that carries a conversation."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from paycore.channel import (
    AccountKeys,
    Conversation,
    Environment,
    KeyState,
    KeyVersion,
    NoticeReply,
    OutgoingNotice,
    PaymentAsk,
    RawNotice,
    RefundAsk,
    Reply,
    Request,
    Secret,
    Silence,
    StatementAsk,
)
from paycore_alipay import ALIPAY
from paycore_alipay.channel import AlipayChannel
from paycore_alipay.simulator import AlipaySimulator

T = TypeVar("T")

NOW = 1_795_375_803_000_000
"""2026-11-22 19:30:03 UTC, which is 03:30:03 of the 23rd in Beijing."""
SECOND = 1_000_000
MINUTE = 60 * SECOND
DAY = 24 * 60 * MINUTE
BASE = "https://alipay.example"
NOTIFY = "https://shop.example/v1/notices/ac1"
PAYMENT = "py01JCPAYMENT0000000000000001"
REFUND = "rf01JCREFUND00000000000000001"
BUYER = "2088102169481075"
AUTH_CODE = "280000000000000000"

_VECTORS = Path(__file__).parent / "vectors"


def vectors(name: str) -> Any:
    """A file of cases."""
    return json.loads((_VECTORS / f"{name}.json").read_text("utf-8"))


KEYS = vectors("keys")


def version_of(settings: Mapping[str, str], number: int = 1, state: KeyState = KeyState.ACTIVE) -> KeyVersion:
    """A key version as the engine hands it over: secrets as Secret."""
    secrets = {setting.name for setting in ALIPAY.settings if setting.secret}
    return KeyVersion(
        number, state, {name: Secret(value) if name in secrets else value for name, value in settings.items()}
    )


def account_of(
    *versions: KeyVersion, signing: KeyVersion | None = None, environment: Environment = Environment.SANDBOX
) -> AccountKeys:
    return AccountKeys("ac1", environment, versions, signing)


def open_with(settings: Mapping[str, str], environment: Environment = Environment.SANDBOX) -> AlipayChannel:
    """A channel with one active key version."""
    version = version_of(settings)
    return AlipayChannel(account_of(version, signing=version, environment=environment))


def vector_settings(**changes: str) -> dict[str, str]:
    """The settings of the merchant that the vectors are about."""
    return {
        "app_id": KEYS["ids"]["alipay_app_id"],
        "seller_id": KEYS["ids"]["alipay_seller_id"],
        "app_private_key": KEYS["rsa"]["alipay_app"]["pkcs8_b64"],
        "alipay_public_key": KEYS["rsa"]["alipay_platform"]["public_spki_b64"],
    } | changes


def vector_certificates() -> dict[str, str]:
    """The same in certificate mode."""
    settings = vector_settings(
        app_cert=KEYS["certs"]["alipay_app_cert"],
        alipay_cert=KEYS["certs"]["alipay_public_cert"],
        alipay_root_cert=KEYS["certs"]["alipay_root_cert"],
    )
    del settings["alipay_public_key"]
    return settings


def payment(method: str = "qr", payment_id: str = PAYMENT, **changes: Any) -> PaymentAsk:
    """An ask about a payment of 128.00."""
    inputs = {"barcode": {"auth_code": AUTH_CODE}, "jsapi": {"buyer_open_id": BUYER}}
    fields: dict[str, Any] = {
        "payment_id": payment_id,
        "order_id": "or1",
        "method": method,
        "target": "",
        "amount_minor": 12800,
        "currency": "CNY",
        "subject": "Two tickets 两张票",
        "created_at": NOW,
        "expires_at": NOW + 15 * MINUTE,
        "now": NOW,
        "nonce": "0" * 32,
        "notify_url": NOTIFY,
        "return_url": "https://shop.example/back?x=1&y=2",
        "inputs": inputs.get(method, inputs["jsapi"]),
    }
    return PaymentAsk(**fields | changes)


def refund(refund_id: str = REFUND, amount_minor: int = 3000, **changes: Any) -> RefundAsk:
    """An ask about a refund of a part of it."""
    of = changes.pop("payment", None) or payment()
    fields: dict[str, Any] = {
        "refund_id": refund_id,
        "payment": of,
        "amount_minor": amount_minor,
        "currency": of.currency,
        "captured_minor": of.amount_minor,
        "reason": "",
        "created_at": of.now,
        "now": of.now,
        "nonce": of.nonce,
        "notify_url": NOTIFY,
    }
    return RefundAsk(**fields | changes)


def converse(conversation: Conversation[T], *replies: Reply | Silence) -> T:
    """Carry a conversation whose answers are known beforehand."""
    try:
        next(conversation)
        for reply in replies:
            _ = conversation.throw(reply) if isinstance(reply, Silence) else conversation.send(reply)
    except StopIteration as stop:
        result: T = stop.value
        return result
    raise AssertionError("the conversation asks more than there are answers")


@dataclass
class World:
    """A simulator, a channel opened on it, and a clock that only tests move."""

    by_certificates: bool = False
    simulator: AlipaySimulator = field(default_factory=lambda: AlipaySimulator("tests"))
    now: int = NOW
    sent: list[Request] = field(default_factory=list)

    def __post_init__(self) -> None:
        settings = self.simulator.settings(BASE, by_certificates=self.by_certificates)
        self.channel = open_with(settings)

    def payment(self, method: str = "qr", payment_id: str = PAYMENT, **changes: Any) -> PaymentAsk:
        return payment(method, payment_id, **{"now": self.now, **changes})

    def refund(self, refund_id: str = REFUND, amount_minor: int = 3000, **changes: Any) -> RefundAsk:
        return refund(refund_id, amount_minor, **{"payment": self.payment(), **changes})

    def statement(self, name: str, day: str) -> StatementAsk:
        return StatementAsk(name, day, self.now, "0" * 32)

    def hold(self, conversation: Conversation[T], spoil: Callable[[Reply], Reply] = lambda reply: reply) -> T:
        """Carry a conversation to its end. Alipay's silence is thrown into it; nobody catching it, it comes out."""
        try:
            request = next(conversation)
            while True:
                self.sent.append(request)
                reply = self.simulator.handle(request, self.now)
                request = conversation.send(spoil(reply)) if reply else conversation.throw(Silence("no answer"))
        except StopIteration as stop:
            result: T = stop.value
            return result

    def pay(self, method: str = "qr", payment_id: str = PAYMENT, **changes: Any) -> None:
        """Have a payment prepared and paid, and its notices taken."""
        ready = self.hold(self.channel.prepare(self.payment(method, payment_id, **changes)))
        self.simulator.accept(ready.plan_json, self.now)  # type: ignore[union-attr]
        self.simulator.pay(payment_id, self.now)
        self.acknowledge_all()

    def notices(self) -> list[OutgoingNotice]:
        return list(self.simulator.due(self.now))

    def acknowledge_all(self) -> list[RawNotice]:
        """Deliver what is due, acknowledge it, and give it back raw."""
        delivered = self.notices()
        for notice in delivered:
            self.simulator.answered(notice.key, NoticeReply(200, {}, b"success"), self.now)
        return [raw(notice.request) for notice in delivered]


def raw(request: Request) -> RawNotice:
    """The notice as it arrives at our door."""
    return RawNotice(request.method, "/v1/notices/ac1", dict(request.headers), request.body)
