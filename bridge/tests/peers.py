"""The bridges that apps have, as their makers ship them, with the native half of each played as its source has it.

What the page loads is the maker's own file. What a phone would add is a few lines here: the object that the SDK puts into
the page, what the app hears by it, and the script that the SDK evaluates to answer.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

import pytest
from playwright.async_api import Browser, Dialog, Page
from playwright.async_api import Error as BrowserError

from .engine import ORIGIN, Shell, serving

PACKAGES = Path(__file__).parent / "peers/node_modules"
SECRET = "41"
RESTORED = "appRestoredResult"
ECHO = "the app's other business"


class Heard(NamedTuple):
    """A call as the app's SDK reads it."""

    call_id: str
    plugin: str
    text: str


@dataclass(frozen=True)
class Peer:
    """One bridge on one system."""

    name: str
    transport: str
    """What our runtime must find out that it is."""
    hears: Callable[[Any], Heard | None]
    says: Callable[[str, str], str]
    """The script that the SDK evaluates to give this text back to this call."""
    other: str
    """How the page calls another handler of the app, by the maker's own client: a function of a text that gives a promise."""
    has_none: Callable[[str], str] | None = None
    """What is evaluated for a handler that does not exist; None where such a call is only logged."""
    injected: tuple[str, ...] = ()
    """The maker's files that the app itself puts into the page."""
    loaded: tuple[str, ...] = ()
    """The maker's files that the page loads."""
    half: str = ""
    """What the SDK puts into the page before everything. `HANDLERS` are the names that the app registered."""
    scripts: tuple[str, ...] = ("core", "plan")
    prompts: Callable[[str, str], tuple[str, Any | None]] | None = None
    """For bridges that ask by prompt(message, value): the text to answer at once, and what the app heard by it."""

    def __str__(self) -> str:
        return self.name


# ------------------------------------------------------------------------------------------------ DSBridge

# Android's InnerJavascriptInterface.call and iOS's call:: answer -1 to an asynchronous method, begun or missing.
_DSB_KNOWS = "_dsb.hasNativeMethod"


def _dsb_hears(message: Any) -> Heard | None:
    method, given = message
    said = json.loads(given)
    return Heard(said["_dscbstub"], method.partition(".")[0], said["data"]) if "_dscbstub" in said else None


def _dsb_android(stub: str, text: str) -> str:
    return f"{stub}({json.dumps({'code': 0, 'data': text})}.data);delete window.{stub}"


def _dsb_ios(stub: str, text: str) -> str:
    plain = quote(json.dumps({"code": 0, "data": text}), safe="")
    return f'try {{{stub}(JSON.parse(decodeURIComponent("{plain}")).data);delete window.{stub}; }} catch(e){{}};'


_DSB_OTHER = "(text) => new Promise((done) => dsBridge.call('shop.echo', text, done))"
DSBRIDGE_ANDROID = Peer(
    "dsbridge-android",
    "dsbridge",
    _dsb_hears,
    _dsb_android,
    _DSB_OTHER,
    loaded=("dsbridge/dist/dsbridge.js",),
    half="""
    window._dsbridge = { call: function (method, given) {
      if (method === "_dsb.hasNativeMethod")
        return JSON.stringify({ code: 0, data: HANDLERS.indexOf(JSON.parse(given).data.name.split(".")[0]) >= 0 });
      if (HANDLERS.indexOf(method.split(".")[0]) >= 0) window.paycoreHeard([method, given]);
      return '{"code":-1}';
    } };
    """,
)


def _dsb_prompts(message: str, value: str) -> tuple[str, Any | None]:
    method = message.removeprefix("_dsbridge=")
    if method == _DSB_KNOWS:
        return json.dumps({"code": 0, "data": json.loads(value)["data"]["name"]}), None
    return '{"code":-1,"data":""}', [method, value]


DSBRIDGE_IOS = Peer(
    "dsbridge-ios",
    "dsbridge",
    _dsb_hears,
    _dsb_ios,
    _DSB_OTHER,
    loaded=("dsbridge/dist/dsbridge.js",),
    half="window._dswk = true;",
    prompts=_dsb_prompts,
)


# ------------------------------------------------------------------------------------------------ Capacitor


def _cap_hears(message: Any) -> Heard | None:
    call = json.loads(message) if isinstance(message, str) else message
    if call.get("methodName") == "addListener" and call["options"]["eventName"] == RESTORED:
        return Heard(call["callbackId"], RESTORED, "")
    if call.get("methodName") not in ("invoke", "echo"):
        return None
    return Heard(call["callbackId"], call["pluginId"], call["options"]["payload"])


def _cap_result(call_id: str, **more: Any) -> str:
    return json.dumps({"save": False, "callbackId": call_id, "pluginId": "PayCore", "methodName": "invoke", **more})


def _cap_given(call_id: str, text: str) -> str:
    return _cap_result(call_id, success=True, data={"payload": text})


def _cap_missing(call_id: str) -> str:
    """Bridge.java: a plugin that is not registered is answered with a message and no code."""
    return _cap_result(call_id, success=False, error={"message": "unable to find plugin : PayCore"})


_CAP_OTHER = "(text) => Capacitor.nativePromise('Shop', 'echo', { payload: text }).then((said) => said.payload)"
_CAP_ANDROID = "@capacitor/android/capacitor/src/main/assets/native-bridge.js"
_CAP_OBJECT = "window.androidBridge = { postMessage: function (text) { window.paycoreHeard(text); } };"
CAPACITOR_ANDROID = Peer(
    "capacitor-android",
    "capacitor",
    _cap_hears,
    lambda call, text: f"androidBridge.onmessage({{data: {json.dumps(_cap_given(call, text))}}})",
    _CAP_OTHER,
    has_none=lambda call: f"androidBridge.onmessage({{data: {json.dumps(_cap_missing(call))}}})",
    injected=(_CAP_ANDROID,),
    loaded=("@capacitor/core/dist/capacitor.js",),
    half=_CAP_OBJECT,
    scripts=("core", "plan", "hybrid"),
)
CAPACITOR_LEGACY = Peer(
    "capacitor-android-without-listener",
    "capacitor",
    _cap_hears,
    lambda call, text: f"window.Capacitor.fromNative({_cap_given(call, text)})",
    _CAP_OTHER,
    has_none=lambda call: f"window.Capacitor.fromNative({_cap_missing(call)})",
    injected=(_CAP_ANDROID,),
    half=_CAP_OBJECT,
    scripts=("core", "plan", "hybrid"),
)
CAPACITOR_IOS = Peer(
    "capacitor-ios",
    "capacitor",
    _cap_hears,
    lambda call, text: f"window.Capacitor.fromNative({_cap_given(call, text)})",
    _CAP_OTHER,
    injected=("@capacitor/ios/Capacitor/Capacitor/assets/native-bridge.js",),
    loaded=("@capacitor/core/dist/capacitor.js",),
    half="window.webkit = { messageHandlers: { bridge: { postMessage: function (call) { window.paycoreHeard(call); } } } };",
    scripts=("core", "plan", "hybrid"),
)


# ------------------------------------------------------------------------------------------------ Cordova

_CDV_OTHER = "(text) => new Promise((done, failed) => cordova.exec(done, failed, 'Shop', 'echo', [text]))"


def _cdv_hears(message: Any) -> Heard | None:
    call_id, service, action, given = message
    return Heard(call_id, service, given[0]) if action in ("invoke", "echo") else None


def _cdv_android(call_id: str, text: str) -> str:
    """NativeToJsMessageQueue.encodeAsJsMessage; status 1 is OK."""
    return f"cordova.callbackFromNative('{call_id}',true,1,[{json.dumps(text)}],false);"


def _cdv_android_none(call_id: str) -> str:
    """PluginManager.exec; status 2 is CLASS_NOT_FOUND_EXCEPTION."""
    return f"cordova.callbackFromNative('{call_id}',false,2,[\"Class not found\"],false);"


def _cdv_prompts(message: str, value: str) -> tuple[str, Any | None]:
    """CordovaBridge.promptOnJsPrompt: the secret is given once, and a call without it is not heard."""
    if value.startswith("gap_init:"):
        return SECRET, None
    if value.startswith("gap:"):
        secret, service, action, call_id = json.loads(value.removeprefix("gap:"))
        assert str(secret) == SECRET
        return "", [call_id, service, action, json.loads(message)]
    return "", None


CORDOVA_ANDROID = Peer(
    "cordova-android",
    "cordova",
    _cdv_hears,
    _cdv_android,
    _CDV_OTHER,
    has_none=_cdv_android_none,
    loaded=("cordova-android/templates/project/assets/www/cordova.js",),
    half=f"""
    window._cordovaNative = {{
      exec: function (secret, service, action, callbackId, given) {{
        if (secret !== {SECRET}) throw new Error("Disabling exec() bridge!");
        window.paycoreHeard([callbackId, service, action, JSON.parse(given)]);
      }},
      setNativeToJsBridgeMode: function () {{}},
      retrieveJsMessages: function () {{}}
    }};
    """,
    scripts=("core", "plan", "hybrid"),
    prompts=_cdv_prompts,
)
CORDOVA_PROMPT = Peer(
    "cordova-android-by-prompt",
    "cordova",
    _cdv_hears,
    _cdv_android,
    _CDV_OTHER,
    has_none=_cdv_android_none,
    loaded=CORDOVA_ANDROID.loaded,
    scripts=("core", "plan", "hybrid"),
    prompts=_cdv_prompts,
)
CORDOVA_IOS = Peer(
    "cordova-ios",
    "cordova",
    _cdv_hears,
    lambda call, text: f"cordova.require('cordova/exec').nativeCallback('{call}',1,{json.dumps(text)},0, 0)",
    _CDV_OTHER,
    loaded=("cordova-ios/templates/project/www/cordova.js",),
    half="window.webkit = { messageHandlers: { cordova: { postMessage: function (call) { window.paycoreHeard(call); } } } };",
    scripts=("core", "plan", "hybrid"),
)

PEERS = (
    DSBRIDGE_ANDROID,
    DSBRIDGE_IOS,
    CAPACITOR_ANDROID,
    CAPACITOR_LEGACY,
    CAPACITOR_IOS,
    CORDOVA_ANDROID,
    CORDOVA_PROMPT,
    CORDOVA_IOS,
)


# ------------------------------------------------------------------------------------------------ the app


@dataclass
class App:
    """An app with one of these bridges around the page, and our shell behind it. Without a shell it has no handler of ours."""

    peer: Peer
    shell: Shell | None
    page: Page
    heard: list[Heard] = field(default_factory=list)
    listeners: list[str] = field(default_factory=list)
    """The calls that asked to hear of results that come after the app's process died."""
    is_mixed_up: bool = False
    """Whether the SDK answers calls by ids that nobody used."""
    _work: set[asyncio.Task[None]] = field(default_factory=set)

    @property
    def handlers(self) -> list[str]:
        return ["shop", *(["paycore"] if self.shell else [])]

    def hear(self, message: Any) -> None:
        call = self.peer.hears(message)
        if call is not None and call.plugin == RESTORED:
            self.listeners.append(call.call_id)
        elif call is not None:
            self.heard.append(call)
            task = asyncio.ensure_future(self._answer(call))
            self._work.add(task)
            task.add_done_callback(self._work.discard)

    async def _answer(self, call: Heard) -> None:
        if call.plugin.lower() == "shop":
            await self.evaluate(self.peer.says(call.call_id, f"{ECHO}: {call.text}"))
        elif self.shell is None:
            if self.peer.has_none is not None:
                await self.evaluate(self.peer.has_none(call.call_id))
        else:
            said = await self.shell.handle(call.text)
            await self.evaluate(self.peer.says(f"{call.call_id}9" if self.is_mixed_up else call.call_id, said))

    async def evaluate(self, script: str) -> None:
        """As an app does: nobody looks whether the script ran."""
        with contextlib.suppress(BrowserError):
            await self.page.evaluate(f"() => {{ {script} }}")

    async def prompted(self, dialog: Dialog) -> None:
        assert self.peer.prompts is not None
        text, message = self.peer.prompts(dialog.message, dialog.default_value)
        if text.startswith('{"code": 0'):  # which handlers there are is the app's to say
            name = json.loads(text)["data"]
            text = json.dumps({"code": 0, "data": name.partition(".")[0] in self.handlers})
        elif (
            message is not None and self.peer.transport == "dsbridge" and message[0].split(".")[0] not in self.handlers
        ):
            message = None
        await dialog.accept(text)
        if message is not None:
            self.hear(message)

    async def end(self) -> None:
        for task in list(self._work):
            task.cancel()
        await asyncio.gather(*self._work, return_exceptions=True)


def packages() -> Path:
    """Where the makers' files are."""
    if not PACKAGES.is_dir():
        pytest.skip("the bridges as their makers ship them: npm ci --prefix bridge/tests/peers")
    return PACKAGES


@asynccontextmanager
async def in_the_app(browser: Browser, peer: Peer, shell: Shell | None) -> AsyncIterator[App]:
    """The page in an app with this bridge."""
    folder = packages()
    page = await browser.new_page()
    app = App(peer, shell, page)
    await page.route("**/*", serving(*peer.scripts, files=tuple(folder / name for name in peer.loaded)))
    await page.expose_function("paycoreHeard", app.hear)
    if peer.prompts is not None:
        page.on("dialog", app.prompted)
    await page.add_init_script(f"(function () {{ var HANDLERS = {json.dumps(app.handlers)}; {peer.half} }})();")
    for name in peer.injected:
        await page.add_init_script((folder / name).read_text("utf-8"))
    await page.goto(f"{ORIGIN}/")
    try:
        yield app
    finally:
        await app.end()
        await page.context.close()
