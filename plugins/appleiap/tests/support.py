"""What the tests share: vectors, accounts, asks, and a wire that carries a conversation to a simulator."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import load_der_x509_certificate

from paycore.channel import (
    AccountKeys,
    Conversation,
    Environment,
    KeyState,
    KeyVersion,
    PaymentAsk,
    RawNotice,
    Reply,
    Request,
    Secret,
)
from paycore_appleiap import APPLEIAP, AppleChannel

T = TypeVar("T")

SECOND = 1_000_000
MINUTE = 60 * SECOND
HOUR = 60 * MINUTE
DAY = 24 * HOUR
NOW = 1_795_375_803 * SECOND
"""When the vectors were signed."""
BASE = "https://apple.example/gate"
SECRETS = {setting.name for setting in APPLEIAP.settings if setting.secret}


@cache
def vectors(name: str) -> Any:
    """The cases of a file beside these tests."""
    return json.loads((Path(__file__).parent / "vectors" / f"{name}.json").read_text(encoding="utf-8"))


def case(case_id: str) -> Any:
    """One signed document."""
    return next(one for one in vectors("jws")["cases"] if one["id"] == case_id)


def vector_settings() -> dict[str, str]:
    """The account that the vectors were made for."""
    import base64

    keys = vectors("jws")["keys"]
    root = load_der_x509_certificate(base64.b64decode(keys["root_der_b64"]))
    return {
        "bundle_id": keys["bundle_id"],
        "app_apple_id": str(keys["app_apple_id"]),
        "issuer_id": keys["issuer_id"],
        "key_id": keys["api_key_id"],
        "private_key": keys["api_key_p8"],
        "root_certificates": root.public_bytes(Encoding.PEM).decode(),
        "base_url": "",
    }


def open_channel(settings: Mapping[str, str], environment: str = "sandbox") -> AppleChannel:
    values = {name: Secret(value) if name in SECRETS else value for name, value in settings.items()}
    version = KeyVersion(1, KeyState.ACTIVE, values)
    return AppleChannel(AccountKeys("ac1", Environment(environment), (version,), version))


def payment(**changes: Any) -> PaymentAsk:
    fields: dict[str, Any] = {
        "payment_id": "py0001",
        "order_id": "or0001",
        "method": "purchase",
        "target": "",
        "amount_minor": 600,
        "currency": "CNY",
        "subject": "60 coins",
        "created_at": NOW,
        "expires_at": NOW + 15 * MINUTE,
        "now": NOW,
        "nonce": "0" * 32,
        "notify_url": "https://shop.example/v1/notices/ac1",
        "product_id": "com.example.musicapp.coins60",
        "token": "7e3fb20b-4cdb-47cc-936d-99d65f608138",
    }
    return PaymentAsk(**fields | changes)


def scripted(conversation: Conversation[T], *answers: Reply) -> tuple[T, list[Request]]:
    """Carry a conversation by these answers, in order; what it concluded and what it asked."""
    asked: list[Request] = []
    left = list(answers)
    try:
        request = next(conversation)
        while True:
            asked.append(request)
            request = conversation.send(left.pop(0))
    except StopIteration as stop:
        result: T = stop.value
        return result, asked


def notice_of(jws: str) -> RawNotice:
    body = json.dumps({"signedPayload": jws}).encode()
    return RawNotice("POST", "/v1/notices/ac1", {"content-type": "application/json"}, body)


def answer(status: int, document: object) -> Reply:
    return Reply(status, {}, b"" if document is None else json.dumps(document).encode())
