"""The services as browsers ask for them: what holds of HTTP alone. Their answers stand with gRPC's, in tests/rpc."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any

import httpx2
import pytest

from paycore.rpc.pipeline import Method
from paycore.rpc.policy import NOTICE_BYTES
from paycore.v1 import order_pb2
from paycore.web.connect import Raw, Services
from paycore.web.door import Door
from tests.rpc.browser import BrowserChannel, envelope, opened
from tests.rpc.shop import Caller, Shop, an_order, fresh, open_shop

CREATE = "/paycore.v1.OrderService/CreateOrder"
GET = "/paycore.v1.OrderService/GetOrder"
WATCH = "/paycore.v1.OrderService/WatchOrder"
PAGE = "https://shop.example.com"


@pytest.fixture
async def shop(sqlite_ready: str) -> AsyncIterator[Shop]:
    async with open_shop(sqlite_ready, by_browser=True, web_origins=(PAGE,)) as shop:
        yield shop


@pytest.fixture
async def browser() -> AsyncIterator[httpx2.AsyncClient]:
    async with httpx2.AsyncClient(trust_env=False, timeout=20) as client:
        yield client


def asked(shop: Shop, **more: str) -> dict[str, str]:
    return {"content-type": "application/json", "authorization": f"Bearer {shop.app.key}", **more}


async def create(shop: Shop, browser: httpx2.AsyncClient) -> httpx2.Response:
    body = {
        "merchantOrderNo": fresh("order"),
        "amount": {"amountMinor": "1280", "currencyCode": "CNY"},
        "subject": "茶",
        "requestId": fresh(),
    }
    return await browser.post(f"{shop.process.base_url}{CREATE}", headers=asked(shop), content=json.dumps(body))


async def test_an_order_in_plain_json(shop: Shop, browser: httpx2.AsyncClient) -> None:
    answer = await create(shop, browser)
    order = answer.json()["order"]
    assert (answer.status_code, order["subject"], order["amount"]) == (
        200,
        "茶",
        {"amountMinor": "1280", "currencyCode": "CNY"},
    )
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (b"", "nothing"),
        (b"{", "no JSON"),
        (b"[]", "no object"),
        (b'{"amount": 5}', "a number for a message"),
        (b'{"subject": "a", "subject": "b"}', "a field twice"),
        (b'{"subject": "\xff"}', "no UTF-8"),
        (b'{"subject": "\\ud800"}', "half a character"),
        (b'{"amount": {"amountMinor": 1.5}}', "half a cent"),
        (b'{"amount": {"amountMinor": "99999999999999999999"}}', "more than there is"),
        (b'{"amount": {"amountMinor": NaN}}', "not a number"),
        (b'{"a":' * 5_000 + b"1" + b"}" * 5_000, "very deep"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
async def test_what_is_no_message_is_refused(shop: Shop, browser: httpx2.AsyncClient, body: bytes, why: str) -> None:
    answer = await browser.post(f"{shop.process.base_url}{CREATE}", headers=asked(shop), content=body)
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid_argument"), why
    assert "python" not in answer.text.lower()
    assert "traceback" not in answer.text.lower()


async def test_more_than_anything_may_have_is_not_read(shop: Shop, browser: httpx2.AsyncClient) -> None:
    body = b'{"subject": "' + b"x" * 3 * NOTICE_BYTES + b'"}'
    answer = await browser.post(f"{shop.process.base_url}{CREATE}", headers=asked(shop), content=body)
    assert (answer.status_code, answer.json()["code"]) == (429, "resource_exhausted")


@pytest.mark.parametrize("encoding", ["gzip", "br", "x"])
async def test_nothing_compressed_is_unpacked(shop: Shop, browser: httpx2.AsyncClient, encoding: str) -> None:
    headers = asked(shop, **{"content-encoding": encoding})
    answer = await browser.post(f"{shop.process.base_url}{CREATE}", headers=headers, content=b"{}")
    assert (answer.status_code, answer.json()["code"]) == (501, "unimplemented")


@pytest.mark.parametrize(
    ("method", "path", "content_type", "status"),
    [
        ("POST", "/paycore.v1.OrderService/Nothing", "application/json", 404),
        ("POST", "/paycore.v1.Nothing/GetOrder", "application/json", 404),
        ("POST", GET, "text/plain", 415),
        ("PUT", GET, "application/json", 405),
        ("GET", f"{GET}?encoding=json&message=%7B%7D", "application/json", 405),
    ],
)
async def test_other_ways_in_are_closed(
    shop: Shop, browser: httpx2.AsyncClient, method: str, path: str, content_type: str, status: int
) -> None:
    headers = asked(shop, **{"content-type": content_type})
    answer = await browser.request(method, f"{shop.process.base_url}{path}", headers=headers, content=b"{}")
    assert answer.status_code == status


async def test_two_credentials_are_none(shop: Shop, browser: httpx2.AsyncClient) -> None:
    headers = [("content-type", "application/json"), ("authorization", "Bearer a"), ("Authorization", "Bearer b")]
    answer = await browser.post(f"{shop.process.base_url}{GET}", headers=headers, content=b"{}")
    assert (answer.status_code, answer.json()["code"]) == (401, "unauthenticated")


async def test_a_deadline_is_kept(shop: Shop, browser: httpx2.AsyncClient) -> None:
    """It was so short that nothing could be done; the order may be there, and asking again is safe."""
    headers = asked(shop, **{"connect-timeout-ms": "0"})
    answer = await browser.post(f"{shop.process.base_url}{CREATE}", headers=headers, content=b"{}")
    assert (answer.status_code, answer.json()["code"]) == (504, "deadline_exceeded")


# ---------------------------------------------------------------------------------------------- pages elsewhere


@pytest.mark.parametrize(("origin", "may"), [(PAGE, True), ("https://elsewhere.example", False), ("null", False)])
async def test_pages_of_listed_origins_may_call(
    shop: Shop, browser: httpx2.AsyncClient, origin: str, *, may: bool
) -> None:
    headers = {
        "origin": origin,
        "access-control-request-method": "POST",
        "access-control-request-headers": "authorization,content-type,connect-protocol-version",
    }
    before = await browser.request("OPTIONS", f"{shop.process.base_url}{GET}", headers=headers)
    assert (before.headers.get("access-control-allow-origin") == origin) == may
    after = await browser.post(f"{shop.process.base_url}{GET}", headers=asked(shop, origin=origin), content=b"{}")
    assert (after.headers.get("access-control-allow-origin") == origin) == may
    assert "access-control-allow-credentials" not in after.headers


# ---------------------------------------------------------------------------------------------- slow ones


async def test_whoever_sends_byte_by_byte_has_left() -> None:
    sent: list[Any] = []

    async def receive() -> Any:
        await asyncio.sleep(0.05)
        return {"type": "http.request", "body": b" ", "more_body": True}

    async def send(message: Any) -> None:
        sent.append(message)

    await asyncio.wait_for(Door(lambda: _echo, body_seconds=0.2)({"type": "http", "headers": []}, receive, send), 5)
    assert [message["type"] for message in sent] == ["left"]


async def _echo(_scope: Any, receive: Any, send: Any) -> None:
    """Reads a body to its end."""
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            await send({"type": "left"})
            return


async def test_a_stream_is_read_message_by_message(shop: Shop, browser: httpx2.AsyncClient) -> None:
    order = await shop.order()
    body = envelope(json.dumps({"orderId": order.order_id}).encode())
    headers = asked(shop, **{"content-type": "application/connect+json"})
    async with browser.stream("POST", f"{shop.process.base_url}{WATCH}", headers=headers, content=body) as answer:
        messages = opened(answer.aiter_bytes())
        _, first = await anext(messages)
        assert json.loads(first)["snapshot"]["orderId"] == order.order_id
        await shop.begun(order)
        _, second = await anext(messages)
        assert json.loads(second)["event"]["version"] == "2"


async def test_a_reader_who_stopped_reading_is_let_go() -> None:
    """What was not taken for a while ends the stream; it can be resumed."""
    ended = asyncio.Event()

    class Endless:
        async def stream(self, _method: Method, _call: Any) -> AsyncIterator[Any]:
            try:
                while True:
                    yield order_pb2.WatchOrderResponse()
            finally:
                ended.set()

    method: Any = SimpleNamespace(is_stream=True, path=WATCH, name="WatchOrder", service="paycore.v1.OrderService")
    pipeline: Any = Endless()
    [endpoint] = Services(pipeline, [method], slow_seconds=0.1)._all().values()
    context: Any = SimpleNamespace(client_address=None, request_headers=SimpleNamespace(getall=lambda _name: ()))

    async def take_one_and_sleep() -> None:
        async for _message in endpoint.function(Raw(b"", "proto"), context):
            await asyncio.sleep(60)

    reading = asyncio.create_task(take_one_and_sleep())
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(asyncio.shield(reading), 5)
    await asyncio.wait_for(ended.wait(), 5)


async def test_both_doors_lead_to_the_same_house(shop: Shop, browser: httpx2.AsyncClient) -> None:
    """The same request_id over HTTP and again over HTTP by another client is the same order."""
    request = an_order()
    first = await shop.app.CreateOrder(request)
    again = Caller(BrowserChannel(shop.process.base_url, browser), shop.app.key)
    assert (await again.CreateOrder(request)).order.order_id == first.order.order_id
