"""The channel of the benchmark: the sandbox plugin, with its simulator inside the load generator."""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping
from time import time_ns
from typing import Any
from urllib.parse import urlsplit

from paycore.channel import AccountKeys, Environment, KeyState, KeyVersion, NoticeReply, Secret
from paycore.v1 import notice_pb2, payment_pb2
from paycore_sandbox import SandboxSimulator
from paycore_sandbox.kind import SANDBOX

ACCOUNT_ID = "ac00000000000000000000000001"
"""The account of the baseline, which knows only one."""
GATEWAY = "http://127.0.0.1:9"
"""Where the channel would be reached. The app method signs and asks nobody, so nobody listens there."""


def now_micros() -> int:
    return time_ns() // 1000


def open_channel(settings: Mapping[str, str]) -> Any:
    """The plugin's channel of a merchant with these settings, as the engine would open it."""
    hidden = {setting.name for setting in SANDBOX.settings if setting.secret}
    held = {name: Secret(value) if name in hidden else value for name, value in settings.items()}
    version = KeyVersion(1, KeyState.ACTIVE, held)
    return SANDBOX.open(AccountKeys(ACCOUNT_ID, Environment.SANDBOX, (version,), version))


class Wallet:
    """The payer's side: opens signed orders, pays them, and posts the channel's notices."""

    def __init__(self) -> None:
        self._simulator = SandboxSimulator(secrets.token_hex(16))
        self.settings = dict(self._simulator.settings(GATEWAY))

    def pay(self, payment: payment_pb2.Payment, account_id: str) -> bytes:
        """Pay as the phone would and return the channel's notice as a DeliverNotice request."""
        order = json.loads(payment.action.steps[0].params_json)["arguments"]["orderString"]
        now = now_micros()
        self._simulator.pay(self._simulator.open_app(order, now), now)
        (notice,) = self._simulator.due(now)
        self._simulator.answered(notice.key, NoticeReply(200, {}, b'{"ack":"ok"}'), now)
        request = notice_pb2.DeliverNoticeRequest(
            account_id=account_id,
            http_method=notice.request.method,
            path=urlsplit(notice.request.url).path,
            body=notice.request.body,
        )
        for name, value in notice.request.headers.items():
            request.headers.add(name=name, value=value)
        return request.SerializeToString()
