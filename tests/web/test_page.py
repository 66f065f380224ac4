"""The page over plain HTTP: who gets a cookie, what a cookie opens, and what every answer says about itself."""

from __future__ import annotations

import gzip
import json
from collections.abc import AsyncIterator
from importlib.resources import files

import httpx2
import pytest

from paycore.testing.server import RunningServer, running_server
from paycore.v1 import cashier_pb2, common_pb2
from paycore.web.page import drawn
from paycore_bridge import qr
from tests.rpc.shop import Caller, an_order, fresh

GET = "/paycore.v1.CashierService/GetCashierSession"
SUBMIT = "/paycore.v1.CashierService/SubmitPayment"


@pytest.fixture
async def server() -> AsyncIterator[RunningServer]:
    async with running_server() as server:
        yield server


@pytest.fixture
async def opened(server: RunningServer) -> AsyncIterator[cashier_pb2.CreateCashierSessionResponse]:
    import grpc

    async with grpc.aio.insecure_channel(server.target) as channel:
        app = Caller(channel, server.api_key)
        order = (await app.CreateOrder(an_order())).order
        client = common_pb2.ClientContext(face="pc")
        yield await app.CreateCashierSession(
            cashier_pb2.CreateCashierSessionRequest(order_id=order.order_id, client=client, request_id=fresh())
        )


@pytest.fixture
async def person() -> AsyncIterator[httpx2.AsyncClient]:
    async with httpx2.AsyncClient(trust_env=False, timeout=20) as client:
        yield client


Opened = cashier_pb2.CreateCashierSessionResponse


async def test_the_code_becomes_a_cookie_that_no_script_reads(opened: Opened, person: httpx2.AsyncClient) -> None:
    answer = await person.get(opened.page_url)
    assert (answer.status_code, answer.headers["location"]) == (303, f"/pay/{opened.session.session_id}")
    cookie = answer.headers["set-cookie"].lower()
    assert "httponly" in cookie
    assert "samesite=lax" in cookie
    assert answer.headers["cache-control"] == "no-store"
    page = await person.get(opened.page_url.split("?")[0])
    assert page.status_code == 200
    policy = page.headers["content-security-policy"]
    assert "unsafe" not in policy
    assert "require-trusted-types-for 'script'" in policy
    assert opened.session_token not in page.text


async def call(
    person: httpx2.AsyncClient, server: RunningServer, opened: Opened, path: str = GET, **headers: str
) -> httpx2.Response:
    body = json.dumps({"sessionId": opened.session.session_id})
    given = {"content-type": "application/json", **headers}
    return await person.post(f"{server.base_url}{path}", headers=given, content=body)


async def test_a_cookie_alone_opens_nothing(server: RunningServer, opened: Opened, person: httpx2.AsyncClient) -> None:
    """A page elsewhere can make a browser send cookies, but not name the session: that takes our permission first."""
    assert (await call(person, server, opened, **{"paycore-session": opened.session.session_id})).status_code == 401
    await person.get(opened.page_url)
    assert (await call(person, server, opened)).status_code == 401
    named = await call(person, server, opened, **{"paycore-session": opened.session.session_id})
    assert (named.status_code, named.json()["session"]["orderId"]) == (200, opened.session.order_id)
    wrong = await call(person, server, opened, **{"paycore-session": "cs" + "0" * 26})
    assert wrong.status_code == 401
    simple = await person.post(
        f"{server.base_url}{GET}",
        headers={"content-type": "text/plain", "paycore-session": opened.session.session_id},
        content=b"{}",
    )
    assert simple.status_code == 415


@pytest.mark.parametrize(
    "path", ["/pay/x", "/pay/cs00000000000000000000000000", "/pay/..%2f", "/assets/page.css", "/pay/"]
)
async def test_what_is_not_there(server: RunningServer, person: httpx2.AsyncClient, path: str) -> None:
    answer = await person.get(f"{server.base_url}{path}")
    assert answer.status_code in (404, 410)


async def test_files_are_kept_for_ever_under_names_that_change(
    server: RunningServer, opened: Opened, person: httpx2.AsyncClient
) -> None:
    page = await person.get(opened.page_url, follow_redirects=True)
    for source in (part.split('"')[1] for part in page.text.split() if part.startswith(('src="', 'href="/'))):
        asset = await person.get(f"{server.base_url}{source}")
        assert "immutable" in asset.headers["cache-control"]
        assert len(asset.content) > 100


async def test_a_code_is_drawn_for_its_own_session_only(
    server: RunningServer, opened: Opened, person: httpx2.AsyncClient
) -> None:
    await person.get(opened.page_url)
    session_id = opened.session.session_id
    body = {"sessionId": session_id, "channel": "sandbox", "method": "qr", "requestId": fresh()}
    begun = await person.post(
        f"{server.base_url}{SUBMIT}",
        headers={"content-type": "application/json", "paycore-session": session_id},
        content=json.dumps(body),
    )
    payment = begun.json()["payment"]
    where = f"{server.base_url}/pay/{session_id}/code/{payment['paymentId']}"
    picture = await person.get(where)
    content = json.loads(payment["action"]["steps"][0]["paramsJson"])["content"]
    assert picture.json()["path"] == qr.path(qr.matrix(content))
    async with httpx2.AsyncClient(trust_env=False) as stranger:
        assert (await stranger.get(where)).status_code == 404
    assert (await person.get(where[:-1] + "0")).status_code == 404


def test_a_drawing_has_room_around_it() -> None:
    picture = json.loads(drawn("https://example.com/x"))
    assert picture["size"] == len(qr.matrix("https://example.com/x")) + 8


def test_the_element_is_small() -> None:
    """Styles and both languages included."""
    element = files("paycore_bridge").joinpath("cashier", "cashier.js").read_bytes()
    assert len(gzip.compress(element, 9)) <= 15 * 1024
