"""Bad input to each service: the row of the catalogue, what is sent, the exact code and reason. On both databases.

Rows 1 to 34 are in test_bad_input_common. Rows that end with OK (42, 46, 47, 55, 58 to 60, 65, 76, 77, 83, 91) stand
with the services' own tests as does 94 (what was given back never pays), 66 and 67 with the streams, 95 (a code to scan that
is not the channel's) with the channels. 49 and 50 hold for the one address that is stored, the return_url; 86 to 94 for
evidence of any store, here the sandbox's.
"""

from __future__ import annotations

import asyncio
import base64
import json
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Any

import grpc
import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from paycore.core.ids import Prefix, make_id
from paycore.v1 import (
    anomaly_pb2,
    cashier_pb2,
    channel_pb2,
    common_pb2,
    notice_pb2,
    order_pb2,
    refund_pb2,
)
from paycore_sandbox.simulator import Fault
from tests.rpc.shop import (
    CANARY,
    MAX_AMOUNT,
    NOW,
    SECOND,
    SHOP_KEY,
    Shop,
    a_close,
    a_payment,
    a_refund,
    a_session,
    an_order,
    fresh,
    money,
)
from tests.rpc.small import Said, refusal, said

pytestmark = pytest.mark.asyncio(loop_scope="module")

INVALID, STATE, EXISTS = "INVALID_ARGUMENT", "FAILED_PRECONDITION", "ALREADY_EXISTS"
ABSENT, RANGE, NOBODY, DENIED = "NOT_FOUND", "OUT_OF_RANGE", "UNAUTHENTICATED", "PERMISSION_DENIED"
NO_ORDER, NO_REFUND = make_id(Prefix.ORDER, NOW, 99), make_id(Prefix.REFUND, NOW, 99)
NO_PAYMENT, NO_SESSION = make_id(Prefix.PAYMENT, NOW, 99), make_id(Prefix.SESSION, NOW, 99)
NO_ANOMALY, NO_ACCOUNT = make_id(Prefix.ANOMALY, NOW, 99), make_id(Prefix.ACCOUNT, NOW, 99)
DAY = 24 * 3600

Ask = Callable[[Shop], Awaitable[Any]]


@dataclass(frozen=True)
class Row:
    """One line of the catalogue: what is asked, and how it must be refused."""

    name: str
    ask: Ask
    code: str
    reason: str

    def __str__(self) -> str:
        return self.name


FORBIDDEN = re.compile(
    "|".join(
        (
            CANARY,
            base64.b64encode(CANARY.encode()).decode()[:12],
            SHOP_KEY,
            r"select\b|insert\b|update orders|sqlite|postgres|psycopg|sqlalchemy|constraint",
            r"traceback|exception|\.py\b|site-packages|/(work|root|tmp|home|usr)/",
            r"\b(str|int|dict|NoneType)\b|object at 0x",
            r"INJECTED",
        )
    ),
    re.IGNORECASE,
)
"""What no message may contain: secrets, the database's words, paths, our own classes, and what the caller wrote."""


def is_silent(told: Said) -> bool:
    """Whether a refusal gives nothing away: one fixed sentence, and details without anything of ours."""
    everything = " ".join([told.text, *told.metadata.keys(), *told.metadata.values(), *told.fields])
    is_sentence = told.text.isascii() and told.text.endswith(".") and len(told.text) < 160 and "\n" not in told.text
    return is_sentence and FORBIDDEN.search(everything) is None and told.details_bytes <= 4096


def at(seconds: float, of: Shop) -> Timestamp:
    stamp = Timestamp()
    stamp.FromMicroseconds(of.clock.now() + int(seconds * SECOND))
    return stamp


# ---------------------------------------------------------------------------------------------- OrderService


def creating(**more: Any) -> Ask:
    async def ask(shop: Shop) -> Any:
        return await shop.app.CreateOrder(an_order(**more))

    return ask


def expiring(seconds: float) -> Ask:
    async def ask(shop: Shop) -> Any:
        return await shop.app.CreateOrder(an_order(expire_time=at(seconds, shop)))

    return ask


def items(*prices: int) -> list[order_pb2.LineItem]:
    return [order_pb2.LineItem(name="cup", quantity=2, unit_amount_minor=price) for price in prices]


async def another_order_under_the_number(shop: Shop) -> Any:
    order = await shop.order()
    return await shop.app.CreateOrder(an_order(merchant_order_no=order.merchant_order_no, amount=money(10_001)))


async def another_order_under_the_key(shop: Shop) -> Any:
    request = an_order()
    await shop.app.CreateOrder(request)
    request.subject = "INJECTED"
    return await shop.app.CreateOrder(request)


async def a_rivals_order(shop: Shop) -> order_pb2.Order:
    return await shop.order(shop.rival)


def getting(order_id: str) -> Ask:
    return lambda shop: shop.app.GetOrder(order_pb2.GetOrderRequest(order_id=order_id))


async def closing_a_paid_order(shop: Shop) -> Any:
    return await shop.app.CloseOrder(a_close((await shop.paid()).order_id))


def listing(start: float | None = None, end: float | None = None, **more: Any) -> Ask:
    async def ask(shop: Shop) -> Any:
        request = order_pb2.ListOrdersRequest(**more)
        if start is not None:
            request.start_time.CopyFrom(at(start, shop))
        if end is not None:
            request.end_time.CopyFrom(at(end, shop))
        return await shop.app.ListOrders(request)

    return ask


async def a_foreign_page_token(shop: Shop) -> Any:
    for _ in range(2):
        await a_rivals_order(shop)
    theirs = await shop.rival.ListOrders(order_pb2.ListOrdersRequest(page_size=1))
    return await shop.app.ListOrders(order_pb2.ListOrdersRequest(page_size=1, page_token=theirs.next_page_token))


async def a_token_of_other_filters(shop: Shop) -> Any:
    for _ in range(2):
        await shop.order()
    page = await shop.app.ListOrders(order_pb2.ListOrdersRequest(page_size=1))
    paid = [order_pb2.Order.STATE_PAID]
    return await shop.app.ListOrders(order_pb2.ListOrdersRequest(states=paid, page_token=page.next_page_token))


async def a_cut_page_token(shop: Shop) -> Any:
    for _ in range(2):
        await shop.order()
    page = await shop.app.ListOrders(order_pb2.ListOrdersRequest(page_size=1))
    return await shop.app.ListOrders(order_pb2.ListOrdersRequest(page_token=page.next_page_token[:-3]))


async def first(stream: Any) -> Any:
    return await stream.read()


def watching(order_id: str = "", **more: Any) -> Ask:
    async def ask(shop: Shop) -> Any:
        named = order_id or (await shop.order()).order_id
        return await first(shop.app.WatchOrder(order_pb2.WatchOrderRequest(order_id=named, **more)))

    return ask


async def watching_a_rivals_order(shop: Shop) -> Any:
    order = await a_rivals_order(shop)
    return await first(shop.app.WatchOrder(order_pb2.WatchOrderRequest(order_id=order.order_id)))


def watching_the_feed(**more: Any) -> Ask:
    return lambda shop: first(shop.app.WatchOrders(order_pb2.WatchOrdersRequest(**more)))


def resolving(anomaly_id: str, remedy: int = anomaly_pb2.REMEDY_ACCEPT) -> Ask:
    return lambda shop: shop.app.ResolveAnomaly(
        order_pb2.ResolveAnomalyRequest(anomaly_id=anomaly_id, remedy=remedy, note="so", request_id=fresh())  # type: ignore[arg-type]
    )


CURRENCIES = ["cny", "RMB", "", "XXX", "ＣＮＹ", "XAU", "CNYY", "C\u200dY"]
RETURN_URLS = [
    "javascript:alert(1)",
    "http://shop.example/",
    "file:///etc/passwd",
    "gopher://shop.example/",
    "https://user@shop.example/",
    "https://shop.example:22/",
    "https://shop.example@evil.example/",
    "https://evil.example/",
    "https://shop.example.evil.example/",
    "https://shop.example./",
    "https://localhost./",
    "https://127.0.0.1/",
    "https://10.0.0.8/",
    "https://169.254.169.254/latest",
    "https://100.64.0.1/",
    "https://[::1]/",
    "https://[fc00::1]/",
    "https://[::ffff:127.0.0.1]/",
    "https://2130706433/",
    "https://0177.0.0.1/",
    "https://0x7f.1/",
    "https://ѕhop.example/",
    "https://shop.example\\@evil.example/",
    "//shop.example/",
    "https:shop.example",
    " https://shop.example/",
]
KEYS = ["", "x" * 15, "x" * 129, "with a space in it", "with\ttab-in-it-0000", "schlüssel-0000000000"]
NUMBERS = ["12345", "x" * 33, "with space", "semi;colon", "日本語日本語日本語", "a/b/c/d", "'; drop--"]

ORDERS = [
    Row("35 amount 0", creating(amount=money(0)), INVALID, "AMOUNT_NOT_POSITIVE"),
    Row("36 amount negative", creating(amount=money(-1)), INVALID, "AMOUNT_NOT_POSITIVE"),
    Row("36 amount MIN_INT64", creating(amount=money(-(2**63))), INVALID, "AMOUNT_NOT_POSITIVE"),
    Row("37 amount above the app's", creating(amount=money(MAX_AMOUNT + 1)), INVALID, "AMOUNT_TOO_LARGE"),
    Row("37 amount above ours", creating(amount=money(10**12 + 1)), INVALID, "AMOUNT_TOO_LARGE"),
    Row("37 amount MAX_INT64", creating(amount=money(2**63 - 1)), INVALID, "AMOUNT_TOO_LARGE"),
    *(
        Row(f"38 currency {code!a}", creating(amount=money(1, code)), INVALID, "CURRENCY_UNSUPPORTED")
        for code in CURRENCIES
    ),
    Row("39 currency not enabled", creating(amount=money(1, "EUR")), STATE, "CURRENCY_NOT_ENABLED"),
    Row("40 items add up to less", creating(line_items=items(4_999)), INVALID, "AMOUNT_MISMATCH"),
    Row("40 items add up to more", creating(line_items=items(5_000, 1)), INVALID, "AMOUNT_MISMATCH"),
    Row("40 items beyond 64 bits", creating(line_items=items(*[10**12] * 100)), INVALID, "AMOUNT_MISMATCH"),
    *(Row(f"41 number {no!a}", creating(merchant_order_no=no), INVALID, "BAD_ORDER_NO") for no in NUMBERS),
    Row("41 no number", creating(merchant_order_no=""), INVALID, "FIELD_REQUIRED"),
    Row("43 same number, other amount", another_order_under_the_number, EXISTS, "ORDER_NO_CONFLICT"),
    Row("44 same key, other content", another_order_under_the_key, EXISTS, "IDEMPOTENCY_CONFLICT"),
    *(Row(f"45 key {key!a}", creating(request_id=key), INVALID, "BAD_IDEMPOTENCY_KEY") for key in KEYS),
    Row("48 expiry in the past", expiring(-1), INVALID, "BAD_EXPIRY"),
    Row("48 expiry now", expiring(0), INVALID, "BAD_EXPIRY"),
    Row("48 expiry too near", expiring(59), INVALID, "BAD_EXPIRY"),
    Row("48 expiry too far", expiring(15 * DAY + 1), INVALID, "BAD_EXPIRY"),
    *(Row(f"49-53 {url!a}", creating(return_url=url), INVALID, "RETURN_URL_FORBIDDEN") for url in RETURN_URLS),
    Row("54 21 keys", creating(metadata={f"k{n}": "" for n in range(21)}), INVALID, "BAD_METADATA"),
    Row("54 more than 4 KiB", creating(metadata={"k": "x" * 4_096}), INVALID, "BAD_METADATA"),
    Row("54 a key with a dot", creating(metadata={"a.b": "x"}), INVALID, "BAD_METADATA"),
    Row("54 a key with a control", creating(metadata={"a\nb": "x"}), INVALID, "BAD_METADATA"),
    Row("54 an empty key", creating(metadata={"": "x"}), INVALID, "BAD_METADATA"),
    Row("56 unknown order", getting(NO_ORDER), ABSENT, "ORDER_NOT_FOUND"),
    Row("56 malformed id", getting("or-1"), INVALID, "BAD_ID"),
    Row("56 a payment's id", getting(NO_PAYMENT), INVALID, "BAD_ID"),
    Row("56 SQL for an id", getting("or' OR '1'='1"), INVALID, "BAD_ID"),
    Row("57 closing a paid order", closing_a_paid_order, STATE, "ORDER_ALREADY_PAID"),
    Row("61 range inverted", listing(10, 0), INVALID, "BAD_RANGE"),
    Row("61 range empty", listing(0, 0), INVALID, "BAD_RANGE"),
    Row("61 range too long", listing(-31 * DAY - 1, 0), INVALID, "BAD_RANGE"),
    Row("61 range of centuries", listing(0, 300 * 366 * DAY), INVALID, "BAD_RANGE"),
    Row("33 page size", listing(page_size=201), INVALID, "BAD_PAGE_SIZE"),
    Row("33 page token forged", listing(page_token="INJECTEDINJECTEDINJECTEDINJE"), INVALID, "BAD_PAGE_TOKEN"),
    Row("33 page token cut", a_cut_page_token, INVALID, "BAD_PAGE_TOKEN"),
    Row("33 page token of another app", a_foreign_page_token, INVALID, "BAD_PAGE_TOKEN"),
    Row("33 page token of other filters", a_token_of_other_filters, INVALID, "BAD_PAGE_TOKEN"),
    Row("62 resume ahead", watching(resume_after=2), RANGE, "RESUME_AHEAD"),
    Row("62 resume far ahead", watching(resume_after=2**63 - 1), RANGE, "RESUME_AHEAD"),
    Row("62 feed resume ahead", watching_the_feed(resume_after=10**9), RANGE, "RESUME_AHEAD"),
    Row("63 resume negative", watching(resume_after=-1), INVALID, "BAD_RESUME"),
    Row("63 feed resume negative", watching_the_feed(resume_after=-1), INVALID, "BAD_RESUME"),
    Row("64 watch unknown", watching(NO_ORDER), ABSENT, "ORDER_NOT_FOUND"),
    Row("64 watch a rival's", watching_a_rivals_order, ABSENT, "ORDER_NOT_FOUND"),
    Row("64 heartbeat too often", watching(heartbeat_seconds=4), INVALID, "OUT_OF_BOUNDS"),
    Row("64 heartbeat too rarely", watching(heartbeat_seconds=61), INVALID, "OUT_OF_BOUNDS"),
    Row("unknown anomaly", resolving(NO_ANOMALY), ABSENT, "ANOMALY_NOT_FOUND"),
    Row("no remedy", resolving(NO_ANOMALY, 0), INVALID, "FIELD_REQUIRED"),
]

# ---------------------------------------------------------------------------------------------- CashierService


def session_for(make: Callable[[Shop], Awaitable[order_pb2.Order]], **client: Any) -> Ask:
    async def ask(shop: Shop) -> Any:
        return await shop.app.CreateCashierSession(a_session((await make(shop)).order_id, **client))

    return ask


def with_token(change: Callable[[str], str]) -> Ask:
    async def ask(shop: Shop) -> Any:
        answer = await shop.app.CreateCashierSession(a_session((await shop.order()).order_id))
        caller = shop.session(change(answer.session_token))
        return await caller.GetCashierSession(
            cashier_pb2.GetCashierSessionRequest(session_id=answer.session.session_id)
        )

    return ask


def with_session(ask: Callable[[Shop, Any, cashier_pb2.CashierSession], Awaitable[Any]]) -> Ask:
    async def call(shop: Shop) -> Any:
        session, caller = await shop.open_session(await shop.order())
        return await ask(shop, caller, session)

    return call


def paying(
    make: Callable[[Shop], Awaitable[order_pb2.Order]] | None = None, face: str = "", os: str = "", **more: Any
) -> Ask:
    async def ask(shop: Shop) -> Any:
        order = await (make(shop) if make else shop.order())
        client = common_pb2.ClientContext(face=face, os=os)
        return await shop.app.PayOrder(a_payment(order.order_id, **({"client": client} | more)))

    return ask


async def paying_too_late(shop: Shop) -> Any:
    order = await shop.order(expire_time=at(60, shop))
    shop.clock.advance(60.001)
    return await shop.app.PayOrder(a_payment(order.order_id))


async def paying_with_too_little_time(shop: Shop) -> Any:
    order = await shop.order(expire_time=at(60, shop))
    shop.clock.advance(1)
    return await shop.app.PayOrder(a_payment(order.order_id))


async def paying_otherwise_while_the_payer_pays(shop: Shop) -> Any:
    order = await shop.order()
    payment = await shop.begun(order)
    shop.scan(payment)
    shop.simulator.begin_paying(payment.payment_id, shop.clock.now())
    return await shop.app.PayOrder(a_payment(order.order_id, method="redirect"))


async def paying_again_and_again(shop: Shop) -> Any:
    order = await shop.order()
    for number in range(200):
        payment = await shop.begun(order, method=("qr", "redirect")[number % 2])
        assert payment.payment_id
    return None


def paying_from(ip: str) -> Ask:
    async def ask(shop: Shop) -> Any:
        order = await shop.order()
        return await shop.app.PayOrder(a_payment(order.order_id, client=common_pb2.ClientContext(client_ip=ip)))

    return ask


WITH_AN_OLD_SDK = common_pb2.ClientContext(sdk_versions={"sandbox": "2.9.9"})
IPS = ["1.2.3", "fe80::1%eth0", "192.0.2.1, 192.0.2.2", "::g", "localhost", "192.0.2.1/24", "0x7f000001"]


async def reporting_another_orders_payment(shop: Shop) -> Any:
    elsewhere = await shop.begun(await shop.order())
    _, caller = await shop.open_session(await shop.order())
    return await caller.ReportClientResult(a_report(elsewhere.payment_id))


def a_report(payment_id: str, outcome: int = cashier_pb2.CLIENT_OUTCOME_SUCCESS_CLAIMED) -> Any:
    return cashier_pb2.ReportClientResultRequest(payment_id=payment_id, outcome=outcome)  # type: ignore[arg-type]


def confirming(evidence: str, **more: Any) -> Ask:
    return lambda shop: shop.app.ConfirmPayment(a_proof(evidence, **more))


def a_proof(evidence: str, **more: Any) -> cashier_pb2.ConfirmPaymentRequest:
    usual: dict[str, Any] = {"channel": "sandbox", "evidence": evidence, "request_id": fresh()}
    return cashier_pb2.ConfirmPaymentRequest(**(usual | more))


async def store_payment(shop: Shop, name: str = "tea.cup") -> Any:
    item = order_pb2.LineItem(product_id=name, name="cup", quantity=1, unit_amount_minor=10_000)
    order = await shop.order(line_items=[item])
    return await shop.begun(order, method="store")


def with_receipt(change: Callable[[str], str]) -> Ask:
    async def ask(shop: Shop) -> Any:
        payment = await store_payment(shop)
        return await shop.app.ConfirmPayment(a_proof(change(shop.buy(payment, amount_minor=10_000))))

    return ask


async def a_receipt_of_another_order(shop: Shop) -> Any:
    bought, other = await store_payment(shop), await store_payment(shop)
    _, caller = await shop.open_session(await shop.now(other.order_id))
    return await caller.ConfirmPayment(a_proof(shop.buy(bought, amount_minor=10_000), payment_id=other.payment_id))


async def a_receipt_that_paid_another_order(shop: Shop) -> Any:
    bought, other = await store_payment(shop), await store_payment(shop)
    receipt = shop.buy(bought, amount_minor=10_000)
    await shop.app.ConfirmPayment(a_proof(receipt))
    return await shop.app.ConfirmPayment(a_proof(receipt, payment_id=other.payment_id))


async def a_receipt_with_anothers_token(shop: Shop) -> Any:
    payment, token = await store_payment(shop), "0f8fad5b-d9cb-469f-a165-70867728950f"
    receipt = shop.simulator.buy("tea.cup", token, shop.clock.now(), amount_minor=1)
    return await shop.app.ConfirmPayment(a_proof(receipt, payment_id=payment.payment_id))


async def a_receipt_under_another_account(shop: Shop) -> Any:
    bought = await store_payment(shop)
    receipt = shop.buy(bought, amount_minor=10_000)
    return await shop.app.ConfirmPayment(a_proof(receipt, account_id=shop.rival_account_id))


async def a_session_that_names_no_payment(shop: Shop) -> Any:
    _, caller = await shop.open_session(await shop.order())
    return await caller.ConfirmPayment(a_proof("INJECTED"))


def token_of(payment: Any) -> str:
    """What a purchase has to carry to belong to this payment."""
    return str(json.loads(payment.action.steps[0].params_json)["account_token"])


async def a_receipt_of_something_else(shop: Shop) -> Any:
    payment = await store_payment(shop)
    receipt = shop.simulator.buy("another.cup", token_of(payment), shop.clock.now(), amount_minor=10_000)
    return await shop.app.ConfirmPayment(a_proof(receipt, payment_id=payment.payment_id))


async def a_receipt_of_another_merchant(shop: Shop) -> Any:
    payment = await store_payment(shop)
    receipt = shop.simulator.buy(
        "tea.cup", token_of(payment), shop.clock.now(), amount_minor=10_000, merchant="SOMEBODY"
    )
    return await shop.app.ConfirmPayment(a_proof(receipt, payment_id=payment.payment_id))


async def a_receipt_for_nobody(shop: Shop) -> Any:
    token = "0f8fad5b-d9cb-469f-a165-70867728950e"
    return await shop.app.ConfirmPayment(
        a_proof(shop.simulator.buy("tea.cup", token, shop.clock.now(), amount_minor=1))
    )


async def an_expired_session(shop: Shop) -> Any:
    session, caller = await shop.open_session(await shop.order())
    shop.clock.advance(1_801)
    return await caller.GetCashierSession(cashier_pb2.GetCashierSessionRequest(session_id=session.session_id))


async def a_revoked_session(shop: Shop) -> Any:
    session, caller = await shop.open_session(await shop.order())
    with shop.store.write() as unit:
        kept = unit.get_session(session.session_id)
        assert kept is not None
        unit.put_session(replace(kept, revoked_at=shop.clock.now()))
    return await caller.GetCashierSession(cashier_pb2.GetCashierSessionRequest(session_id=session.session_id))


async def a_session_of_another(shop: Shop, caller: Any, session: cashier_pb2.CashierSession) -> Any:
    other, _ = await shop.open_session(await shop.order())
    return await caller.GetCashierSession(cashier_pb2.GetCashierSessionRequest(session_id=other.session_id))


def submitting(session_id: str = "", **more: Any) -> Ask:
    async def ask(shop: Shop, caller: Any, session: cashier_pb2.CashierSession) -> Any:
        usual = {"channel": "sandbox", "method": "qr", "request_id": fresh()}
        named = session_id or session.session_id
        return await caller.SubmitPayment(cashier_pb2.SubmitPaymentRequest(session_id=named, **(usual | more)))

    return with_session(ask)


SESSION_MAY_NOT: list[tuple[str, Any]] = [
    ("CreateOrder", an_order()),
    ("GetOrder", order_pb2.GetOrderRequest(order_id=NO_ORDER)),
    ("ListOrders", order_pb2.ListOrdersRequest()),
    ("PayOrder", a_payment(NO_ORDER)),
    ("CloseOrder", a_close(NO_ORDER)),
    ("ListAnomalies", order_pb2.ListAnomaliesRequest()),
    ("CreateRefund", a_refund(NO_ORDER)),
    ("GetRefund", refund_pb2.GetRefundRequest(refund_id=NO_REFUND)),
    ("ListChannels", channel_pb2.ListChannelsRequest()),
    ("CreateCashierSession", a_session(NO_ORDER)),
    ("DeliverNotice", notice_pb2.DeliverNoticeRequest(account_id=NO_ACCOUNT, http_method="POST", path="/")),
]


def session_calling(rpc: str, request: Any) -> Ask:
    return with_session(lambda shop, caller, session: getattr(caller, rpc)(request))


CASHIER = [
    Row("68 session for a rival's order", session_for(a_rivals_order), ABSENT, "ORDER_NOT_FOUND"),
    Row("69 session for a paid order", session_for(lambda shop: shop.paid()), STATE, "ORDER_NOT_PAYABLE"),
    Row("69 session for a closed order", session_for(lambda shop: shop.closed()), STATE, "ORDER_NOT_PAYABLE"),
    Row("70 token guessed", with_token(lambda token: token[:28] + "A" * 43), NOBODY, "SESSION_INVALID"),
    Row("70 token cut", with_token(lambda token: token[:-1]), NOBODY, "SESSION_INVALID"),
    Row("70 token longer", with_token(lambda token: token + "A"), NOBODY, "SESSION_INVALID"),
    Row("70 token of another session", with_token(lambda token: NO_SESSION + token[28:]), NOBODY, "SESSION_INVALID"),
    Row("70 token padded", with_token(lambda token: token + "="), NOBODY, "SESSION_INVALID"),
    Row("71 session expired", an_expired_session, NOBODY, "SESSION_EXPIRED"),
    Row("71 session revoked", a_revoked_session, NOBODY, "SESSION_EXPIRED"),
    Row("72 another session's id", with_session(a_session_of_another), ABSENT, "SESSION_NOT_FOUND"),
    Row("72 an unknown session's id", submitting(NO_SESSION), ABSENT, "SESSION_NOT_FOUND"),
    Row("72 another order's payment", reporting_another_orders_payment, ABSENT, "PAYMENT_NOT_FOUND"),
    *(
        Row(f"73 session calls {rpc}", session_calling(rpc, request), DENIED, "SCOPE_MISSING")
        for rpc, request in SESSION_MAY_NOT
    ),
    Row("74 unknown channel", paying(channel="INJECTED"), INVALID, "METHOD_UNKNOWN"),
    Row("74 unknown method", paying(method="INJECTED"), INVALID, "METHOD_UNKNOWN"),
    Row("74 unknown channel by a session", submitting(channel="INJECTED"), INVALID, "METHOD_UNKNOWN"),
    Row("74 face not suited", paying(method="app", face="pc"), STATE, "METHOD_UNAVAILABLE"),
    Row("74 items not suited", paying(method="store"), STATE, "METHOD_UNAVAILABLE"),
    Row("74 unknown account", paying(account_id=NO_ACCOUNT), ABSENT, "ACCOUNT_NOT_FOUND"),
    Row("78 payer in the middle of paying", paying_otherwise_while_the_payer_pays, STATE, "PAYMENT_IN_PROGRESS"),
    Row("78 too many attempts", paying_again_and_again, "RESOURCE_EXHAUSTED", "TOO_MANY_ATTEMPTS"),
    Row("79 a millisecond too late", paying_too_late, STATE, "ORDER_EXPIRED"),
    Row("79 too little time left", paying_with_too_little_time, STATE, "ORDER_EXPIRED"),
    Row("paying a paid order", paying(lambda shop: shop.paid()), STATE, "ORDER_ALREADY_PAID"),
    Row("paying a closed order", paying(lambda shop: shop.closed()), STATE, "ORDER_CLOSED"),
    Row("paying a rival's order", paying(a_rivals_order), ABSENT, "ORDER_NOT_FOUND"),
    Row("80 no payer", paying(channel="strict"), INVALID, "PAYER_REQUIRED"),
    Row(
        "80 a payer of another form", paying(channel="strict", inputs={"openid": "INJECTED"}), INVALID, "PAYER_REQUIRED"
    ),
    *(Row(f"81 address {ip!a}", paying_from(ip), INVALID, "BAD_CLIENT_IP") for ip in IPS),
    Row("82 platform unknown", paying(method="app", os="plan9"), STATE, "BRIDGE_UNSUPPORTED"),
    Row("82 SDK too old", paying(channel="strict", client=WITH_AN_OLD_SDK), STATE, "BRIDGE_UNSUPPORTED"),
    Row(
        "84 unknown payment",
        lambda shop: shop.app.ReportClientResult(a_report(NO_PAYMENT)),
        ABSENT,
        "PAYMENT_NOT_FOUND",
    ),
    Row("85 evidence not ASCII", confirming("ü"), INVALID, "EVIDENCE_MALFORMED"),
    Row("85 evidence too large", confirming("x" * 49_153), INVALID, "EVIDENCE_MALFORMED"),
    Row("85 evidence empty", confirming(""), INVALID, "FIELD_REQUIRED"),
    Row("86 not signed at all", confirming("INJECTED"), INVALID, "EVIDENCE_UNTRUSTED"),
    Row("86 three empty parts", confirming(".."), INVALID, "EVIDENCE_UNTRUSTED"),
    Row("87 signature cut", with_receipt(lambda receipt: receipt[:-4]), INVALID, "EVIDENCE_UNTRUSTED"),
    Row("87 content changed", with_receipt(lambda receipt: "A" + receipt[1:]), INVALID, "EVIDENCE_UNTRUSTED"),
    Row("88 another app's account", a_receipt_under_another_account, ABSENT, "ACCOUNT_NOT_FOUND"),
    Row("88 another merchant's receipt", a_receipt_of_another_merchant, INVALID, "RECEIPT_WRONG_APP"),
    Row("90 a receipt that paid another order", a_receipt_that_paid_another_order, EXISTS, "EVIDENCE_USED"),
    Row("92 another order's receipt", a_receipt_of_another_order, DENIED, "RECEIPT_WRONG_ACCOUNT"),
    Row("92 an order's receipt with a token of nobody", a_receipt_with_anothers_token, DENIED, "RECEIPT_WRONG_ACCOUNT"),
    Row("92 a receipt for nobody", a_receipt_for_nobody, STATE, "EVIDENCE_MISMATCH"),
    Row("93 a receipt of something else", a_receipt_of_something_else, STATE, "EVIDENCE_MISMATCH"),
    Row("a session that names no payment", a_session_that_names_no_payment, INVALID, "FIELD_REQUIRED"),
    Row("evidence for an unknown channel", confirming("x", channel="INJECTED"), INVALID, "METHOD_UNKNOWN"),
]

# ---------------------------------------------------------------------------------------------- RefundService


def refunding(amount_minor: int, paid: int = 10_000, *, channel: str = "sandbox", **more: Any) -> Ask:
    async def ask(shop: Shop) -> Any:
        order = await shop.paid(paid, channel=channel)
        return await shop.app.CreateRefund(a_refund(order.order_id, amount_minor, **more))

    return ask


def refunding_an(make: Callable[[Shop], Awaitable[order_pb2.Order]]) -> Ask:
    async def ask(shop: Shop) -> Any:
        return await shop.app.CreateRefund(a_refund((await make(shop)).order_id))

    return ask


async def refunding_more_than_is_left(shop: Shop) -> Any:
    order = await shop.paid()
    await shop.app.CreateRefund(a_refund(order.order_id, 6_000))
    return await shop.app.CreateRefund(a_refund(order.order_id, 4_001))


async def another_refund_under_the_key(shop: Shop) -> Any:
    order = await shop.paid()
    request = a_refund(order.order_id, 100)
    await shop.app.CreateRefund(request)
    request.amount.amount_minor = 101
    return await shop.app.CreateRefund(request)


async def another_refund_under_the_number(shop: Shop) -> Any:
    order, number = await shop.paid(), fresh("refund")
    await shop.app.CreateRefund(a_refund(order.order_id, 100, merchant_refund_no=number))
    return await shop.app.CreateRefund(a_refund(order.order_id, 101, merchant_refund_no=number))


async def refunding_too_late(shop: Shop) -> Any:
    order = await shop.paid(channel="strict")
    shop.clock.advance(DAY + 1)
    return await shop.app.CreateRefund(a_refund(order.order_id))


async def refunding_too_often(shop: Shop) -> Any:
    order = await shop.paid(channel="strict")
    for _ in range(2):
        await shop.app.CreateRefund(a_refund(order.order_id, 10))
    return await shop.app.CreateRefund(a_refund(order.order_id, 10))


async def an_order_with_an_unknown_payment(shop: Shop) -> order_pb2.Order:
    order = await shop.order()
    shop.simulator.faults.plan(Fault.EFFECT_THEN_SILENCE, "trades", times=1)
    await shop.begun(order)
    return order


async def getting_a_rivals_refund(shop: Shop) -> Any:
    order = await shop.paid()
    refund = (await shop.app.CreateRefund(a_refund(order.order_id))).refund
    return await shop.rival.GetRefund(refund_pb2.GetRefundRequest(refund_id=refund.refund_id))


async def retrying_a_refund_that_is_done(shop: Shop) -> Any:
    order = await shop.paid()
    refund = (await shop.app.CreateRefund(a_refund(order.order_id))).refund
    return await shop.app.RetryRefund(refund_pb2.RetryRefundRequest(refund_id=refund.refund_id, request_id=fresh()))


def naming_refund(rpc: str, kind: Any, **more: Any) -> Ask:
    return lambda shop: getattr(shop.app, rpc)(kind(refund_id=NO_REFUND, **more))


REFUNDS = [
    Row("96 amount 0", refunding(0), INVALID, "AMOUNT_NOT_POSITIVE"),
    Row("96 amount negative", refunding(-1), INVALID, "AMOUNT_NOT_POSITIVE"),
    Row("96 more than was paid", refunding(10_001), STATE, "REFUND_EXCEEDS_BALANCE"),
    Row("96 one more than is left", refunding_more_than_is_left, STATE, "REFUND_EXCEEDS_BALANCE"),
    Row("98 other currency", refunding(100, amount=money(100, "USD")), INVALID, "CURRENCY_MISMATCH"),
    Row("99 order not paid", refunding_an(lambda shop: shop.order()), STATE, "ORDER_NOT_PAID"),
    Row("99 order closed", refunding_an(lambda shop: shop.closed()), STATE, "ORDER_NOT_PAID"),
    Row("99 order unknown", lambda shop: shop.app.CreateRefund(a_refund(NO_ORDER)), ABSENT, "ORDER_NOT_FOUND"),
    Row("100 a rival's order", refunding_an(a_rivals_order), ABSENT, "ORDER_NOT_FOUND"),
    Row("101 same key, other amount", another_refund_under_the_key, EXISTS, "IDEMPOTENCY_CONFLICT"),
    Row("101 same number, other amount", another_refund_under_the_number, EXISTS, "REFUND_NO_CONFLICT"),
    Row("102 channel that gives nothing back", refunding(100, channel="oneway"), STATE, "REFUND_UNSUPPORTED"),
    Row("103 beyond the channel's window", refunding_too_late, STATE, "REFUND_WINDOW_CLOSED"),
    Row("104 one more than the channel takes", refunding_too_often, STATE, "REFUND_COUNT_LIMIT"),
    Row("105 payment unknown", refunding_an(an_order_with_an_unknown_payment), STATE, "ORDER_NOT_PAID"),
    Row("108 unknown refund", naming_refund("GetRefund", refund_pb2.GetRefundRequest), ABSENT, "REFUND_NOT_FOUND"),
    Row("108 a rival's refund", getting_a_rivals_refund, ABSENT, "REFUND_NOT_FOUND"),
    Row("108 sync unknown", naming_refund("SyncRefund", refund_pb2.SyncRefundRequest), ABSENT, "REFUND_NOT_FOUND"),
    Row(
        "108 retry unknown",
        naming_refund("RetryRefund", refund_pb2.RetryRefundRequest, request_id=fresh()),
        ABSENT,
        "REFUND_NOT_FOUND",
    ),
    Row(
        "108 watch unknown",
        lambda shop: first(shop.app.WatchRefund(refund_pb2.WatchRefundRequest(refund_id=NO_REFUND))),
        ABSENT,
        "REFUND_NOT_FOUND",
    ),
    Row("retry of one that is done", retrying_a_refund_that_is_done, STATE, "REFUND_NOT_RETRYABLE"),
    Row("109 reason too long", refunding(100, reason="x" * 81), INVALID, "FIELD_TOO_LONG"),
    Row("109 reason with a control", refunding(100, reason="a\x07b"), INVALID, "ILLEGAL_CHARACTER"),
    Row("payment of another order", refunding(100, payment_id=NO_PAYMENT), ABSENT, "PAYMENT_NOT_FOUND"),
]

CHANNELS = [
    Row(
        "unknown channel",
        lambda shop: shop.app.GetChannel(channel_pb2.GetChannelRequest(channel="INJECTED")),
        ABSENT,
        "CHANNEL_NOT_FOUND",
    ),
    Row(
        "notice for an unknown account",
        lambda shop: shop.edge.DeliverNotice(
            notice_pb2.DeliverNoticeRequest(account_id=NO_ACCOUNT, http_method="POST", path="/v1/notices/INJECTED")
        ),
        ABSENT,
        "ACCOUNT_NOT_FOUND",
    ),
    Row(
        "notice with a body too large",
        lambda shop: shop.edge.DeliverNotice(
            notice_pb2.DeliverNoticeRequest(account_id=NO_ACCOUNT, http_method="POST", path="/", body=b"x" * 262_145)
        ),
        INVALID,
        "FIELD_TOO_LONG",
    ),
]


@pytest.mark.parametrize("row", [*ORDERS, *CASHIER, *REFUNDS, *CHANNELS], ids=str)
async def test_bad_input_has_its_code_and_its_reason(market: Shop, row: Row) -> None:
    told = await refusal(row.ask(market))
    assert (told.code, told.reason) == (row.code, row.reason)
    assert is_silent(told), told
    if told.code == INVALID:
        assert told.fields, "an invalid argument names its field"


# ---------------------------------------------------------------------------------------------- other people's things


def by_id(shop: Shop, caller: Any, order: Any, payment: Any, refund: Any, session: Any, anomaly: Any) -> dict[str, Any]:
    """Every call that names something by an id, on these ids."""
    return {
        "GetOrder": lambda: caller.GetOrder(order_pb2.GetOrderRequest(order_id=order)),
        "PayOrder": lambda: caller.PayOrder(a_payment(order)),
        "SyncOrder": lambda: caller.SyncOrder(order_pb2.SyncOrderRequest(order_id=order)),
        "CloseOrder": lambda: caller.CloseOrder(a_close(order)),
        "CloseOrder with an etag": lambda: caller.CloseOrder(a_close(order, etag='"1"')),
        "ListOrderEvents": lambda: caller.ListOrderEvents(order_pb2.ListOrderEventsRequest(order_id=order)),
        "ExplainOrder": lambda: caller.ExplainOrder(order_pb2.ExplainOrderRequest(order_id=order)),
        "WatchOrder": lambda: first(caller.WatchOrder(order_pb2.WatchOrderRequest(order_id=order))),
        "WatchOrder from a version": lambda: first(
            caller.WatchOrder(order_pb2.WatchOrderRequest(order_id=order, resume_after=10**6))
        ),
        "ResolveAnomaly": lambda: caller.ResolveAnomaly(
            order_pb2.ResolveAnomalyRequest(
                anomaly_id=anomaly, remedy=anomaly_pb2.REMEDY_RELEASE, note="so", request_id=fresh()
            )
        ),
        "CreateCashierSession": lambda: caller.CreateCashierSession(a_session(order)),
        "GetCashierSession": lambda: caller.GetCashierSession(cashier_pb2.GetCashierSessionRequest(session_id=session)),
        "SubmitPayment": lambda: caller.SubmitPayment(
            cashier_pb2.SubmitPaymentRequest(session_id=session, channel="sandbox", method="qr", request_id=fresh())
        ),
        "WatchCashierSession": lambda: first(
            caller.WatchCashierSession(cashier_pb2.WatchCashierSessionRequest(session_id=session))
        ),
        "ReportClientResult": lambda: caller.ReportClientResult(a_report(payment)),
        "ConfirmPayment": lambda: caller.ConfirmPayment(a_proof("x", payment_id=payment)),
        "CreateRefund": lambda: caller.CreateRefund(a_refund(order)),
        "GetRefund": lambda: caller.GetRefund(refund_pb2.GetRefundRequest(refund_id=refund)),
        "SyncRefund": lambda: caller.SyncRefund(refund_pb2.SyncRefundRequest(refund_id=refund)),
        "RetryRefund": lambda: caller.RetryRefund(refund_pb2.RetryRefundRequest(refund_id=refund, request_id=fresh())),
        "WatchRefund": lambda: first(caller.WatchRefund(refund_pb2.WatchRefundRequest(refund_id=refund))),
    }


NAMING = list(by_id(*[None] * 7))  # type: ignore[arg-type]


async def status_of(call: Awaitable[Any], *ids: str) -> bytes:
    """The whole refusal as it is on the wire, the ids that were sent in aside."""
    try:
        await call
    except grpc.aio.AioRpcError as error:
        details = dict(error.trailing_metadata() or ())["grpc-status-details-bin"]
        whole = f"{error.code()} {error.details()} ".encode() + bytes(details)
        for one in ids:
            whole = whole.replace(one.encode(), b"?" * len(one))
        return whole
    raise AssertionError("was not refused")


@pytest.fixture(scope="module")
def belongings() -> dict[Any, Any]:
    return {}


@pytest.mark.parametrize("rpc", NAMING)
async def test_another_apps_ids_answer_byte_for_byte_like_unknown_ones(
    market: Shop, rpc: str, belongings: dict[Any, Any]
) -> None:
    if market not in belongings:
        belongings[market] = await ours(market)
    theirs = by_id(market, market.rival, *belongings[market])
    unknown = by_id(market, market.rival, NO_ORDER, NO_PAYMENT, NO_REFUND, NO_SESSION, NO_ANOMALY)
    told = await status_of(theirs[rpc](), *belongings[market])
    assert told == await status_of(unknown[rpc](), NO_ORDER, NO_PAYMENT, NO_REFUND, NO_SESSION, NO_ANOMALY)
    assert b"_NOT_FOUND" in told


async def ours(shop: Shop) -> tuple[str, str, str, str, str]:
    """One of everything that belongs to the shop: order, payment, refund, session, anomaly."""
    order = await shop.order(surplus_policy=order_pb2.SURPLUS_POLICY_HOLD)
    session, _ = await shop.open_session(order)
    payment = await shop.begun(order)
    shop.pay(payment)
    await shop.deliver()
    refund = (await shop.app.CreateRefund(a_refund(order.order_id))).refund
    held = await shop.order(surplus_policy=order_pb2.SURPLUS_POLICY_HOLD)
    shop.pay(await shop.begun(held), amount_minor=1)
    await shop.deliver()
    [anomaly] = (await shop.now(held.order_id)).open_anomalies
    return order.order_id, payment.payment_id, refund.refund_id, session.session_id, anomaly.anomaly_id


async def test_another_apps_number_is_not_found(market: Shop) -> None:
    order = await market.order()
    request = order_pb2.GetOrderRequest(merchant_order_no=order.merchant_order_no)
    unknown = order_pb2.GetOrderRequest(merchant_order_no=fresh("order"))
    assert await status_of(market.rival.GetOrder(request)) == await status_of(market.rival.GetOrder(unknown))


async def test_75_nobody_can_send_an_amount_with_a_payment() -> None:
    for message in (order_pb2.PayOrderRequest, cashier_pb2.SubmitPaymentRequest):
        assert not any("amount" in field.name for field in message.DESCRIPTOR.fields)


async def test_97_two_refunds_at_once_share_what_is_there(market: Shop) -> None:
    order = await market.paid(100)
    asks = [market.app.CreateRefund(a_refund(order.order_id, 60)) for _ in range(2)]
    answers = await asyncio.gather(*asks, return_exceptions=True)
    [refused] = [answer for answer in answers if isinstance(answer, grpc.aio.AioRpcError)]
    told = said(refused)
    assert (told.code, told.reason) == (STATE, "REFUND_EXCEEDS_BALANCE")
    assert (await market.now(order.order_id)).refunded_minor == 60
