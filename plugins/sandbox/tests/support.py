"""What the tests share: an account at a simulated channel, asks, and a wire that carries a conversation."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
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
)
from paycore_sandbox import SANDBOX, SandboxChannel, SandboxSimulator

T = TypeVar("T")

NOW = 1_795_000_000_000_000
SECOND = 1_000_000
MINUTE = 60 * SECOND
BASE = "https://sandbox.example/gate"
NOTIFY = "https://shop.example/v1/notices/ac1"
TOKEN = "0f8fad5b-d9cb-469f-a165-70867728950e"


def version_of(settings: Mapping[str, str], number: int = 1, state: KeyState = KeyState.ACTIVE) -> KeyVersion:
    """A key version as the engine hands it over: secrets as Secret."""
    secrets = {setting.name for setting in SANDBOX.settings if setting.secret}
    return KeyVersion(
        number, state, {name: Secret(value) if name in secrets else value for name, value in settings.items()}
    )


def account_of(*versions: KeyVersion, signing: KeyVersion | None = None) -> AccountKeys:
    return AccountKeys("ac1", Environment.SANDBOX, versions, signing)


def open_channel(simulator: SandboxSimulator, merchant: str = "SANDBOX") -> SandboxChannel:
    version = version_of(simulator.settings(BASE, merchant))
    return SandboxChannel(account_of(version, signing=version))


@dataclass
class World:
    """A simulator, a channel opened on it, and a clock that only tests move."""

    simulator: SandboxSimulator = field(default_factory=lambda: SandboxSimulator("tests"))
    now: int = NOW
    asked: int = 0
    sent: list[Request] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.channel = open_channel(self.simulator)

    def payment(self, method: str = "qr", payment_id: str = "py1", **changes: Any) -> PaymentAsk:
        self.asked += 1
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
            "now": self.now,
            "nonce": f"{self.asked:032x}",
            "notify_url": NOTIFY,
            "return_url": "https://shop.example/back",
        }
        if method == "store":
            fields |= {"product_id": "gold.100", "token": TOKEN}
        return PaymentAsk(**fields | changes)

    def refund(self, refund_id: str = "rf1", amount_minor: int = 3000, **changes: Any) -> RefundAsk:
        payment = changes.pop("payment", None) or self.payment()
        fields: dict[str, Any] = {
            "refund_id": refund_id,
            "payment": payment,
            "amount_minor": amount_minor,
            "currency": payment.currency,
            "captured_minor": payment.amount_minor,
            "reason": "",
            "created_at": self.now,
            "now": self.now,
            "nonce": payment.nonce,
            "notify_url": NOTIFY,
        }
        return RefundAsk(**fields | changes)

    def hold(self, conversation: Conversation[T], spoil: Callable[[Reply], Reply] = lambda reply: reply) -> T:
        """Carry a conversation to its end. The channel's silence is thrown into it, as the engine does."""
        try:
            request = next(conversation)
            while True:
                self.sent.append(request)
                reply = self.simulator.handle(request, self.now)
                request = conversation.send(spoil(reply)) if reply else conversation.throw(Silence("no answer"))
        except StopIteration as stop:
            result: T = stop.value
            return result

    def overhear(self, conversation: Conversation[Any]) -> Reply:
        """Carry a conversation to its end and return the channel's last reply."""
        heard: list[Reply] = []

        def keep(reply: Reply) -> Reply:
            heard.append(reply)
            return reply

        self.hold(conversation, keep)
        return heard[-1]

    def pay_by_qr(self, payment_id: str = "py1", **changes: Any) -> None:
        self.hold(self.channel.prepare(self.payment("qr", payment_id, **changes)))
        self.simulator.pay(payment_id, self.now)

    def notices(self) -> list[OutgoingNotice]:
        return list(self.simulator.due(self.now))

    def acknowledge_all(self) -> list[RawNotice]:
        """Deliver what is due, acknowledge it, and give it back raw."""
        delivered = self.notices()
        for notice in delivered:
            self.simulator.answered(notice.key, NoticeReply(200, {}, b'{"ack":"ok"}'), self.now)
        return [raw(notice.request) for notice in delivered]


def raw(request: Request) -> RawNotice:
    """The notice as it arrives at our door."""
    return RawNotice(request.method, "/v1/notices/ac1", dict(request.headers), request.body)
