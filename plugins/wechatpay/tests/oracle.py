"""Asks an independent implementation, wechatpayv3, and keeps what it said in vectors/oracle.json.

    PYTHONPATH=plugins/wechatpay/tests python plugins/wechatpay/tests/oracle.py > vectors/oracle.json

in an environment that has wechatpayv3 beside paycore. Not a test: tests hold us to what it said, without needing it. Both
directions: what it signs must be taken by our simulator and devices; what our simulator signs and seals must be taken by it.
"""

from __future__ import annotations

import importlib
import json
import sys
from typing import Any
from unittest.mock import patch
from urllib.parse import urlsplit

from paycore.channel import PaymentAsk, Reply, Request

NOW = 1_795_000_000_000_000
BASE = "https://wechat.example/gate"
NONCE = "593BEC0C930BF1AFEB40B4A08C8FB242"
ORDER = {
    "description": "两张票",
    "out_trade_no": "PC202611220001",
    "time_expire": "2026-11-18T19:21:40+08:00",
    "notify_url": "https://shop.example/v1/notices/ac1",
    "amount": {"total": 12800, "currency": "CNY"},
}
REFUND = {
    "out_trade_no": "PC202611220001",
    "out_refund_no": "RF202611220001",
    "reason": "不想要了",
    "notify_url": "https://shop.example/v1/notices/ac1",
    "amount": {"refund": 3000, "total": 12800, "currency": "CNY"},
}


def simulator_of(seed: str = "oracle") -> Any:
    """The simulator whose keys and numbers are the same in every run."""
    from paycore_wechatpay import WechatPaySimulator

    return WechatPaySimulator(seed, mode="public_key")


def calls(settings: dict[str, str]) -> list[tuple[str, str, str]]:
    """What a merchant asks, one after the other: method, path and body."""
    own = {"appid": settings["appid"], "mchid": settings["mchid"]}
    by_number = "/v3/pay/transactions/out-trade-no/PC202611220001"
    body = {"mchid": settings["mchid"]}
    return [
        ("POST", "/v3/pay/transactions/app", json.dumps(own | ORDER, ensure_ascii=False)),
        ("GET", f"{by_number}?mchid={settings['mchid']}", ""),
        ("POST", f"{by_number}/close", json.dumps(body)),
        ("POST", "/v3/refund/domestic/refunds", json.dumps(REFUND, ensure_ascii=False)),
        ("GET", "/v3/refund/domestic/refunds/RF202611220001", ""),
    ]


def story(simulator: Any, authorize: Any) -> list[dict[str, Any]]:
    """Every answer and notice of a short life, in order: asked by what `authorize` signs, paid after the second call."""
    settings = dict(simulator.settings(BASE))
    heard: list[dict[str, Any]] = []
    for place, (method, path, body) in enumerate(calls(settings)):
        headers = {
            "authorization": authorize(settings, method, path, body),
            "wechatpay-serial": settings["wechatpay_public_key_id"],
        }
        reply = simulator.handle(Request(method, f"{BASE}{path}", headers=headers, body=body.encode()), NOW)
        assert isinstance(reply, Reply)
        heard.append(_said(f"{method} {urlsplit(path).path}", reply.status, reply.headers, reply.body))
        if place == 1:
            simulator.pay("PC202611220001", NOW)
        for notice in simulator.due(NOW):
            heard.append(_said("notice", 0, notice.request.headers, notice.request.body))
            simulator.answered(notice.key, None, NOW)
    return heard


def _said(what: str, status: int, headers: Any, body: bytes) -> dict[str, Any]:
    signed = {name: value for name, value in headers.items() if name.startswith("wechatpay-")}
    return {"what": what, "status": status, "headers": signed, "body": body.decode()}


def prepay_id_of(heard: list[dict[str, Any]]) -> str:
    """The prepay_id that the first call made."""
    return str(json.loads(heard[0]["body"])["prepay_id"])


def ask_of(settings: dict[str, str]) -> PaymentAsk:
    """The same payment as our plugin is asked about it."""
    return PaymentAsk(
        payment_id="PC202611220001",
        order_id="or0001",
        method="app",
        target="android",
        amount_minor=12800,
        currency="CNY",
        subject="两张票",
        created_at=NOW,
        expires_at=NOW + 900_000_000,
        now=NOW,
        nonce="a" * 32,
        notify_url="https://shop.example/v1/notices/ac1",
    )


def main() -> None:
    utils, core = (importlib.import_module(f"wechatpayv3.{name}") for name in ("utils", "core"))
    authorizations: list[str] = []

    def authorize(settings: dict[str, str], method: str, path: str, body: str) -> str:
        with patch.object(utils.time, "time", return_value=NOW // 1_000_000):
            header = utils.build_authorization(
                path,
                method,
                settings["mchid"],
                settings["merchant_serial"],
                utils.load_private_key(settings["merchant_key"]),
                data=body,
                nonce_str=NONCE,
            )
        authorizations.append(header)
        return str(header)

    simulator = simulator_of()
    heard = story(simulator, authorize)
    settings = dict(simulator.settings(BASE))
    verifier = core.Core(
        mchid=settings["mchid"],
        cert_serial_no=settings["merchant_serial"],
        private_key=settings["merchant_key"],
        apiv3_key=settings["apiv3_key"],
        public_key=settings["wechatpay_public_key"],
        public_key_id=settings["wechatpay_public_key_id"],
    )
    for said in heard:
        if said["what"] == "notice":
            said["opened"] = verifier.callback(titled(said["headers"]), said["body"])["resource"]
            said["verdict"] = bool(said["opened"])
        else:
            said["verdict"] = verifier._verify_signature(titled(said["headers"]), said["body"])
    prepay_id = prepay_id_of(heard)
    lines = [settings["appid"], str(NOW // 1_000_000), NONCE, prepay_id]
    payloads = {"app": verifier.sign(lines), "jsapi": verifier.sign([*lines[:3], f"prepay_id={prepay_id}"])}
    json.dump(
        {"oracle": "wechatpayv3 2.0.4", "authorizations": authorizations, "heard": heard, "payloads": payloads},
        sys.stdout,
        ensure_ascii=False,
        indent=1,
    )


def titled(headers: dict[str, str]) -> dict[str, str]:
    """Header names as they come over HTTP."""
    return {name.title(): value for name, value in headers.items()}


if __name__ == "__main__":
    main()
