"""The HTTP face over real sockets: what it takes, what it does not, and how slow a client may be."""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx2
import pytest

from paycore.channel import NoticeReply, RawNotice
from paycore.rpc.limits import Limits
from paycore.web import listener
from paycore.web.app import MOST_BODY_BYTES, Behind, make_app
from paycore.web.figures import Figures
from paycore.web.listener import HttpServer
from tests.rpc.certificates import Authority, write

ACCOUNT = "ac01KQ0000000000000000000000"


@dataclass
class Edge:
    """A running HTTP face and what it handed on."""

    base: str
    port: int
    handed: list[tuple[str, RawNotice]] = field(default_factory=list)
    reason: str = ""
    figures: Figures = field(default_factory=lambda: Figures([], Limits(), dict))


@asynccontextmanager
async def edge(
    *, body_seconds: float = 5.0, reply: Callable[[RawNotice], NoticeReply] | None = None
) -> AsyncIterator[Edge]:
    here = Edge("", 0)

    async def deliver(account_id: str, notice: RawNotice) -> NoticeReply:
        here.handed.append((account_id, notice))
        return reply(notice) if reply else NoticeReply(200, {"content-type": "text/plain"}, b"success")

    async def why_not_ready() -> str:
        return here.reason

    app = make_app(Behind(deliver, why_not_ready, here.figures), body_seconds=body_seconds)
    server = HttpServer("127.0.0.1:0")
    here.port = await server.start(app)
    here.base = f"http://127.0.0.1:{here.port}"
    try:
        yield here
    finally:
        await server.stop(1)


async def exchange(port: int, *parts: bytes, pause: float = 0.0) -> bytes:
    """Send bytes as they are, with a pause between them, and read until the server closes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    answer = asyncio.create_task(reader.read())
    try:
        for part in parts:
            writer.write(part)
            await asyncio.sleep(pause)
            if answer.done():
                break
        return await asyncio.wait_for(answer, 20)
    except ConnectionError:
        return b""
    finally:
        writer.close()


async def test_a_notice_is_handed_on_byte_for_byte_and_answered_byte_for_byte() -> None:
    body = b'\x00\xff{"a": 1,  "a":2}'

    def answer(_notice: RawNotice) -> NoticeReply:
        return NoticeReply(
            401, {"content-type": "application/json", "X-Case": "kept", "Content-Length": "9"}, b'{"code":"F"}'
        )

    async with edge(reply=answer) as here, httpx2.AsyncClient() as client:
        got = await client.post(
            f"{here.base}/v1/notices/{ACCOUNT}?x=%E4%BD%A0&y=",
            content=body,
            headers=[("Wechatpay-Signature", "abc"), ("Twice", "1"), ("twice", "2")],
        )
    assert (got.status_code, got.content, got.headers["x-case"]) == (401, b'{"code":"F"}', "kept")
    assert "server" not in got.headers
    [(account, notice)] = here.handed
    assert account == ACCOUNT
    assert (notice.method, notice.path, notice.query, notice.body) == (
        "POST",
        f"/v1/notices/{ACCOUNT}",
        "x=%E4%BD%A0&y=",
        body,
    )
    assert notice.headers["wechatpay-signature"] == "abc"
    assert notice.headers["twice"] == "1, 2"


@pytest.mark.parametrize("method", ["GET", "PUT", "HEAD", "OPTIONS", "TRACE", "DELETE", "PATCH"])
async def test_110_only_post_delivers(method: str) -> None:
    async with edge() as here, httpx2.AsyncClient() as client:
        got = await client.request(method, f"{here.base}/v1/notices/{ACCOUNT}")
    assert got.status_code == 405
    assert here.handed == []


@pytest.mark.parametrize(("size", "status"), [(MOST_BODY_BYTES, 200), (MOST_BODY_BYTES + 1, 413)])
@pytest.mark.parametrize("chunked", [False, True], ids=["length", "chunked"])
async def test_111_a_body_has_at_most_64_kib(size: int, status: int, *, chunked: bool) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        yield b"x" * (size - 1)
        yield b"x"

    async with edge() as here, httpx2.AsyncClient() as client:
        got = await client.post(f"{here.base}/v1/notices/{ACCOUNT}", content=pieces() if chunked else b"x" * size)
    assert got.status_code == status
    assert len(here.handed) == (status == 200)


async def test_111_a_huge_declared_length_is_refused_before_a_byte_of_it_came() -> None:
    head = f"POST /v1/notices/{ACCOUNT} HTTP/1.1\r\nhost: x\r\ncontent-length: 99999999999\r\n\r\n".encode()
    async with edge() as here:
        got = await exchange(here.port, head)
    assert got.startswith(b"HTTP/1.1 413 ")


async def test_111_a_body_that_drips_is_cut_off() -> None:
    head = f"POST /v1/notices/{ACCOUNT} HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\n".encode()
    async with edge(body_seconds=1.0) as here:
        began = time.monotonic()
        # The last drip falls well before the cut: one that falls behind it would be answered by a reset.
        got = await exchange(here.port, head, *[b"x"] * 3, pause=0.1)
    assert got.startswith(b"HTTP/1.1 408 ")
    assert 1 <= time.monotonic() - began < 5
    assert here.handed == []


async def test_111_without_length_and_chunks_the_body_is_empty() -> None:
    head = f"POST /v1/notices/{ACCOUNT} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n".encode()
    async with edge() as here:
        got = await exchange(here.port, head)
    assert got.startswith(b"HTTP/1.1 200 ")
    assert here.handed[0][1].body == b""


async def test_a_header_that_drips_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listener, "HEADER_SECONDS", 0.3)
    async with edge() as here:
        began = time.monotonic()
        got = await exchange(here.port, *[b"P", b"O", b"S", b"T", b" ", b"/"], pause=0.1)
    assert got == b""
    assert time.monotonic() - began < 3


async def test_a_second_request_on_the_same_connection_is_served_after_a_quiet_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(listener, "HEADER_SECONDS", 0.2)
    async with edge() as here, httpx2.AsyncClient() as client:
        for _ in range(2):
            got = await client.post(f"{here.base}/v1/notices/{ACCOUNT}", content=b"x")
            assert got.status_code == 200
            await asyncio.sleep(0.4)


@pytest.mark.parametrize(
    "head",
    [
        b"nonsense\r\n\r\n",
        b"POST /v1/notices/x HTTP/1.1\r\nhost: x\r\ncontent-length: -1\r\n\r\n",
        b"POST /v1/notices/x HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\nhello",
        b"POST /v1/notices/x HTTP/1.1\r\nhost: x\r\nbad header\r\n\r\n",
        b"POST /v1/notices/x HTTP/1.1\r\nhost: x\r\nlong: " + b"y" * 40_000 + b"\r\n\r\n",
    ],
)
async def test_what_is_not_http_is_refused(head: bytes) -> None:
    async with edge() as here:
        got = await exchange(here.port, head)
    assert got.startswith((b"HTTP/1.1 400 ", b"HTTP/1.1 431 "))
    assert here.handed == []


@pytest.mark.parametrize(
    "path", ["/", "/v1", "/v1/notices", "/v1/notices/", "/v1/notices/a/b", "/docs", "/openapi.json"]
)
async def test_there_is_nothing_else(path: str) -> None:
    async with edge() as here, httpx2.AsyncClient() as client:
        got = await client.post(f"{here.base}{path}")
    assert got.status_code == 404


async def test_probes_say_alive_and_why_not_ready() -> None:
    async with edge() as here, httpx2.AsyncClient() as client:
        assert (await client.get(f"{here.base}/livez")).text == "ok"
        assert (await client.get(f"{here.base}/readyz")).status_code == 200
        here.reason = "the database does not answer"
        got = await client.get(f"{here.base}/readyz")
        assert (got.status_code, got.json()) == (503, {"ready": False, "reason": "the database does not answer"})
        await client.post(f"{here.base}/v1/notices/{ACCOUNT}")
        page = await client.get(f"{here.base}/metrics")
        assert page.headers["content-type"].startswith("text/plain")
        assert 'paycore_http_notices_total{status="200"} 1.0' in page.text.splitlines()


async def test_a_port_that_is_taken_is_an_error_not_an_exit() -> None:
    async with edge() as here:
        with pytest.raises(OSError, match="in use"):
            HttpServer(f"127.0.0.1:{here.port}").bind()


async def test_https_is_served_when_there_is_a_certificate(tmp_path: Path) -> None:
    authority = Authority()
    certificate, key = write(tmp_path, "server", authority.issue_server())
    (tmp_path / "authority.pem").write_bytes(authority.certificate)
    server = HttpServer("127.0.0.1:0", certificate=certificate, key=key)
    app = make_app(Behind(nobody, always_ready, Figures([], Limits(), dict)))
    await server.start(app)
    trusted = ssl.create_default_context(cafile=str(tmp_path / "authority.pem"))
    async with httpx2.AsyncClient(verify=trusted) as client:
        assert (await client.get(f"{server.base_url}/livez")).text == "ok"
        assert server.base_url.startswith("https://")
    await server.stop(1)


async def nobody(_account_id: str, _notice: RawNotice) -> NoticeReply:
    return NoticeReply(404)


async def always_ready() -> str:
    return ""
