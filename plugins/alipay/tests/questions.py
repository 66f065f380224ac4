"""What the oracle is asked about: everything that we sign and everything that our Alipay signs, with the vectors' keys."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from paycore.channel import Conversation, OutgoingNotice, Ready, Reply, Request, Secret
from paycore_alipay import signing, wire
from paycore_alipay.channel import AlipayChannel
from paycore_alipay.simulator import AlipaySimulator, KeyRing, Merchant
from paycore_bridge import Plan, SdkCall

from .support import (
    BASE,
    KEYS,
    NOTIFY,
    NOW,
    PAYMENT,
    open_with,
    payment,
    refund,
    vector_certificates,
    vector_settings,
)

MERCHANT = Merchant(KEYS["ids"]["alipay_app_id"], KEYS["ids"]["alipay_seller_id"])
SUBJECT = '云音乐会员 1 个月 & 100% "+1" {}'


class VectorRing(KeyRing):
    """The vectors' keys in the simulator's roles."""

    def key(self, role: str) -> Any:
        names = {"alipay": "alipay_platform", "app": "alipay_app"}
        name = names.get(role.split(" ", maxsplit=1)[0])
        return super().key(role) if name is None else signing.read_private_key(Secret(KEYS["rsa"][name]["pkcs8_b64"]))


class VectorAlipay(AlipaySimulator):
    """An Alipay that knows the vectors' merchant."""

    def __init__(self) -> None:
        super().__init__("oracle", ring=VectorRing(), merchants=(MERCHANT,))
        self._issued.append((MERCHANT.app_id, 1))


def channels() -> dict[str, AlipayChannel]:
    return {
        "key": open_with(vector_settings(gateway=f"{BASE}/gateway.do")),
        "certificates": open_with(vector_certificates() | {"gateway": f"{BASE}/gateway.do"}),
    }


def parameters(request: Request) -> dict[str, str]:
    return wire.texts(wire.read_form(b"&".join([urlsplit(request.url).query.encode(), request.body])))


def apart(given: dict[str, str]) -> dict[str, Any]:
    """Parameters and their signature, as the oracle takes them."""
    return {"data": {name: value for name, value in given.items() if name != "sign"}, "sign": given["sign"]}


def ours() -> dict[str, dict[str, str]]:
    """Everything that we sign, by its name."""
    signed: dict[str, dict[str, str]] = {}
    for mode, channel in channels().items():
        ask = payment("app", subject=SUBJECT, target="android")
        signed[f"{mode} app"] = order_of(channel, ask)
        asks: dict[str, Conversation[Any]] = {
            "precreate": channel.prepare(payment("qr", subject=SUBJECT)),
            "create": channel.prepare(payment("jsapi", subject=SUBJECT)),
            "pay": channel.prepare(payment("barcode", subject=SUBJECT)),
            "query": channel.query(payment()),
            "close": channel.close(payment()),
            "refund": channel.refund(refund(reason=SUBJECT)),
            "refund query": channel.query_refund(refund()),
        }
        signed |= {f"{mode} {name}": parameters(next(talk)) for name, talk in asks.items()}
    return signed


def order_of(channel: AlipayChannel, ask: Any) -> dict[str, str]:
    found = None
    try:
        next(channel.prepare(ask))
    except StopIteration as stop:
        found = stop.value
    assert isinstance(found, Ready)
    content = Plan.from_json(found.plan_json).steps[0].content
    assert isinstance(content, SdkCall)
    return wire.texts(wire.read_form(str(content.arguments["orderStr"]).encode()))


def lived() -> tuple[list[Reply], list[OutgoingNotice]]:
    """A trade's life at our Alipay: its answers and its notices."""
    alipay, channel = VectorAlipay(), channels()["key"]
    replies: list[Reply] = []

    def hold(talk: Conversation[Any]) -> None:
        reply = alipay.handle(next(talk), NOW)
        assert reply is not None
        replies.append(reply)

    hold(channel.prepare(payment("jsapi", subject=SUBJECT)))
    hold(channel.query(payment()))
    alipay.pay(PAYMENT, NOW)
    hold(channel.query(payment()))
    hold(channel.close(payment()))
    hold(channel.refund(refund()))
    hold(channel.query_refund(refund()))
    alipay.refund_in_console(PAYMENT, NOW, amount_minor=500)
    return replies, list(alipay.due(NOW))


def notices() -> dict[str, dict[str, str]]:
    return {str(at): wire.texts(wire.read_form(one.request.body)) for at, one in enumerate(lived()[1])}


def answers() -> dict[str, dict[str, str]]:
    """The signed answers, and the member of each that the oracle is to find."""
    raw = [reply.body.decode() for reply in lived()[0]]
    return {str(at): {"raw": one, "key": one[2 : one.index('"', 2)]} for at, one in enumerate(raw) if '"sign"' in one}


def question() -> dict[str, Any]:
    """All of it."""
    notice = {name: value for name, value in notices()["0"].items() if name not in ("sign", "sign_type")}
    return {
        "app_id": MERCHANT.app_id,
        "notify_url": NOTIFY,
        "return_url": "https://shop.example/back?x=1&y=2",
        "timestamp": wire.time(NOW),
        "order": {
            "out_trade_no": PAYMENT,
            "total_amount": "128.00",
            "subject": "云音乐会员 1 个月 & 100% +1",
            "time_expire": "2026-11-23 03:45:03",
        },
        "ours": {name: apart(one) for name, one in ours().items()},
        "notices": {name: apart(one) for name, one in notices().items()},
        "answers": answers(),
        "notice": notice,
    }
