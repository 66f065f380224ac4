"""The simulated Alipay itself: it takes what Alipay takes, rejects what Alipay rejects, and insists as Alipay does."""

from __future__ import annotations

import json
import re
from typing import Any
from urllib.parse import parse_qsl, quote_plus, urlencode

import httpx2
import pytest

from paycore.channel import Forged, NoticeReply, Ready, Reply, Request
from paycore.testing.clock import FakeClock
from paycore.testing.simulators import SimulatorServer
from paycore_alipay import signing, wire
from paycore_alipay.simulator import (
    LADDER,
    MERCHANTS,
    AlipaySimulator,
    CodeAnswer,
    NotPayable,
    Payer,
    Phone,
)
from paycore_alipay.simulator.server import _parameters
from paycore_bridge import Form, Plan, Redirect, SdkCall, StepKind, Target

from .support import BASE, DAY, MINUTE, NOW, PAYMENT, SECOND, World, open_with


def order_str(world: World, **changes: Any) -> str:
    """A signed order, as the app is handed it."""
    found = world.hold(world.channel.prepare(world.payment("app", target="android", **changes)))
    assert isinstance(found, Ready)
    content = Plan.from_json(found.plan_json).steps[0].content
    assert isinstance(content, SdkCall)
    return str(content.arguments["orderStr"])


def resigned(world: World, **changes: str | None) -> str:
    """The order with other parameters, signed by the application all the same; None leaves one out."""
    given = wire.texts(wire.read_form(order_str(world).encode()))
    wanted = {name: value for name, value in (given | changes).items() if value is not None and name != "sign"}
    key = world.channel._active().private
    return wire.write_form(wanted | {"sign": signing.sign(key, signing.request_text(wanted).encode())})


def with_biz(world: World, **changes: Any) -> str:
    """The order with another document inside, signed all the same."""
    given = wire.texts(wire.read_form(order_str(world).encode()))
    document = json.loads(given["biz_content"]) | changes
    return resigned(world, biz_content=wire.write_json({k: v for k, v in document.items() if v is not None}))


# ---------------------------------------------------------------------------------------------- the phone


@pytest.mark.parametrize(
    ("payer", "code", "outcome", "is_paid"),
    [
        (Payer.PAYS, "9000", "success_claimed", True),
        (Payer.CANCELS, "6001", "cancelled", False),
        (Payer.PAYS_BUT_CANCEL_IS_CLAIMED, "6001", "cancelled", True),
        (Payer.CANCELS_BUT_SUCCESS_IS_CLAIMED, "9000", "success_claimed", False),
        (Payer.PAYS_AND_NOTHING_IS_CLAIMED, "", "unknown", True),
        (Payer.PAYS_AND_IT_IS_PROCESSING, "8000", "processing", True),
        (Payer.NETWORK_BREAKS, "6002", "unknown", False),
        (Payer.PRESSES_TWICE, "5000", "unknown", False),
    ],
)
def test_what_a_phone_claims(world: World, payer: Payer, code: str, outcome: str, is_paid: bool) -> None:
    claim = Phone(world.simulator).pay(order_str(world), world.now, payer)
    assert (claim.result_status, claim.outcome.value, claim.payment_id) == (code, outcome, PAYMENT)
    assert (world.simulator.books.trades[PAYMENT].paid_at is not None) is is_paid
    if code == "9000":
        answer = world.channel._read(claim.result.encode(), "alipay.trade.app.pay")
        assert answer.is_done
        assert answer.document["out_trade_no"] == PAYMENT


def test_the_same_order_may_be_tried_again_until_it_is_paid(world: World) -> None:
    order, phone = order_str(world), Phone(world.simulator)
    assert phone.pay(order, world.now, Payer.CANCELS).raw_code == "6001"
    assert phone.pay(order, world.now).raw_code == "9000"
    assert phone.pay(order, world.now).raw_code == "4000"


def test_an_order_that_is_over_is_not_paid(world: World) -> None:
    order = order_str(world)
    world.now += 15 * MINUTE
    assert Phone(world.simulator).pay(order, world.now).raw_code == "4000"
    with pytest.raises(NotPayable):
        world.simulator.open_app(order, world.now)


def test_every_letter_of_an_order_counts(world: World) -> None:
    order = order_str(world)
    for place, letter in enumerate(order):
        changed = order[:place] + ("A" if letter != "A" else "B") + order[place + 1 :]
        with pytest.raises(Forged):
            world.simulator.open_app(changed, world.now)


def test_an_order_that_was_encoded_anew_still_verifies(world: World) -> None:
    """%20 and + are both right; what matters is what the letters mean."""
    assert world.simulator.open_app(order_str(world).replace("+", "%20"), world.now) == PAYMENT


@pytest.mark.parametrize(
    "changes",
    [
        {"method": "alipay.trade.wap.pay"},
        {"method": "alipay.trade.precreate"},
        {"sign_type": "RSA"},
        {"sign_type": None},
        {"charset": "gbk"},
        {"version": "2.0"},
        {"version": None},
        {"timestamp": "2026-11-23T03:30:03"},
        {"timestamp": None},
        {"timestamp": "2026-11-23 11:30:03"},
        {"app_id": MERCHANTS[1].app_id},
        {"app_id": "2021000000000000"},
        {"biz_content": "{}{}"},
        {"biz_content": '{"out_trade_no":"a","out_trade_no":"b"}'},
        {"biz_content": None},
        {"app_cert_sn": "0" * 32, "alipay_root_cert_sn": "0" * 32},
    ],
)
def test_an_order_that_the_app_rejects(world: World, changes: dict[str, str | None]) -> None:
    order = resigned(world, **changes)
    with pytest.raises(Forged):
        world.simulator.open_app(order, world.now)
    assert Phone(world.simulator).pay(order, world.now).raw_code == "4000"


@pytest.mark.parametrize(
    "changes",
    [
        {"product_code": "FAST_INSTANT_TRADE_PAY"},
        {"product_code": None},
        {"out_trade_no": None},
        {"subject": ""},
        {"total_amount": "1e2"},
        {"total_amount": "0.00"},
        {"total_amount": "0.001"},
        {"total_amount": "100000000.01"},
        {"time_expire": "tomorrow"},
        {"time_expire": "2026-11-23 03:30:03"},
    ],
)
def test_an_order_whose_content_alipay_rejects(world: World, changes: dict[str, Any]) -> None:
    order = with_biz(world, **changes)
    with pytest.raises(NotPayable):
        world.simulator.open_app(order, world.now)


def test_an_order_as_it_should_be_is_taken(world: World) -> None:
    assert world.simulator.open_app(with_biz(world), world.now) == PAYMENT


def test_a_phone_without_the_sdk_takes_the_next_step(world: World) -> None:
    found = world.hold(world.channel.prepare(world.payment("app", target="android")))
    assert isinstance(found, Ready)
    assert Phone(world.simulator, has_sdk=False).run(found.plan_json, world.now).raw_code == "4000"
    assert Phone(world.simulator, Target.ANDROID).run(found.plan_json, world.now).raw_code == "9000"


def test_a_browser_pays_by_address_or_form(world: World) -> None:
    phone = Phone(world.simulator, Target.MOBILE_WEB)
    for number, method in enumerate(("wap", "page")):
        payment_id = f"py01JCPAYMENT000000000000001{number}"
        found = world.hold(world.channel.prepare(world.payment(method, payment_id)))
        assert isinstance(found, Ready)
        assert phone.run(found.plan_json, world.now).payment_id == payment_id


# ---------------------------------------------------------------------------------------------- the gateway


def test_a_clock_in_another_zone_is_noticed(world: World) -> None:
    """The bug of every SDK: the host's zone on the wire, eight hours off on a server in UTC."""
    request = next(world.channel.query(world.payment(now=NOW - 8 * 60 * MINUTE)))
    reply = world.simulator.handle(request, NOW)
    assert reply is not None
    assert b"isv.invalid-timestamp" in reply.body


def test_answers_escape_slashes_and_are_signed_as_written(world: World) -> None:
    request = next(world.channel.prepare(world.payment()))
    reply = world.simulator.handle(request, NOW)
    assert reply is not None
    assert rb'"qr_code":"https:\/\/alipay.example\/qr\/' in reply.body
    assert world.channel._read(reply.body, "alipay.trade.precreate").is_done


def test_a_call_with_the_same_parameter_twice_is_refused(world: World) -> None:
    request = next(world.channel.query(world.payment()))
    doubled = Request(request.method, request.url + "&app_id=1", request.headers, request.body)
    reply = world.simulator.handle(doubled, NOW)
    assert reply is not None
    assert b"isv.invalid-parameter" in reply.body
    assert _parameters(request)["method"] == "alipay.trade.query"


def test_the_same_seed_is_the_same_story_and_never_the_same_keys() -> None:
    one, other = AlipaySimulator("seed"), AlipaySimulator("seed")
    assert one.books.number("trade", "x") == other.books.number("trade", "x")
    assert one.settings(BASE)["app_private_key"] != other.settings(BASE)["app_private_key"]
    assert AlipaySimulator().books.number("x") != AlipaySimulator().books.number("x")


def test_two_merchants_see_nothing_of_each_other(world: World) -> None:
    world.pay()
    other = World(simulator=world.simulator)
    other.channel = open_with(world.simulator.other_settings(BASE))
    found = other.hold(other.channel.query(other.payment()))
    assert type(found).__name__ == "NotFound"


# ---------------------------------------------------------------------------------------------- notices


def test_a_notice_climbs_the_ladder_until_it_is_acknowledged_exactly(world: World) -> None:
    world.simulator.next_codes.append(CodeAnswer.PAYS)
    world.hold(world.channel.prepare(world.payment("barcode")))
    answers = [
        None,
        NoticeReply(200, {}, b"fail"),
        NoticeReply(200, {}, b"SUCCESS"),
        NoticeReply(200, {}, b"success\n"),
        NoticeReply(201, {}, b"success"),
        NoticeReply(302, {"location": "/"}, b"success"),
        NoticeReply(500, {}, b"success"),
        NoticeReply(503, {}, b"fail"),
    ]
    began, delivered = world.now, []
    for answer in answers:
        [notice] = world.notices()
        delivered.append(world.now - began)
        world.simulator.answered(notice.key, answer, world.now)
        next_due = world.simulator.next_due()
        if next_due is not None:
            world.now = next_due
    assert delivered == [sum(LADDER[:tries]) for tries in range(8)]
    assert delivered[-1] < 25 * 60 * MINUTE
    assert world.simulator.undelivered == 0


def test_each_delivery_is_signed_afresh(world: World) -> None:
    world.hold(world.channel.prepare(world.payment("barcode")))
    [first] = world.notices()
    world.simulator.answered(first.key, None, world.now)
    world.now += LADDER[0]
    [second] = world.notices()
    assert first.request.body != second.request.body
    sent = [dict(parse_qsl(one.request.body.decode())) for one in (first, second)]
    assert sent[0]["notify_id"] == sent[1]["notify_id"]
    assert sent[0]["notify_time"] != sent[1]["notify_time"]


def test_an_acknowledgement_ends_it(world: World) -> None:
    world.hold(world.channel.prepare(world.payment("barcode")))
    assert len(world.acknowledge_all()) == 1
    world.now += 2 * DAY
    assert world.notices() == []


# ---------------------------------------------------------------------------------------------- a person at a browser


def browse(world: World, path: str, method: str = "GET", **form: str) -> Reply:
    body = urlencode(form).encode()
    reply = world.simulator.handle(Request(method, f"{BASE}{path}", body=body), world.now)
    assert reply is not None
    return reply


def test_a_person_pays_on_the_wallets_page(world: World) -> None:
    found = world.hold(world.channel.prepare(world.payment("wap", subject="<b>Tea</b>")))
    assert isinstance(found, Ready)
    redirect = Plan.from_json(found.plan_json).first(StepKind.REDIRECT)
    assert redirect is not None
    assert isinstance(redirect.content, Redirect)
    arrived = world.simulator.handle(Request("GET", redirect.content.url), world.now)
    assert arrived is not None
    assert arrived.status == 303
    page = browse(world, arrived.headers["location"])
    text = page.body.decode()
    assert "CNY 128.00" in text
    assert "<b>Tea" not in text
    assert "script-src" not in page.headers["content-security-policy"]
    assert "default-src 'none'" in page.headers["content-security-policy"]
    left = browse(world, arrived.headers["location"], "POST", action="leave")
    assert "Waiting" in left.body.decode()
    paid = browse(world, arrived.headers["location"], "POST", action="pay")
    assert "付款成功" in paid.body.decode()
    assert "https://shop.example/back?x=1&amp;y=2" in paid.body.decode()
    again = browse(world, arrived.headers["location"], "POST", action="pay")
    assert again.status == 200
    assert "py01JC" not in browse(world, "/").body.decode()
    assert "Paid" in browse(world, "/").body.decode()


def test_a_form_leads_to_the_same_page(world: World) -> None:
    found = world.hold(world.channel.prepare(world.payment("page")))
    assert isinstance(found, Ready)
    step = Plan.from_json(found.plan_json).first(StepKind.FORM)
    assert step is not None
    form = step.content
    assert isinstance(form, Form)
    body = "&".join(f"{name}={quote_plus(value, safe='*')}" for name, value in form.fields).encode()
    arrived = world.simulator.handle(Request("POST", form.url, body=body), world.now)
    assert arrived is not None
    assert arrived.status == 303


def test_a_code_opens_in_a_browser_too(world: World) -> None:
    found = world.hold(world.channel.prepare(world.payment("qr")))
    assert isinstance(found, Ready)
    content = re.search(r'\\"content\\":\\"https://alipay.example(/qr/[0-9]+)', found.plan_json)
    assert content is not None
    assert browse(world, content[1]).status == 200
    assert not world.simulator.books.trades[PAYMENT].is_hidden


def test_an_order_of_an_app_opens_in_a_browser_too(world: World) -> None:
    arrived = browse(world, f"/app?order={quote_plus(order_str(world))}")
    assert arrived.status == 303
    assert browse(world, "/app?order=rubbish").status == 400
    world.now += 15 * MINUTE
    assert "Closed" in browse(world, arrived.headers["location"]).body.decode()


@pytest.mark.parametrize(
    ("path", "status"),
    [("/pay/nobody", 404), ("/nowhere", 404), ("/bill/1", 403), ("/gateway.do?method=alipay.trade.wap.pay", 400)],
)
def test_where_there_is_nothing(world: World, path: str, status: int) -> None:
    assert browse(world, path).status == status


# ---------------------------------------------------------------------------------------------- over HTTP


async def test_it_is_served_over_http() -> None:
    """In the host that serves it to developers: the gateway, a bill's address and the wallet's page, below its own path."""
    clock = FakeClock(NOW)
    simulator = AlipaySimulator("served")
    server = SimulatorServer({"alipay": simulator}, clock)
    await server.start()
    try:
        world = World(simulator=simulator)
        world.channel = open_with(simulator.settings(server.base_url("alipay")))
        async with httpx2.AsyncClient(trust_env=False, timeout=5) as browser:
            request = next(world.channel.prepare(world.payment("qr")))
            answered = await browser.post(request.url, headers=dict(request.headers), content=request.body)
            answer = world.channel._read(answered.content, "alipay.trade.precreate")
            page = await browser.get(str(answer.document["qr_code"]))
            assert "CNY 128.00" in page.text
            paid = await browser.post(str(answer.document["qr_code"]), data={"action": "pay"})
            assert "付款成功" in paid.text
        assert simulator.books.trades[PAYMENT].paid_at == NOW
    finally:
        await server.stop()


def test_a_sum_of_parts_never_exceeds_what_was_taken(world: World) -> None:
    world.pay()
    with pytest.raises(ValueError, match="not so much"):
        world.simulator.refund_in_console(PAYMENT, world.now, amount_minor=12801)
    with pytest.raises(LookupError):
        world.simulator.pay("nobody", world.now + SECOND)
