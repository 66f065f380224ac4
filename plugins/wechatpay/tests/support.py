"""What the tests share: vectors, accounts, asks, and a wire that carries a conversation to a simulator."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
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
)
from paycore_wechatpay import WECHATPAY, WechatPayChannel, WechatPaySimulator

T = TypeVar("T")

NOW = 1_795_000_000_000_000
SECOND = 1_000_000
MINUTE = 60 * SECOND
HOUR = 60 * MINUTE
DAY = 24 * HOUR
BASE = "https://wechat.example/gate"
NOTIFY = "https://shop.example/v1/notices/ac1"
OPENID = "oUpF8uMuAJO_M2pxb1Q9zNjWeS6o"
SECRETS = {setting.name for setting in WECHATPAY.settings if setting.secret}


@cache
def vectors(name: str) -> Any:
    """The cases of a file beside these tests."""
    return json.loads((Path(__file__).parent / "vectors" / f"{name}.json").read_text(encoding="utf-8"))


def vector_settings(mode: str = "both") -> dict[str, str]:
    """The account that the vectors were made for."""
    keys = vectors("keys")
    settings = {
        "mchid": keys["ids"]["wechat_mchid"],
        "appid": keys["ids"]["wechat_appid"],
        "merchant_serial": keys["serials"]["wechat_merchant_cert"],
        "merchant_key": keys["private"]["wechat_merchant"],
        "apiv3_key": keys["secrets"]["wechat_apiv3_key"],
        "key_mode": mode,
        "base_url": BASE,
    }
    if mode != "certificates":
        settings["wechatpay_public_key_id"] = keys["serials"]["wechat_pubkey_mode"]
        settings["wechatpay_public_key"] = keys["public"]["wechat_pubkey_mode"]
    if mode != "public_key":
        settings["platform_certificates"] = keys["certs"]["wechat_platform_cert"]
    return settings


def version_of(settings: Mapping[str, str], number: int = 1, state: KeyState = KeyState.ACTIVE) -> KeyVersion:
    """A key version as the engine hands it over: secrets as Secret."""
    return KeyVersion(
        number, state, {name: Secret(value) if name in SECRETS else value for name, value in settings.items()}
    )


def account_of(*versions: KeyVersion, signing: KeyVersion | None = None, blob: Secret | None = None) -> AccountKeys:
    return AccountKeys("ac1", Environment.SANDBOX, versions, signing, blob)


def open_channel(settings: Mapping[str, str], blob: Secret | None = None) -> WechatPayChannel:
    version = version_of(settings)
    return WechatPayChannel(account_of(version, signing=version, blob=blob))


@dataclass
class World:
    """A simulator, a channel opened on it, and a clock that only tests move."""

    simulator: WechatPaySimulator = field(default_factory=lambda: WechatPaySimulator("tests"))
    now: int = NOW
    asked: int = 0
    sent: list[Request] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.channel = open_channel(self.simulator.settings(BASE))

    def payment(self, method: str = "native", payment_id: str = "py0001", **changes: Any) -> PaymentAsk:
        self.asked += 1
        inputs = {"auth_code": f"13{self.asked:016d}"} if method == "codepay" else {"openid": OPENID}
        fields: dict[str, Any] = {
            "payment_id": payment_id,
            "order_id": "or0001",
            "method": method,
            "target": "android" if method == "app" else "",
            "amount_minor": 12800,
            "currency": "CNY",
            "subject": "Two tickets 两张票",
            "created_at": NOW,
            "expires_at": NOW + 15 * MINUTE,
            "now": self.now,
            "nonce": f"{self.asked:032x}",
            "notify_url": NOTIFY,
            "return_url": "https://shop.example/back?order=1",
            "inputs": inputs,
            "client": {"client_ip": "203.0.113.7", "os": "ios"},
        }
        return PaymentAsk(**fields | changes)

    def refund(self, refund_id: str = "rf0001", amount_minor: int = 3000, **changes: Any) -> RefundAsk:
        payment = changes.pop("payment", None) or self.payment()
        fields: dict[str, Any] = {
            "refund_id": refund_id,
            "payment": payment,
            "amount_minor": amount_minor,
            "currency": payment.currency,
            "captured_minor": payment.amount_minor,
            "reason": "不想要了",
            "created_at": self.now,
            "now": self.now,
            "nonce": payment.nonce,
            "notify_url": NOTIFY,
        }
        return RefundAsk(**fields | changes)

    def hold(self, conversation: Conversation[T], spoil: Callable[[Reply], Reply | None] = lambda reply: reply) -> T:
        """Carry a conversation to its end. Silence is thrown into it, as the engine does."""
        try:
            request = next(conversation)
            while True:
                self.sent.append(request)
                reply = self.simulator.handle(request, self.now)
                heard = None if reply is None else spoil(reply)
                request = conversation.throw(Silence("no answer")) if heard is None else conversation.send(heard)
        except StopIteration as stop:
            result: T = stop.value
            return result

    def pay_by_code(self, payment_id: str = "py0001", **changes: Any) -> None:
        self.hold(self.channel.prepare(self.payment("native", payment_id, **changes)))
        self.simulator.pay(payment_id, self.now)

    def notices(self) -> list[OutgoingNotice]:
        return list(self.simulator.due(self.now))

    def deliver(self) -> list[NoticeReply]:
        """Read and acknowledge what is due."""
        replies = []
        for notice in self.notices():
            reply = self.channel.read_notice(raw(notice.request), self.now).acknowledge
            self.simulator.answered(notice.key, reply, self.now)
            replies.append(reply)
        return replies


def raw(request: Request) -> RawNotice:
    """The notice as it arrives at our door."""
    headers = {name.lower(): value for name, value in request.headers.items()}
    return RawNotice(request.method, "/v1/notices/ac1", headers, request.body)


def scripted(conversation: Conversation[T], *answers: Reply | Silence) -> tuple[T, list[Request]]:
    """Carry a conversation by these answers, in order; what it concluded and what it asked."""
    asked: list[Request] = []
    left = list(answers)
    try:
        request = next(conversation)
        while True:
            asked.append(request)
            answer = left.pop(0)
            request = conversation.throw(answer) if isinstance(answer, Silence) else conversation.send(answer)
    except StopIteration as stop:
        result: T = stop.value
        return result, asked
