"""The door for browsers in front of `connect`: which pages may call, how slowly a body may come, what no answer may lack."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Final

from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from paycore.web.cookies import with_cookie

CORS_SECONDS: Final = 7_200
BODY_SECONDS: Final = 10.0
ANSWER_HEADERS: Final = (
    (b"cache-control", b"no-store"),
    (b"x-content-type-options", b"nosniff"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
    (b"referrer-policy", b"no-referrer"),
)
ASKED_HEADERS: Final = ("authorization", "connect-protocol-version", "connect-timeout-ms", "content-type")


def open_to(origins: Sequence[str], door: ASGIApp) -> ASGIApp:
    """The door, open to pages of these origins as well as to those of our own. No cookie crosses it: a token is shown."""
    return CORSMiddleware(
        door, allow_origins=origins, allow_methods=["POST"], allow_headers=ASKED_HEADERS, max_age=CORS_SECONDS
    )


class Door:
    """Brings calls to an application that is made when the first one comes: nobody else shall wait for its imports."""

    def __init__(self, make: Callable[[], ASGIApp], *, body_seconds: float = BODY_SECONDS) -> None:
        self._make = make
        self._body_seconds = body_seconds
        self._made: asyncio.Future[ASGIApp] | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        app = await self._app()
        scope = {**scope, "headers": with_cookie(list(scope["headers"]))}
        await app(scope, _Patient(receive, self._body_seconds), _with_headers(send))

    async def _app(self) -> ASGIApp:
        if self._made is None or (self._made.done() and (self._made.cancelled() or self._made.exception())):
            self._made = asyncio.ensure_future(asyncio.to_thread(self._make))
        return await asyncio.shield(self._made)


class _Patient:
    """Receives until the body is complete, but not for ever. Whoever sends it byte by byte has left."""

    def __init__(self, receive: Receive, seconds: float) -> None:
        self._receive = receive
        self._until: float | None = asyncio.get_running_loop().time() + seconds

    async def __call__(self) -> Message:
        try:
            async with asyncio.timeout_at(self._until):
                message = await self._receive()
        except TimeoutError:
            return {"type": "http.disconnect"}
        if message["type"] == "http.request" and not message.get("more_body", False):
            self._until = None
        return message


def _with_headers(send: Send) -> Send:
    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            message = {**message, "headers": [*message.get("headers", ()), *ANSWER_HEADERS]}
        await send(message)

    return sending
