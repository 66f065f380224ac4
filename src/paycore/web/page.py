"""The cashier as a page of ours: a link that opens once, a cookie afterwards, files that never change, codes to scan.

The page itself knows nothing: it is one element that asks the same services as everybody, with the session's token in a
cookie that no script can read. A call of the page names the session whose cookie is meant; a page of another origin
cannot say that without asking (CORS), so the cookie alone opens nothing.
"""

import asyncio
import hashlib
import json
import mimetypes
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from typing import Final

from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.routing import BaseRoute, Route

from paycore.core.ids import Prefix, is_id
from paycore.core.refusals import Reason, Refused
from paycore.engine import Engine
from paycore.store import Session
from paycore.web.cookies import cookie_of
from paycore_bridge import Plan, StepKind, qr, runtime

YEAR: Final = 31_536_000
PAGE_HEADERS: Final = {
    "cache-control": "no-store",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin-allow-popups",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
}
_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; "
    "frame-ancestors 'none'; base-uri 'none'; form-action {forms}; "
    "require-trusted-types-for 'script'; trusted-types 'none'"
)
FORMS: Final = "'self' https:"
FORMS_AT_HOME: Final = "'self' https: http://127.0.0.1:* http://localhost:*"
"""Where a channel's form may be sent to; on a machine of one's own also to simulators."""


@dataclass(frozen=True, slots=True)
class Asset:
    """A file of the page under a name that changes with its content."""

    content: bytes
    media_type: str
    name: str


class Assets:
    """The page's files, from the bridge package."""

    def __init__(self) -> None:
        self._by_name: dict[str, Asset] = {}
        self._by_source: dict[str, Asset] = {}
        for source in ("cashier.js", "page.css"):
            self._take(source, files("paycore_bridge").joinpath("cashier", source).read_bytes())
        self._take("bridge.js", runtime.script(runtime.CORE, *runtime.ADDONS).encode())

    def _take(self, source: str, content: bytes) -> None:
        stem, _, ending = source.partition(".")
        name = f"{stem}.{hashlib.sha256(content).hexdigest()[:16]}.{ending}"
        asset = Asset(content, mimetypes.types_map[f".{ending}"], name)
        self._by_name[name] = self._by_source[source] = asset

    def named(self, name: str) -> Asset | None:
        """The file that has this name now."""
        return self._by_name.get(name)

    def url(self, source: str) -> str:
        """Where a file of the package is found."""
        return f"/assets/{self._by_source[source].name}"


class CashierPage:
    """The routes of the page."""

    def __init__(self, engine: Engine, *, is_secure: bool) -> None:
        self._engine = engine
        self._is_secure = is_secure
        self._assets = lru_cache(maxsize=1)(Assets)

    def routes(self) -> list[BaseRoute]:
        return [
            Route("/pay/{session_id}", self._page),
            Route("/pay/{session_id}/code/{payment_id}", self._code),
            Route("/assets/{name}", self._asset),
            Route("/v1/bridge/keys", self._keys),
        ]

    # ------------------------------------------------------------------------------------ the page

    async def _page(self, request: Request) -> Response:
        """The page. A one-time code in the address becomes a cookie, and the address is cleared of it."""
        session_id, code = str(request.path_params["session_id"]), request.query_params.get("code", "")
        if not is_id(session_id, Prefix.SESSION):
            return self._sorry(request, 404)
        if code:
            try:
                session, token = await self._engine.sessions.open_page(session_id, code)
            except Refused as refused:
                if not await self._is_open(request, session_id):
                    return self._sorry(request, _STATUS.get(refused.reason, 410))
            else:
                return self._entered(session, token)
            return RedirectResponse(f"/pay/{session_id}", 303, PAGE_HEADERS)
        if not await self._is_open(request, session_id):
            return self._sorry(request, 410)
        return self._html(_SHELL.format(lang=language(request), session_id=session_id, **self._sources()), 200)

    def _entered(self, session: Session, token: str) -> Response:
        response = RedirectResponse(f"/pay/{session.session_id}", 303, PAGE_HEADERS)
        seconds = max(0, session.expires_at - self._engine.clock.now()) // 1_000_000
        response.set_cookie(
            cookie_of(session.session_id),
            token,
            max_age=seconds,
            path="/",
            secure=self._is_secure,
            httponly=True,
            samesite="lax",
        )
        return response

    async def _is_open(self, request: Request, session_id: str) -> bool:
        return await self._session(request, session_id) is not None

    async def _session(self, request: Request, session_id: str) -> Session | None:
        """The session that the browser's cookie, or a bearer token, opens."""
        token = request.cookies.get(cookie_of(session_id)) or request.headers.get("authorization", "")[7:]
        try:
            session = await self._engine.verify_session_token(token)
        except Refused:
            return None
        return session if session.session_id == session_id else None

    def _sorry(self, request: Request, status: int) -> Response:
        lang = language(request)
        return self._html(
            _SORRY.format(lang=lang, title=_SORRY_TITLE[lang], text=_SORRY_TEXT[lang], **self._sources()), status
        )

    def _sources(self) -> dict[str, str]:
        assets = self._assets()
        names = {"script": "cashier.js", "bridge": "bridge.js", "style": "page.css"}
        return {word: assets.url(source) for word, source in names.items()}

    def _html(self, page: str, status: int) -> Response:
        policy = _POLICY.format(forms=FORMS if self._is_secure else FORMS_AT_HOME)
        return HTMLResponse(page, status, {**PAGE_HEADERS, "content-security-policy": policy})

    # ------------------------------------------------------------------------------------ what it shows

    async def _asset(self, request: Request) -> Response:
        asset = self._assets().named(request.path_params["name"])
        if asset is None:
            return Response(status_code=404)
        headers = {"cache-control": f"public, max-age={YEAR}, immutable", "x-content-type-options": "nosniff"}
        return Response(asset.content, headers=headers, media_type=asset.media_type)

    async def _keys(self, _request: Request) -> Response:
        """The keys that open sealed plans. An app may keep them for an hour, and asks again when it meets a key it does not know."""
        headers = {"cache-control": "public, max-age=3600", "access-control-allow-origin": "*"}
        return Response(self._engine.sealing.published, headers=headers, media_type="application/jwk-set+json")

    async def _code(self, request: Request) -> Response:
        """A payment's QR code as the path of an SVG: `{"size": 41, "path": "M4 4v7h7..."}`."""
        session = await self._session(request, str(request.path_params["session_id"]))
        order = None if session is None else await self._engine.reader.load(session.order_id)
        payment = None if order is None else order.payment(str(request.path_params["payment_id"]))
        content = "" if payment is None else qr_content(payment.plan_json)
        if not content:
            return JSONResponse({}, 404, PAGE_HEADERS)
        return Response(await asyncio.to_thread(drawn, content), 200, PAGE_HEADERS, "application/json")


def qr_content(plan_json: str) -> str:
    """The text to draw, where a step of the plan is a code to scan."""
    if not plan_json:
        return ""
    step = Plan.from_json(plan_json).first(StepKind.QR)
    return "" if step is None else str(step.params.get("content", ""))


@lru_cache(maxsize=512)
def drawn(content: str) -> bytes:
    """A code drawn for the page. Takes 5 to 70 ms the first time."""
    modules = qr.matrix(content)
    return json.dumps({"size": len(modules) + 2 * qr.QUIET_ZONE, "path": qr.path(modules)}).encode()


def language(request: Request) -> str:
    """zh or en, whichever the browser names first."""
    wanted = request.headers.get("accept-language", "").lower().split(",")
    known = (one.strip()[:2] for one in wanted)
    return next((one for one in known if one in ("zh", "en")), "en")


_STATUS: Final = {Reason.STORE_UNAVAILABLE: 503}
_HEAD: Final = """<!doctype html>
<html lang="{lang}">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1, viewport-fit=cover">
<meta name="color-scheme" content="light dark">
<meta name="robots" content="noindex">
<link rel="icon" href="data:,">
"""
_SHELL: Final = (
    _HEAD
    + """<title>paycore</title>
<link rel="stylesheet" href="{style}">
<script src="{bridge}"></script>
<script type="module" src="{script}"></script>
</head>
<body>
<main><paycore-cashier hosted session="{session_id}" lang="{lang}"></paycore-cashier></main>
<noscript><p>请启用 JavaScript 以完成支付。</p><p>Please enable JavaScript to pay.</p></noscript>
</body>
</html>
"""
)
_SORRY: Final = (
    _HEAD
    + """<title>{title}</title>
<link rel="stylesheet" href="{style}">
</head>
<body>
<main class="sorry"><h1>{title}</h1><p>{text}</p></main>
</body>
</html>
"""
)
_SORRY_TITLE: Final = {"zh": "链接已失效", "en": "This link has been used"}
_SORRY_TEXT: Final = {
    "zh": "付款链接只能打开一次。请回到商家页面重新发起支付。",
    "en": "A payment link opens once. Please go back to the shop and start the payment again.",
}
