"""Carries a channel's requests over HTTP: in time, over TLS, never too much, nowhere else, and with secrets kept out of logs."""

import asyncio
import ipaddress
import json
import logging
import ssl
from collections.abc import Mapping
from http.cookiejar import CookieJar, DefaultCookiePolicy
from time import perf_counter
from typing import Any, Protocol
from urllib.parse import parse_qsl, urlsplit

import httpx2

from paycore.channel import Reply, Request, Silence

log = logging.getLogger("paycore.engine.carrier")
for _name in ("httpx2", "httpcore2"):
    logging.getLogger(_name).setLevel(logging.WARNING)  # they log whole URLs and headers, whose queries hold signatures

MAX_REPLY_BYTES = 1024 * 1024
LARGEST_REPLY_BYTES = 64 * 1024 * 1024
"""What a request may ask for at most (a statement's file)."""
MAX_REQUEST_BYTES = 1024 * 1024
MASK = "******"
_NEVER_SENT = (
    httpx2.ConnectError,
    httpx2.ConnectTimeout,
    httpx2.PoolTimeout,
    httpx2.ProxyError,
    httpx2.LocalProtocolError,
    httpx2.InvalidURL,
)


class Carrier(Protocol):
    """Carries one request and brings back the reply."""

    async def carry(self, request: Request, *, seconds: float) -> Reply:
        """The reply. Raises Silence when there is none in time; its `was_sent` is False only when not one byte left."""


class HttpCarrier:
    """Carries over HTTP/1.1 with pooled connections.

    No redirect is followed, no proxy is taken from the environment, no cookie is kept, no answer may be larger than the
    cap. Plain HTTP is for this machine only (the sandbox), unless it is allowed outright.
    """

    def __init__(
        self,
        *,
        max_reply_bytes: int = MAX_REPLY_BYTES,
        tls: ssl.SSLContext | None = None,
        allow_plain_http: bool = False,
        connections: int = 100,
        transport: httpx2.AsyncBaseTransport | None = None,
    ) -> None:
        self._max_reply_bytes = max_reply_bytes
        self._tls = tls
        self._allow_plain_http = allow_plain_http
        self._connections = connections
        self._transport = transport
        self._made: httpx2.AsyncClient | None = None

    async def carry(self, request: Request, *, seconds: float) -> Reply:
        """Carry it and read the whole reply. Raises Silence."""
        if not self._may_leave(request):
            raise Silence("the address is not one that may be spoken to", was_sent=False)
        began, journey = perf_counter(), _Journey()
        limit = max(min(seconds, request.timeout_seconds), 0.001)
        try:
            async with asyncio.timeout(limit):
                reply = await self._exchange(request, limit, journey)
        except (TimeoutError, httpx2.HTTPError, httpx2.InvalidURL, httpx2.StreamError, OSError, ValueError) as error:
            was_sent = journey.may_have_sent(error)
            log.info("%s: no answer (%s)", _address(request), type(error).__name__)
            raise Silence(type(error).__name__, was_sent=was_sent) from None
        milliseconds = (perf_counter() - began) * 1000
        log.info("%s: %d in %.0f ms, %d bytes", _address(request), reply.status, milliseconds, len(reply.body))
        if log.isEnabledFor(logging.DEBUG):
            log.debug("sent %s", json.dumps(redacted(request)))
        return reply

    async def aclose(self) -> None:
        """Give the connections back."""
        if self._made is not None:
            await self._made.aclose()
            self._made = None

    async def _exchange(self, request: Request, limit: float, journey: "_Journey") -> Reply:
        call = self._client.stream(
            request.method,
            request.url,
            headers=dict(request.headers),
            content=request.body,
            timeout=limit,
            extensions={"trace": journey.trace},
        )
        async with call as response:
            most = min(
                request.max_reply_bytes or self._max_reply_bytes, max(LARGEST_REPLY_BYTES, self._max_reply_bytes)
            )
            return Reply(response.status_code, dict(response.headers), await self._read(response, most))

    async def _read(self, response: httpx2.Response, most: int) -> bytes:
        """The body as it came, up to the cap. We ask for no compression; what is compressed all the same is not read."""
        if response.headers.get("content-encoding", "identity").lower() != "identity":
            raise Silence("the answer is compressed")
        body = bytearray()
        async for chunk in response.aiter_raw():
            body += chunk
            if len(body) > most:
                raise Silence("the answer is too large")
        return bytes(body)

    def _may_leave(self, request: Request) -> bool:
        try:
            parts = urlsplit(request.url)
            host = parts.hostname or ""
        except ValueError:
            return False
        if not host or parts.username is not None or len(request.body) > MAX_REQUEST_BYTES:
            return False
        return parts.scheme == "https" or (
            parts.scheme == "http" and (self._allow_plain_http or _is_this_machine(host))
        )

    @property
    def _client(self) -> httpx2.AsyncClient:
        if self._made is None:
            self._made = httpx2.AsyncClient(
                verify=self._tls or True,
                trust_env=False,
                follow_redirects=False,
                cookies=CookieJar(DefaultCookiePolicy(allowed_domains=())),
                headers={"user-agent": "paycore", "accept-encoding": "identity"},
                limits=httpx2.Limits(max_connections=self._connections, max_keepalive_connections=self._connections),
                transport=self._transport,
            )
        return self._made


class _Journey:
    """How far a request came, as the transport reports it."""

    def __init__(self) -> None:
        self._is_traced = False
        self._has_left = False

    async def trace(self, event: str, info: Mapping[str, Any]) -> None:
        self._is_traced = True
        if event.endswith("send_request_headers.started"):
            self._has_left = True

    def may_have_sent(self, error: Exception) -> bool:
        """Whether a byte may have left. What the transport does not tell counts as sent."""
        if self._has_left:
            return True
        if isinstance(error, _NEVER_SENT):
            return False
        return not self._is_traced


def _is_this_machine(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


# ---------------------------------------------------------------------------------------------- what a log may show


def _address(request: Request) -> str:
    """Method, host and path. A query may hold a signature, so it is left out."""
    parts = urlsplit(request.url)
    return f"{request.method} {parts.hostname}{parts.path}"


def redacted(request: Request) -> dict[str, Any]:
    """A request as a log may show it: what it names to redact is masked, what cannot be read is only measured."""
    names = {name.lower() for name in request.redact}
    return {
        "to": _address(request),
        "query": _masked(dict(parse_qsl(urlsplit(request.url).query, keep_blank_values=True)), names),
        "headers": {name: MASK if name.lower() in names else value for name, value in request.headers.items()},
        "body": _masked_body(request, names),
    }


def _masked_body(request: Request, names: set[str]) -> Any:
    kind = next((value for name, value in request.headers.items() if name.lower() == "content-type"), "")
    try:
        if "json" in kind:
            return _masked(json.loads(request.body), names)
        if "form-urlencoded" in kind:
            return _masked(dict(parse_qsl(request.body.decode(), keep_blank_values=True)), names)
    except (ValueError, RecursionError):
        pass
    return f"{len(request.body)} bytes"


def _masked(value: Any, names: set[str]) -> Any:
    if isinstance(value, dict):
        return {key: MASK if str(key).lower() in names else _masked(one, names) for key, one in value.items()}
    if isinstance(value, list):
        return [_masked(one, names) for one in value]
    return value
