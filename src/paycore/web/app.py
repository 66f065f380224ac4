"""The HTTP face. `POST /v1/notices/{account_id}` is a frozen form: it lives inside unpaid orders at the channels.

Nothing is believed here: the body goes on as the bytes that came, within 64 KiB and five seconds, and what the channel is to
read comes back as bytes.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Final

from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp

from paycore.channel import NoticeReply, RawNotice
from paycore.web.figures import Figures

MOST_BODY_BYTES: Final = 64 * 1024
MOST_HEADER_BYTES: Final = 32 * 1024
BODY_SECONDS: Final = 5.0
HOP_BY_HOP: Final = frozenset(
    {"connection", "content-length", "date", "keep-alive", "server", "transfer-encoding", "upgrade"}
)


@dataclass(frozen=True, slots=True)
class Behind:
    """What stands behind the HTTP face."""

    deliver_notice: Callable[[str, RawNotice], Awaitable[NoticeReply]]
    why_not_ready: Callable[[], Awaitable[str]]
    """An empty text when the process may be sent calls."""
    figures: Figures
    services: ASGIApp | None = None
    """Every RPC, for browsers; None to serve channels' notices only."""
    pages: Sequence[BaseRoute] = ()
    """The hosted cashier."""


class TooLarge(Exception):
    """The body has more bytes than a notice may have."""


def make_app(behind: Behind, *, body_seconds: float = BODY_SECONDS) -> Starlette:
    """The HTTP face of one process."""

    async def notice(request: Request) -> Response:
        response = await answer(request)
        behind.figures.notices[response.status_code] += 1
        return response

    async def answer(request: Request) -> Response:
        if sum(len(name) + len(value) for name, value in request.headers.raw) > MOST_HEADER_BYTES:
            return PlainTextResponse("The header is too large.", 431, {"connection": "close"})
        try:
            async with asyncio.timeout(body_seconds):
                body = await _body(request)
        except TooLarge:
            return PlainTextResponse("The body is too large.", 413, {"connection": "close"})
        except TimeoutError:
            return PlainTextResponse("The body came too slowly.", 408, {"connection": "close"})
        except ClientDisconnect:
            return Response(status_code=400)
        return _reply(await behind.deliver_notice(request.path_params["account_id"], _raw(request, body)))

    async def livez(_request: Request) -> Response:
        return PlainTextResponse("ok")

    async def readyz(_request: Request) -> Response:
        reason = await behind.why_not_ready()
        return JSONResponse({"ready": not reason, "reason": reason}, 503 if reason else 200)

    async def metrics(_request: Request) -> Response:
        content_type, page = behind.figures.page()
        return Response(page, headers={"content-type": content_type})

    routes: list[BaseRoute] = [
        Route("/v1/notices/{account_id}", notice, methods=["POST"]),
        Route("/livez", livez),
        Route("/readyz", readyz),
        Route("/metrics", metrics),
    ]
    if behind.services is not None:
        routes.append(Route("/paycore.v1.{service}/{method}", behind.services))
    app = Starlette(routes=[*routes, *behind.pages])
    app.router.redirect_slashes = False  # what is not there is not there
    return app


async def _body(request: Request) -> bytes:
    if int(request.headers.get("content-length", "0")) > MOST_BODY_BYTES:
        raise TooLarge
    parts, size = [], 0
    async for part in request.stream():
        size += len(part)
        if size > MOST_BODY_BYTES:
            raise TooLarge
        parts.append(part)
    return b"".join(parts)


def _raw(request: Request, body: bytes) -> RawNotice:
    """The notice as it came. A header that came twice becomes one with both values, so that neither is preferred."""
    headers: dict[str, str] = {}
    for name, value in request.headers.items():
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    return RawNotice(
        method=request.method,
        path=request.scope["raw_path"].decode("ascii", "replace"),
        headers=headers,
        body=body,
        query=request.url.query,
    )


def _reply(reply: NoticeReply) -> Response:
    headers = {name: value for name, value in reply.headers.items() if name.lower() not in HOP_BY_HOP}
    return Response(reply.body, reply.status, headers)
