"""The bridges that apps already have, and how one message looks on each: what the page says, what the app hears, what it answers.

The page's own part is the runtime's; these texts are for shells that are driven without it, and for the vectors that a
Swift, Kotlin or ArkTS developer tests with. Every transport carries one opaque string; nothing else survives all of them.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any
from urllib.parse import quote

from paycore_bridge.steps import Target

HANDLER = "paycore"
SCHEME = "paycore-shop"
PARENT = "https://shop.example"
"""The app's scheme and the embedding page in the texts below; an app puts its own."""

_NATIVE = (Target.ANDROID, Target.IOS, Target.HARMONY)


class Caller(StrEnum):
    """Whether the app can know which page speaks. Where it cannot, the seal of the envelope is the only check."""

    ENGINE = "engine"
    """The engine itself says the origin and whether it is the main frame."""
    SELF_REPORTED = "self_reported"
    """Something says it, but a script could lie."""
    UNKNOWN = "unknown"
    """Every frame reaches the same object."""


@dataclass(frozen=True, slots=True)
class Wire:
    """One message and its answer on one transport. `page` and `answer` are JavaScript; `native` is what the app is handed."""

    page: str
    native: str
    answer: str


@dataclass(frozen=True, slots=True)
class Profile:
    """One transport."""

    name: str
    title: str
    targets: tuple[Target, ...]
    script: str
    """Which script of the runtime speaks it."""
    caller: Caller
    needs: str
    """What the app has to register, in one sentence."""
    trap: str
    """What goes wrong on it without a word."""
    write: Callable[[str, str, Target], Wire]

    def wire(self, message: str, answer: str, *, target: Target) -> Wire:
        """The message and its answer as they go over this transport on this system."""
        if target not in self.targets:
            raise ValueError(f"{self.name} does not exist on {target}")
        return self.write(message, answer, target)


def js_string(text: str) -> str:
    """The text as a JavaScript literal that is safe inside a script: no line separators, no end of a script element."""
    return json.dumps(text, ensure_ascii=True).replace("</", "<\\/")


def _receive(answer: str) -> str:
    return f"PayCoreBridge.receive({js_string(answer)})"


def _compact(plain: Any) -> str:
    return json.dumps(plain, ensure_ascii=False, separators=(",", ":"))


def _base64url(text: str) -> str:
    from paycore_bridge.keys import to_base64url

    return to_base64url(text.encode())


def _wk(message: str, answer: str, target: Target) -> Wire:
    return Wire(f"webkit.messageHandlers.paycore.postMessage({js_string(message)})", message, _receive(answer))


def _wk_reply(message: str, answer: str, target: Target) -> Wire:
    return Wire(f"webkit.messageHandlers.paycoreReply.postMessage({js_string(message)})", message, js_string(answer))


def _native(message: str, answer: str, target: Target) -> Wire:
    return Wire(f"PayCoreNative.postMessage({js_string(message)})", message, _receive(answer))


def _native_listener(message: str, answer: str, target: Target) -> Wire:
    said = f"PayCoreNative.onmessage({{data: {js_string(answer)}}})"
    return Wire(f"PayCoreNative.postMessage({js_string(message)})", message, said)


def _dsbridge(message: str, answer: str, target: Target) -> Wire:
    said = js_string(_compact({"data": message, "_dscbstub": "dscbpc0"}))
    call = (
        f'prompt("_dsbridge=paycore.invoke", {said})'
        if target is Target.IOS
        else f'_dsbridge.call("paycore.invoke", {said})'
    )
    return Wire(call, message, f"dscbpc0({_data(answer)}.data);delete window.dscbpc0")


def _data(answer: str) -> str:
    return f'{{"data":{js_string(answer)}}}'


def _wvjb(message: str, answer: str, target: Target) -> Wire:
    queued = _compact([{"handlerName": HANDLER, "data": message, "callbackId": "cb_1_1795000000000"}])
    back = _compact({"responseId": "cb_1_1795000000000", "responseData": answer})
    return Wire(
        f'WebViewJavascriptBridge.callHandler("{HANDLER}", {js_string(message)}, PayCoreBridge.receive)',
        queued,
        f"WebViewJavascriptBridge._handleMessageFromObjC({js_string(back)})",
    )


def _jsbridge1(message: str, answer: str, target: Target) -> Wire:
    wire = _wvjb(message, answer, target)
    return Wire(wire.page, wire.native, wire.answer.replace("_handleMessageFromObjC", "_handleMessageFromNative"))


def _jsbridge2(message: str, answer: str, target: Target) -> Wire:
    said = {"payload": message, "callbackId": "cb_1_1795000000000"}
    back = _compact({"responseId": "cb_1_1795000000000", "responseData": answer})
    return Wire(
        f'WebViewJavascriptBridge.callHandler("{HANDLER}", {{payload: {js_string(message)}}}, PayCoreBridge.receive)',
        _compact(said),
        f"WebViewJavascriptBridge._handleMessageFromNative({js_string(back)})",
    )


def _capacitor(message: str, answer: str, target: Target) -> Wire:
    said = {"callbackId": "1", "pluginId": "PayCore", "methodName": "invoke", "options": {"payload": message}}
    native = said | {"type": "message"} if target is Target.IOS else said
    back = {
        "callbackId": "1",
        "pluginId": "PayCore",
        "methodName": "invoke",
        "success": True,
        "data": {"payload": answer},
    }
    return Wire(
        f'Capacitor.nativePromise("PayCore", "invoke", {{payload: {js_string(message)}}})',
        _compact(native),
        f"Capacitor.fromNative({_script(back)})",
    )


def _cordova(message: str, answer: str, target: Target) -> Wire:
    native = _compact(["PayCore1", "PayCore", "invoke", [message]] if target is Target.IOS else [message])
    return Wire(
        f'cordova.exec(PayCoreBridge.receive, null, "PayCore", "invoke", [{js_string(message)}])',
        native,
        f'cordova.callbackFromNative("PayCore1", true, 1, [{js_string(answer)}], false)',
    )


def _script(plain: Mapping[str, Any]) -> str:
    return json.dumps(plain, ensure_ascii=True, separators=(",", ":")).replace("</", "<\\/")


def _react_native(message: str, answer: str, target: Target) -> Wire:
    return Wire(f"ReactNativeWebView.postMessage({js_string(message)})", message, f"{_receive(answer)}; true;")


def _flutter_inappwebview(message: str, answer: str, target: Target) -> Wire:
    return Wire(
        f'flutter_inappwebview.callHandler("{HANDLER}", {js_string(message)})', _compact([message]), js_string(answer)
    )


def _flutter_channel(message: str, answer: str, target: Target) -> Wire:
    return Wire(f"PayCore.postMessage({js_string(message)})", message, _receive(answer))


def _postmessage(message: str, answer: str, target: Target) -> Wire:
    return Wire(
        f"parent.postMessage({{paycore: {js_string(message)}}}, {js_string(PARENT)})",
        _compact({HANDLER: message}),
        f"frame.contentWindow.postMessage({{paycore: {js_string(answer)}}}, origin)",
    )


def _uri_scheme(message: str, answer: str, target: Target) -> Wire:
    url = f"{SCHEME}://invoke?d={quote(_base64url(message), safe='')}"
    return Wire(f"frame.src = {js_string(url)}", url, _receive(answer))


PROFILES: Mapping[str, Profile] = {
    profile.name: profile
    for profile in (
        Profile(
            "wk_reply", "WKWebView, handler with reply (iOS 14)", (Target.IOS,), "core", Caller.ENGINE,
            "addScriptMessageHandler(_:contentWorld:name:) with the name paycoreReply; the handler's reply is the answer.",
            "A handler that never calls its reply handler leaves the promise open: the page ends it by its own time.", _wk_reply,
        ),
        Profile(
            "wk", "WKWebView, plain handler", (Target.IOS,), "core", Caller.ENGINE,
            "add(_:name:) with the name paycore; the answer goes back by evaluateJavaScript.",
            "A frame of another origin reaches the same handler: look at frameInfo.isMainFrame and securityOrigin.", _wk,
        ),
        Profile(
            "android_wml", "Android WebMessageListener", (Target.ANDROID,), "core", Caller.ENGINE,
            "WebViewCompat.addWebMessageListener with the name PayCoreNative and exact origins; answer by the reply proxy.",
            "It needs androidx.webkit and a WebView new enough: ask WebViewFeature.isFeatureSupported first.", _native_listener,
        ),
        Profile(
            "android_iface", "Android addJavascriptInterface", (Target.ANDROID,), "core", Caller.UNKNOWN,
            "addJavascriptInterface(object, \"PayCoreNative\") with one @JavascriptInterface method postMessage(String).",
            "Every frame has the object and nobody says which called; it is called on a thread of its own.", _native,
        ),
        Profile(
            "arkweb", "HarmonyOS ArkWeb", (Target.HARMONY,), "core", Caller.ENGINE,
            "registerJavaScriptProxy with the name PayCoreNative, the method postMessage, and the permission JSON.",
            "A synchronous method blocks the page: register postMessage as asynchronous. file: pages match no rule.", _native,
        ),
        Profile(
            "dsbridge", "DSBridge 3", _NATIVE, "core", Caller.UNKNOWN,
            "addJavascriptObject(object, \"paycore\") with an asynchronous method invoke(data, handler).",
            "Code -1 answers a call that has begun as well as one that nobody takes: ask _dsb.hasNativeMethod first, then never look at it.", _dsbridge,
        ),
        Profile(
            "wvjb", "WebViewJavascriptBridge (iOS)", (Target.IOS,), "core", Caller.UNKNOWN,
            "registerHandler(\"paycore\") that calls its response callback once.",
            "An unknown handler is logged by the app and never answered.", _wvjb,
        ),
        Profile(
            "jsbridge1", "JsBridge 1 (Android)", (Target.ANDROID,), "core", Caller.UNKNOWN,
            "registerHandler(\"paycore\"); data arrives as a text.",
            "Messages sent within some milliseconds of each other are lost; the runtime keeps them apart and asks again.", _jsbridge1,
        ),
        Profile(
            "jsbridge2", "JsBridge 2 (Android)", (Target.ANDROID,), "jsbridge", Caller.UNKNOWN,
            "registerHandler(\"paycore\"); data arrives as an object with the field payload.",
            "Same names as version 1 on another wire: version 1's text would be changed, and null throws.", _jsbridge2,
        ),
        Profile(
            "capacitor", "Capacitor", (Target.ANDROID, Target.IOS), "hybrid", Caller.UNKNOWN,
            "A plugin PayCore with the method invoke, which takes and resolves {payload}.",
            "After the process died the answer comes as the event appRestoredResult, never to the promise.", _capacitor,
        ),
        Profile(
            "cordova", "Cordova", (Target.ANDROID, Target.IOS), "hybrid", Caller.SELF_REPORTED,
            "A plugin PayCore with the action invoke, which takes and gives one string.",
            "On iOS nobody checks which page calls.", _cordova,
        ),
        Profile(
            "react_native", "react-native-webview", (Target.ANDROID, Target.IOS), "hybrid", Caller.SELF_REPORTED,
            "onMessage; answer with injectJavaScript.",
            "The object exists only where onMessage is set; check nativeEvent.url yourself.", _react_native,
        ),
        Profile(
            "flutter_inappwebview", "flutter_inappwebview", (Target.ANDROID, Target.IOS), "hybrid", Caller.SELF_REPORTED,
            "addJavaScriptHandler with the name paycore, that returns the answer.",
            "Where no handler is, the promise is answered with null.", _flutter_inappwebview,
        ),
        Profile(
            "flutter_channel", "webview_flutter", (Target.ANDROID, Target.IOS), "hybrid", Caller.UNKNOWN,
            "addJavaScriptChannel with the name PayCore; answer with runJavaScript.",
            "All frames have the channel.", _flutter_channel,
        ),
        Profile(
            "postmessage", "A page in a frame", (Target.MOBILE_WEB, Target.DESKTOP, Target.TV_CAR), "frames", Caller.ENGINE,
            "window.onmessage in the embedding page, comparing event.origin and event.source; better, a MessagePort.",
            "A star as the target origin tells everybody.", _postmessage,
        ),
        Profile(
            "uri_scheme", "The app's own scheme", _NATIVE, "frames", Caller.UNKNOWN,
            "A handler for <scheme>://invoke?d=<base64url>.",
            "One at a time, after a tap; another app may own the same scheme.", _uri_scheme,
        ),
    )
}  # fmt: skip
