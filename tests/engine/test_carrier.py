"""The way out: what is sent, what comes back, and what is known when nothing does."""

import asyncio
import ipaddress
import logging
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from paycore.channel import Reply, Request, Silence
from paycore.engine import carrier as carrier_module
from paycore.engine.carrier import MASK, HttpCarrier, redacted

Speak = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nX-Sign: abc\r\n\r\nhi"


@asynccontextmanager
async def listening(speak: Speak) -> AsyncIterator[str]:
    """A server on this machine that says exactly these bytes."""
    tasks: set[asyncio.Task[None]] = set()

    async def visit(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        try:
            await speak(reader, writer)
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            tasks.discard(task)
            writer.close()

    server = await asyncio.start_server(visit, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        for task in list(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        server.close()


@asynccontextmanager
async def carrying(**settings: object) -> AsyncIterator[HttpCarrier]:
    carrier = HttpCarrier(**settings)  # type: ignore[arg-type]
    try:
        yield carrier
    finally:
        await carrier.aclose()


def saying(answer: bytes, heard: list[bytes] | None = None) -> Speak:
    async def speak(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while head := await reader.readuntil(b"\r\n\r\n"):
            if heard is not None:
                heard.append(head)
            writer.write(answer)
            await writer.drain()

    return speak


async def silence_of(carrier: HttpCarrier, request: Request, seconds: float = 1.0) -> Silence:
    with pytest.raises(Silence) as caught:
        await carrier.carry(request, seconds=seconds)
    return caught.value


async def test_a_request_leaves_as_it_is_and_the_reply_comes_back_raw() -> None:
    heard: list[bytes] = []
    async with listening(saying(OK, heard)) as url, carrying() as carrier:
        reply = await carrier.carry(Request("GET", f"{url}/a?b=%20c", headers={"X-One": "1"}), seconds=2)
    assert reply == Reply(200, {"content-length": "2", "x-sign": "abc"}, b"hi")
    assert heard[0].startswith(b"GET /a?b=%20c HTTP/1.1\r\n")
    assert b"x-one: 1" in heard[0].lower()
    assert b"accept-encoding: identity" in heard[0].lower(), "what is verified must be the bytes that were signed"


async def test_a_redirect_is_a_reply_and_is_not_followed() -> None:
    heard: list[bytes] = []
    answer = b"HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\n\r\n"
    async with listening(saying(answer, heard)) as url, carrying() as carrier:
        reply = await carrier.carry(Request("GET", url), seconds=2)
    assert (reply.status, len(heard)) == (302, 1)


async def test_no_cookie_travels_from_one_account_to_the_next() -> None:
    heard: list[bytes] = []
    answer = b"HTTP/1.1 200 OK\r\nset-cookie: who=ac1; Path=/\r\ncontent-length: 0\r\n\r\n"
    async with listening(saying(answer, heard)) as url, carrying() as carrier:
        for _ in range(2):
            await carrier.carry(Request("GET", url), seconds=2)
    assert len(heard) == 2
    assert b"cookie" not in heard[1].lower()


async def test_no_proxy_is_taken_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:1")
    async with listening(saying(OK)) as url, carrying() as carrier:
        assert (await carrier.carry(Request("GET", url), seconds=2)).status == 200


# ---------------------------------------------------------------------------------------------- not knowing


async def test_a_refused_connection_sent_nothing() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound, not listening: nobody answers there
        async with carrying() as carrier:
            silence = await silence_of(carrier, Request("POST", f"http://127.0.0.1:{taken.getsockname()[1]}/"))
    assert not silence.was_sent


async def test_a_name_that_nobody_knows_sent_nothing() -> None:
    async with carrying(allow_plain_http=True) as carrier:
        assert not (await silence_of(carrier, Request("GET", "http://nobody.invalid/"), 5)).was_sent


async def test_an_answer_that_never_comes_leaves_us_not_knowing() -> None:
    async def deaf(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()

    async with listening(deaf) as url, carrying() as carrier:
        silence = await silence_of(carrier, Request("POST", url, body=b"x"), 0.2)
    assert silence.was_sent


async def test_a_connection_that_breaks_after_the_request_leaves_us_not_knowing() -> None:
    async def rude(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")

    async with listening(rude) as url, carrying() as carrier:
        assert (await silence_of(carrier, Request("POST", url))).was_sent


async def test_an_answer_that_drips_ends_with_the_deadline() -> None:
    async def drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n")
        for _ in range(100):
            writer.write(b".")
            await writer.drain()
            await asyncio.sleep(0.05)

    async with listening(drip) as url, carrying() as carrier:
        began = asyncio.get_running_loop().time()
        assert (await silence_of(carrier, Request("GET", url), 0.3)).was_sent
        assert asyncio.get_running_loop().time() - began < 2


async def test_a_request_waits_no_longer_than_it_says_itself() -> None:
    async def deaf(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()

    async with listening(deaf) as url, carrying() as carrier:
        began = asyncio.get_running_loop().time()
        await silence_of(carrier, Request("GET", url, timeout_seconds=0.2), 20)
        assert asyncio.get_running_loop().time() - began < 5


@pytest.mark.parametrize(
    ("answer", "word"),
    [
        (b"HTTP/1.1 200 OK\r\ncontent-length: 3000\r\n\r\n" + b"x" * 3000, "too large"),
        (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nbb8\r\n" + b"x" * 3000 + b"\r\n0\r\n\r\n", "too large"),
        (b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: 2\r\n\r\nhi", "compressed"),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhi", ""),
        (b"SSH-2.0-OpenSSH_9\r\n\r\n", ""),
        (b"", ""),
    ],
)
async def test_an_answer_that_cannot_be_read_is_no_answer(answer: bytes, word: str) -> None:
    async def once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        await writer.drain()

    async with listening(once) as url, carrying(max_reply_bytes=2000) as carrier:
        silence = await silence_of(carrier, Request("POST", url), 2)
    assert silence.was_sent
    assert word in silence.note


async def test_a_request_may_ask_for_a_larger_answer_up_to_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(carrier_module, "LARGEST_REPLY_BYTES", 2500)
    for size, most, is_read in [(2000, 2500, True), (2400, None, False), (2501, 10_000, False), (2000, 1000, False)]:
        answer = b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % size + b"x" * size
        async with listening(saying(answer)) as url, carrying(max_reply_bytes=2100) as carrier:
            request = Request("GET", url, max_reply_bytes=most)
            if is_read:
                assert len((await carrier.carry(request, seconds=2)).body) == size
            else:
                assert "too large" in (await silence_of(carrier, request, 2)).note


async def test_an_answer_as_large_as_the_cap_is_read() -> None:
    answer = b"HTTP/1.1 200 OK\r\ncontent-length: 2000\r\n\r\n" + b"x" * 2000
    async with listening(saying(answer)) as url, carrying(max_reply_bytes=2000) as carrier:
        assert len((await carrier.carry(Request("GET", url), seconds=2)).body) == 2000


# ---------------------------------------------------------------------------------------------- what may not leave


@pytest.mark.parametrize(
    "url",
    [
        "http://pay.example/gate",
        "ftp://127.0.0.1/x",
        "file:///etc/hostname",
        "https://user:pass@pay.example/",
        "//pay.example/x",
        "https://",
        "http://127.0.0.1.pay.example/",
        "http://[::1",
        "",
    ],
)
async def test_an_address_that_may_not_be_spoken_to_sends_nothing(url: str) -> None:
    async with carrying() as carrier:
        assert not (await silence_of(carrier, Request("GET", url))).was_sent


async def test_a_header_that_would_smuggle_sends_nothing_or_stays_one_header() -> None:
    heard: list[bytes] = []
    async with listening(saying(OK, heard)) as url, carrying() as carrier:
        await silence_of(carrier, Request("GET", url, headers={"x-a": "1\r\nx-evil: 2"}))
    assert all(b"x-evil" not in head for head in heard)


async def test_tls_is_verified() -> None:
    """A server that shows a certificate which nobody vouches for is not spoken to."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with certificate() as (cert, key):
        context.load_cert_chain(cert, key)
        heard: list[bytes] = []

        async def speak(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            heard.append(await reader.read(100))
            writer.close()

        server = await asyncio.start_server(speak, "127.0.0.1", 0, ssl=context)
        try:
            url = f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
            async with carrying() as carrier:
                assert not (await silence_of(carrier, Request("POST", url, body=b"secret"), 5)).was_sent
            assert not any(heard)
            trusting = ssl.create_default_context(cafile=cert)
            async with carrying(tls=trusting) as carrier:
                await silence_of(carrier, Request("POST", url, body=b"secret"), 5)
            assert any(heard), "with a certificate that is vouched for it is spoken to"
        finally:
            server.close()


# ---------------------------------------------------------------------------------------------- logs


async def test_a_log_shows_neither_query_nor_secret(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    caplog.set_level(logging.DEBUG, "paycore")
    request = Request(
        "POST",
        "",
        headers={"Authorization": "canary-1", "content-type": "application/json"},
        body=b'{"pin": "canary-2", "deep": [{"PIN": "canary-3"}], "order": "or1"}',
        redact=frozenset({"authorization", "pin", "sign"}),
    )
    async with listening(saying(OK)) as url, carrying() as carrier:
        await carrier.carry(replace(request, url=f"{url}/gate?sign=canary-4&x=1"), seconds=2)
    everything = "\n".join(record.getMessage() for record in caplog.records)
    assert "/gate" in everything
    assert "or1" in everything
    assert "canary" not in everything


def test_what_is_redacted_is_masked_in_forms_too() -> None:
    request = Request(
        "POST",
        "https://pay.example/gate?sign=s&method=m",
        headers={"Content-Type": "application/x-www-form-urlencoded; charset=utf-8"},
        body=b"sign=abc&method=pay&empty=",
        redact=frozenset({"sign"}),
    )
    shown = redacted(request)
    assert shown["query"] == {"sign": MASK, "method": "m"}
    assert shown["body"] == {"sign": MASK, "method": "pay", "empty": ""}
    assert redacted(Request("POST", "https://pay.example/", body=b"\xff\x00"))["body"] == "2 bytes"


@contextmanager
def certificate() -> Iterator[tuple[str, str]]:
    """A certificate for 127.0.0.1 that signs itself, and its key, as files."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.now(UTC)
    cert = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    with TemporaryDirectory() as folder:
        cert_path, key_path = Path(folder, "cert.pem"), Path(folder, "key.pem")
        cert_path.write_bytes(cert.public_bytes(Encoding.PEM))
        key_path.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        yield str(cert_path), str(key_path)
