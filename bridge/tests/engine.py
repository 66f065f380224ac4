"""What the tests in real engines share: an app in Python that checks the seal, a page under a strict policy, and a sealed plan."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from playwright.async_api import Route

from paycore_bridge import Plan, Qr, SdkCall, Step, Target, runtime
from paycore_bridge.contract import Method
from paycore_bridge.envelope import BadEnvelope, Payment, UsedOnce, open_envelope, seal
from paycore_bridge.keys import KeySet, SigningKey
from paycore_bridge.messages import answer, claim_of, read_call, refuse
from paycore_bridge.surfaces import ALIPAY

ORIGIN = "https://pay.example"
TRUSTED = "require-trusted-types-for 'script'; trusted-types 'none'"
POLICY = "default-src 'none'; script-src 'self'; base-uri 'none'"
KEY = SigningKey.make()
PLAN = Plan.of(
    Step.of(
        SdkCall("alipay", {"orderStr": "a=1", "showLoading": True}), target=Target.ANDROID, requires=["alipay.sdk"]
    ),
    Step.of(Qr("https://qr.example/1")),
)


@dataclass
class Shell:
    """The app's side: one string in, one string out."""

    code: str = "9000"
    seconds: float = 0
    started: int = 0
    used: UsedOnce = field(default_factory=UsedOnce)
    kept: dict[str, dict[str, Any]] = field(default_factory=dict)

    async def handle(self, text: str) -> str:
        call = read_call(text)
        if call.method is Method.HELLO:
            shell = {"name": "Shop", "version": "1", "os": "android"}
            about = {
                "v": ["1.0"],
                "shell": shell,
                "methods": [],
                "pending": list(self.kept),
                "capabilities": ["alipay.sdk"],
            }
            return answer(call.method, about, message_id=call.id)
        if call.method is Method.PAY:
            return await self.pay(call.params["envelope"], call.id)
        if call.method is Method.RESUME:
            return answer(call.method, self.kept[call.params["payment_id"]], message_id=call.id)
        self.kept.pop(call.params["payment_id"], None)
        return answer(call.method, {"v": "1.0"}, message_id=call.id)

    async def pay(self, envelope: str, message_id: str) -> str:
        try:
            opened = open_envelope(
                envelope,
                keys=KeySet.of(KEY),
                audience="android:com.example.shop",
                now=now(),
                origin=ORIGIN,
                take=self.used.take,
            )
        except BadEnvelope as error:
            return refuse(error.code, message_id=message_id)
        self.started += 1
        await asyncio.sleep(self.seconds)
        table = opened.results["sdk:alipay"]
        claim = claim_of(opened.payment.payment_id, step=0, source="sdk:alipay", code=self.code, table=table)
        self.kept[opened.payment.payment_id] = claim
        return answer(Method.PAY, claim, message_id=message_id)


def now() -> int:
    return time.time_ns() // 1000


def sealed(**changed: Any) -> str:
    given: dict[str, Any] = {"key": KEY, "audience": ["android:com.example.shop"], "origins": [ORIGIN], "now": now()}
    payment = Payment("or_1", changed.pop("payment_id", "pa_1"), "alipay", "app", 100, "CNY")
    return seal(PLAN, payment, issuer="paycore", jti=f"jti_{now()}", bridge=ALIPAY, **(given | changed))


def serving(*scripts: str, files: tuple[Path, ...] = (), policy: str = POLICY) -> Callable[[Route], Awaitable[None]]:
    """A page with these files and then these scripts of the runtime, from nowhere but this process."""
    texts = {f"/files/{file.name}": file for file in files}
    parts = [*texts, *(f"/{name}.js" for name in scripts)]
    page = '<!doctype html><meta charset="utf-8"><title>pay</title>' + "".join(
        f'<script src="{part}"></script>' for part in parts
    )

    async def serve(route: Route) -> None:
        path = route.request.url.removeprefix(ORIGIN)
        if path == "/":
            await route.fulfill(body=page, content_type="text/html", headers={"Content-Security-Policy": policy})
        elif path in texts:
            await route.fulfill(body=texts[path].read_text("utf-8"), content_type="text/javascript")
        elif path.removeprefix("/").removesuffix(".js") in scripts:
            await route.fulfill(body=runtime.script(path[1:-3]), content_type="text/javascript")
        else:
            await route.fulfill(status=404)

    return serve
