"""The runtime in WebKit with its own `webkit.messageHandlers`, with a reply and without: the engine of every page on iOS.

It has no frame info and opens no other app, so that it proves the wire and the engine, not the phone.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from paycore_bridge import runtime
from paycore_bridge.contract import ErrorCode, Method
from paycore_bridge.keys import SigningKey
from paycore_bridge.messages import call, read_call

from .engine import ORIGIN, Shell, sealed

Opens = Callable[..., Awaitable[Any]]

PAGE = f'<!doctype html><meta charset="utf-8"><title>pay</title><script>{runtime.script("core", "plan")}</script>'
HANDLERS = {"wk_reply": "paycoreReply", "wk": "paycore"}
RUN = """
  const shell = await PayCoreBridge.connect({ hello: 5000 });
  const drawn = [];
  const end = await PayCoreBridge.run(ENVELOPE, { shell, target: "android", draw: (content) => { drawn.push(content); } });
  return { transport: shell && shell.transport, end, drawn };
"""
PAY = "return await PayCoreBridge.pay(ENVELOPE, { timeout: 300 })"


def with_envelope(script: str, envelope: str) -> str:
    return f"const ENVELOPE = {json.dumps(envelope)}; {script}"


@pytest.fixture(params=HANDLERS)
def transport(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


async def opened(in_webkit: Opens, shell: Shell, transport: str) -> Any:
    """The page in an app that hears it by this transport's handler."""

    async def handle(_handler: str, text: str) -> str:
        return await shell.handle(text)

    app = await in_webkit(handle, HANDLERS[transport])
    await app.open(PAGE, at=f"{ORIGIN}/")
    return app


async def test_a_payment_goes_out_and_a_result_comes_back(in_webkit: Opens, transport: str) -> None:
    shell = Shell(code="支付\u2028</script>'\"\\")
    app = await opened(in_webkit, shell, transport)
    seen = await app.run(with_envelope(RUN, sealed()))
    assert seen["transport"] == transport
    claim = seen["end"]["claim"]
    assert (seen["end"]["moved"], claim["outcome"], claim["raw"]["code"]) == ("claim", "unknown", shell.code)
    assert (shell.started, seen["drawn"]) == (1, [])
    assert await app.run("return PayCoreBridge.claimed('pa_1').raw.code") == shell.code


class Wayward(Shell):
    """An app that runs the SDK and then does not answer as it should."""

    how = ""

    async def handle(self, text: str) -> str:
        said = await super().handle(text)
        if read_call(text).method is Method.PAY:
            match self.how:
                case "never":
                    await asyncio.Event().wait()
                case "late":
                    await asyncio.sleep(0.9)
                case "wrong id":
                    return json.dumps({**json.loads(said), "id": "an-id-that-nobody-used", "result": {"v": "1.0"}})
                case "rubbish":
                    return said[: len(said) // 2]
        return said


async def test_whatever_the_app_answers_a_call_ends_by_the_pages_own_time(in_webkit: Opens, transport: str) -> None:
    shell = Wayward(code="6001")
    app = await opened(in_webkit, shell, transport)
    await app.run("await PayCoreBridge.connect({ hello: 5000 })")
    for number, how in enumerate(("never", "wrong id", "rubbish", "late"), start=1):
        shell.how = how
        claim = await app.run(with_envelope(PAY, sealed(payment_id=f"pa_{number}")))
        told = [claim["outcome"], claim["reason"], claim["next"]]
        assert told == ["unknown", "returned_without_result", "confirm"], how
        assert shell.started == number, how
        assert await app.run("return PayCoreBridge.started().length") == number, how
    await asyncio.sleep(1)
    assert await app.run("return PayCoreBridge.claimed('pa_4').outcome") == "cancelled"
    assert await app.run("return PayCoreBridge.started()") == ["pa_1", "pa_2", "pa_3"]


async def test_an_app_that_refuses_the_promise_may_have_started_something(in_webkit: Opens) -> None:
    """The engine rejects the page's promise; that says nothing of the SDK."""
    shell = Shell()
    refused = asyncio.Event()

    async def handle(_handler: str, text: str) -> str | None:
        said = await shell.handle(text)
        if read_call(text).method is not Method.PAY:
            return said
        app.tell(refuse=2)
        refused.set()
        return None

    app = await in_webkit(handle, "paycoreReply")
    await app.open(PAGE, at=f"{ORIGIN}/")
    await app.run("await PayCoreBridge.connect({ hello: 5000 })")
    claim = await app.run(with_envelope("return await PayCoreBridge.pay(ENVELOPE, { timeout: 15000 })", sealed()))
    assert refused.is_set()
    assert [claim["outcome"], claim["next"], shell.started] == ["unknown", "confirm", 1]


async def test_a_page_whose_process_died_finds_the_result_in_its_next_life(in_webkit: Opens, transport: str) -> None:
    """A phone ends the page's process while the wallet is in front; the app and its result live on."""
    shell = Shell(code="9000", seconds=0.3)
    app = await opened(in_webkit, shell, transport)
    await app.run("await PayCoreBridge.connect({ hello: 5000 })")
    await app.run(with_envelope("PayCoreBridge.pay(ENVELOPE)", sealed()))
    async with asyncio.timeout(10):
        while not shell.started:
            await asyncio.sleep(0.02)
    await app.kill_page()
    async with asyncio.timeout(10):
        while not shell.kept:
            await asyncio.sleep(0.02)
    await app.open(PAGE, at=f"{ORIGIN}/")
    assert await app.run("return PayCoreBridge.claimed('pa_1') === undefined")
    await app.run("await PayCoreBridge.connect({ hello: 5000 })")
    async with asyncio.timeout(10):
        while await app.run("return PayCoreBridge.claimed('pa_1') === undefined"):
            await asyncio.sleep(0.02)
    assert await app.run("return PayCoreBridge.claimed('pa_1').outcome") == "success_claimed"
    assert shell.started == 1


async def test_a_frame_of_strangers_reaches_the_handler_and_the_seal_stops_it(in_webkit: Opens) -> None:
    """The engine gives the handler to every frame and does not say which one called."""
    shell = Shell()
    answers: list[dict[str, Any]] = []

    async def handle(_handler: str, text: str) -> str:
        said = await shell.handle(text)
        answers.append(json.loads(said))
        return said

    app = await in_webkit(handle, "paycoreReply")
    forged = call(Method.PAY, {"envelope": sealed(key=SigningKey.make())}, message_id="from-a-frame-of-strangers")
    script = f"webkit.messageHandlers.paycoreReply.postMessage({json.dumps(forged)})"
    frame = f'<iframe sandbox="allow-scripts" srcdoc="<script>{script.replace(chr(34), "&quot;")}</script>"></iframe>'
    await app.open(PAGE + frame, at=f"{ORIGIN}/")
    async with asyncio.timeout(10):
        while not answers:
            await asyncio.sleep(0.02)
    assert [answers[0]["id"], answers[0]["error"]["code"], shell.started] == [
        "from-a-frame-of-strangers",
        ErrorCode.SIGNATURE_INVALID,
        0,
    ]
