"""The rules that each shell needs so that only the pages of the shop reach the bridge, generated from the list of origins."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

from paycore_bridge.profiles import HANDLER

_ORIGIN = re.compile(r"https://[a-z0-9](?:[a-z0-9.-]*[a-z0-9])?(?::[0-9]{1,5})?")


class BadOrigin(ValueError):
    """This is not the origin of a page that may pay."""


@dataclass(frozen=True, slots=True)
class ShellRule:
    """What one sort of shell is given."""

    shell: str
    title: str
    language: str
    text: str
    remarks: tuple[str, ...]


def checked(origins: Sequence[str]) -> tuple[str, ...]:
    """The origins, each exact: https, a host in lower case, perhaps a port, and nothing behind. Raises BadOrigin."""
    if not origins:
        raise BadOrigin("name at least one origin, such as https://pay.example")
    for origin in origins:
        if "*" in origin:
            raise BadOrigin("a star lets every page of strangers in; name the origins")
        if _ORIGIN.fullmatch(origin) is None:
            raise BadOrigin(
                "an origin is https://host or https://host:port in lower case, without a path or a slash at the end"
            )
        port = urlsplit(origin).port if origin.count(":") == 2 else None
        if port == 443:
            raise BadOrigin("leave out the port 443: engines write the origin without it")
    return tuple(dict.fromkeys(origins))


def arkweb_permission(origins: Sequence[str]) -> str:
    """The permission JSON of registerJavaScriptProxy. Scheme and host match exactly; an empty port or path matches all."""
    parts = [urlsplit(origin) for origin in checked(origins)]
    pages = [
        {"scheme": part.scheme, "host": part.hostname, "port": "" if part.port is None else str(part.port), "path": ""}
        for part in parts
    ]
    rule = {
        "javascriptProxyPermission": {
            "urlPermissionList": pages,
            "methodList": [{"methodName": "postMessage", "urlPermissionList": pages}],
        }
    }
    return json.dumps(rule, indent=2)


def android_rules(origins: Sequence[str]) -> str:
    """The rules of addWebMessageListener, in Kotlin."""
    listed = ", ".join(json.dumps(origin) for origin in checked(origins))
    return f"""val payOrigins = setOf({listed})

if (WebViewFeature.isFeatureSupported(WebViewFeature.WEB_MESSAGE_LISTENER)) {{
    WebViewCompat.addWebMessageListener(webView, "PayCoreNative", payOrigins) {{ _, message, origin, isMainFrame, reply ->
        if (isMainFrame) shell.handle(message.data ?: "", origin.toString()) {{ reply.postMessage(it) }}
    }}
}}"""


def ios_check(origins: Sequence[str]) -> str:
    """The check of frame and origin that WebKit leaves to the app, in Swift."""
    listed = ", ".join(json.dumps(origin) for origin in checked(origins))
    return f"""let payOrigins: Set<String> = [{listed}]

func mayPay(_ message: WKScriptMessage) -> String? {{
    guard message.frameInfo.isMainFrame else {{ return nil }}
    let from = message.frameInfo.securityOrigin
    let isDefault = from.port == 0 || from.port == 443
    let origin = "\\(from.protocol)://\\(from.host)" + (isDefault ? "" : ":\\(from.port)")
    return payOrigins.contains(origin) ? origin : nil
}}"""


def web_frame_check(origins: Sequence[str]) -> str:
    """The check of a page that embeds the cashier in a frame."""
    listed = json.dumps(list(checked(origins)))
    return f"""const payOrigins = new Set({listed});

addEventListener("message", (event) => {{
  if (event.source !== frame.contentWindow || !payOrigins.has(event.origin)) return;
  if (typeof event.data?.{HANDLER} === "string") handle(event.data.{HANDLER}, event.origin);
}});"""


def shell_rules(origins: Sequence[str]) -> tuple[ShellRule, ...]:
    """The rules of every sort of shell for these origins."""
    return (
        ShellRule(
            "ios",
            "iOS, WKWebView",
            "swift",
            ios_check(origins),
            (
                "WebKit gives every frame the handler: nil means no answer at all, and no SDK.",
                "Info.plist: LSApplicationQueriesSchemes with the schemes of the wallets, else whether one is installed stays unknown.",
                "Forward openURL and universal links to each SDK; otherwise the result is lost.",
            ),
        ),
        ShellRule(
            "android",
            "Android, WebView",
            "kotlin",
            android_rules(origins),
            (
                "The origins are exact. A star, or addJavascriptInterface, lets every frame in; then only the seal protects.",
                "AndroidManifest.xml: <queries> with the wallets' packages, else whether one is installed stays unknown.",
                "Leave setAllowFileAccessFromFileURLs and setAllowUniversalAccessFromFileURLs off.",
            ),
        ),
        ShellRule(
            "harmony",
            "HarmonyOS, ArkWeb: the permission of registerJavaScriptProxy",
            "json",
            arkweb_permission(origins),
            (
                "Register postMessage in the list of asynchronous methods; a synchronous one blocks the page.",
                "A page loaded from file: matches no rule.",
                "module.json5: querySchemes with the schemes of the wallets.",
            ),
        ),
        ShellRule(
            "frame",
            "A page that embeds the cashier",
            "javascript",
            web_frame_check(origins),
            ("Answer to event.origin, never to a star.",),
        ),
    )
