"""Bad input that every RPC meets, over real gRPC: the row's number, what is sent, the exact code and reason.

The rows are those of the project's catalogue of bad inputs; 18 to 20 (signed tokens) do not exist here, 22 is below with
certificates, 33's tokens belong to the lists themselves.
"""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import logging
from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest
import structlog
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection_pb2

from paycore import logs
from paycore.core.refusals import Reason, Refused
from paycore.rpc import health
from paycore.rpc.limits import Allowance
from paycore.rpc.policy import NOTICE_BYTES
from paycore.v1 import cashier_pb2, channel_pb2, notice_pb2, order_pb2, refund_pb2
from tests.protos.requests import sound
from tests.rpc.small import (
    KEY,
    NOTICE_KEY,
    OTHER_KEY,
    READER_KEY,
    SUSPENDED_KEY,
    TOKEN,
    House,
    Said,
    bearer,
    paths,
    refusal,
    small_house,
)

OK = "OK"
CREATE = "/paycore.v1.OrderService/CreateOrder"
GET = "/paycore.v1.OrderService/GetOrder"
LIST = "/paycore.v1.OrderService/ListOrders"
WATCH = "/paycore.v1.OrderService/WatchOrder"
CASHIER = "/paycore.v1.CashierService/CreateCashierSession"
REPORT = "/paycore.v1.CashierService/ReportClientResult"
SUBMIT = "/paycore.v1.CashierService/SubmitPayment"
REFUND = "/paycore.v1.RefundService/CreateRefund"
DELIVER = "/paycore.v1.NoticeService/DeliverNotice"
HEALTH = "/grpc.health.v1.Health/Check"
REFLECTION = "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo"

UNARY = [path for path, rpc in paths() if not rpc.server_streaming]
STREAMS = [path for path, rpc in paths() if rpc.server_streaming]
KEYS = {DELIVER: NOTICE_KEY}


@pytest.fixture
async def house() -> AsyncIterator[House]:
    async with small_house() as running:
        yield running


def request_of(path: str) -> Any:
    """A sound request for this path."""
    rpc = dict(paths())[path]
    copy = type(sound()[rpc.input_type.name])()
    copy.CopyFrom(sound()[rpc.input_type.name])
    return copy


async def ask(house: House, path: str, body: bytes, metadata: Any = None) -> Said:
    """The refusal that these bytes meet, whatever kind of RPC it is."""
    metadata = bearer(KEYS.get(path, KEY)) if metadata is None else metadata
    if path in STREAMS:
        return await refusal(first(house.stream(path, body, metadata)))
    return await refusal(house.raw(path, body, metadata=metadata))


async def first(stream: Any) -> Any:
    message = await stream.read()
    assert message is not grpc.aio.EOF
    return message


def first_text(path: str) -> int:
    """The number of the first field that is a text, 0 if there is none."""
    fields = dict(paths())[path].input_type.fields
    return next((field.number for field in fields if field.type == field.TYPE_STRING and field.number < 16), 0)


def is_fixed(said: Said) -> bool:
    """Whether the text is one of ours: ASCII, short, a sentence."""
    return said.text.isascii() and 10 < len(said.text) < 160 and said.text.endswith(".") and "\\" not in said.text


# ---------------------------------------------------------------------------------------------- what is sent


@pytest.mark.parametrize(
    "path", ["/paycore.v1.OrderService/DropOrders", "/paycore.v1.Nothing/Get", "/nothing", "/x/y/z"]
)
async def test_01_an_unknown_method_is_unimplemented(house: House, path: str) -> None:
    assert (await refusal(house.raw(path, b""))).code == "UNIMPLEMENTED"


MALFORMED = {
    "02 not protobuf": b"\xff\xff\xff\xff",
    "02 cut short": b"\x0a\x7fabc",
    "02 a group that never ends": b"\x0b",
    "02 field number 0": b"\x00\x01",
}


@pytest.mark.parametrize("path", UNARY + STREAMS)
@pytest.mark.parametrize("body", MALFORMED.values(), ids=MALFORMED)
async def test_02_bytes_that_are_no_message(house: House, path: str, body: bytes) -> None:
    said = await ask(house, path, body)
    assert (said.code, said.reason) == ("INVALID_ARGUMENT", "MALFORMED_REQUEST")
    assert is_fixed(said)


@pytest.mark.parametrize("path", [path for path in UNARY + STREAMS if first_text(path)])
async def test_03_a_text_that_is_not_utf_8(house: House, path: str) -> None:
    number = first_text(path)
    said = await ask(house, path, bytes([number << 3 | 2]) + b"\x02\xc3\x28")
    assert (said.code, said.reason) == ("INVALID_ARGUMENT", "MALFORMED_REQUEST")


async def test_04_nesting_of_more_than_a_hundred(house: House) -> None:
    deep = b"\x9b\x06" * 150 + b"\x9c\x06" * 150
    said = await ask(house, GET, deep)
    assert (said.code, said.reason) == ("INVALID_ARGUMENT", "MALFORMED_REQUEST")


async def test_05_a_message_beyond_the_limit_of_its_method(house: House) -> None:
    body = order_pb2.GetOrderRequest(order_id="x" * 65_536).SerializeToString()
    said = await ask(house, GET, body)
    assert (said.code, said.reason, said.metadata) == ("RESOURCE_EXHAUSTED", "REQUEST_TOO_LARGE", {"most": "65536"})
    notice = request_of(DELIVER)
    notice.body = b"x" * 262_144
    assert await house.raw(DELIVER, notice.SerializeToString(), metadata=bearer(NOTICE_KEY)) == b""
    said = await ask(house, DELIVER, b"x" * (NOTICE_BYTES + 1))
    assert said.code == "RESOURCE_EXHAUSTED"


async def test_06_a_small_message_that_unpacks_to_a_huge_one(house: House) -> None:
    bomb = order_pb2.GetOrderRequest(order_id="x" * 20_000_000).SerializeToString()
    said = await refusal(house.raw(GET, bomb, compression=grpc.Compression.Gzip))
    assert said.code == "RESOURCE_EXHAUSTED"
    assert house.services.calls == []


async def test_07_metadata_beyond_16_kib(house: House) -> None:
    said = await refusal(house.raw(GET, b"", metadata=(*bearer(KEY), ("x-much", "y" * 20_000))))
    assert said.code == "RESOURCE_EXHAUSTED"
    some = (*bearer(KEY), ("x-some", "y" * 12_000))
    for _ in range(20):
        assert await house.raw(GET, request_of(GET).SerializeToString(), metadata=some) == b""


async def test_09_unknown_fields_are_passed_over(house: House) -> None:
    body = request_of(CREATE).SerializeToString() + b"\xfa\xff\xff\xff\x0f\x03abc"
    assert await house.raw(CREATE, body) == b""


def changed(path: str, **fields: Any) -> Any:
    request = request_of(path)
    for name, value in fields.items():
        holder, leaf = request, name
        while "__" in leaf:
            parent, leaf = leaf.split("__", 1)
            holder = getattr(holder, parent)
        if value is None:
            holder.ClearField(leaf)
        elif isinstance(value, Message):
            getattr(holder, leaf).CopyFrom(value)
        elif isinstance(value, list):
            holder.ClearField(leaf)
            getattr(holder, leaf).extend(value)
        else:
            setattr(holder, leaf, value)
    return request


INVALID: list[tuple[str, str, dict[str, Any], str, str]] = [
    ("08 unknown enum", CREATE, {"surplus_policy": 77}, "UNKNOWN_ENUM", "surplus_policy"),
    ("08 unknown enum in a list", LIST, {"states": [1, 77]}, "UNKNOWN_ENUM", "states[1]"),
    ("08 unknown enum of a stream", WATCH, {"end_policy": 77}, "UNKNOWN_ENUM", "end_policy"),
    ("10 empty", CREATE, {"subject": ""}, "FIELD_REQUIRED", "subject"),
    ("10 absent message", CREATE, {"amount": None}, "FIELD_REQUIRED", "amount"),
    ("10 unspecified", REPORT, {"outcome": 0}, "FIELD_REQUIRED", "outcome"),
    ("11 NUL", CREATE, {"subject": "a\0b"}, "ILLEGAL_CHARACTER", "subject"),
    ("11 NUL in an id", REPORT, {"payment_id": "py\0"}, "ILLEGAL_CHARACTER", "payment_id"),
    ("11 NUL in a key", CREATE, {"request_id": "0123456789abcdef\0"}, "ILLEGAL_CHARACTER", "request_id"),
    ("11 NUL in a currency", CREATE, {"amount__currency_code": "CN\0"}, "ILLEGAL_CHARACTER", "amount.currency_code"),
    ("12 control", CREATE, {"subject": "a\x1bb"}, "ILLEGAL_CHARACTER", "subject"),
    ("12 bidi override", CREATE, {"subject": "a\u202eb"}, "ILLEGAL_CHARACTER", "subject"),
    ("12 unpaired joiner", CREATE, {"subject": "a\u200d"}, "ILLEGAL_CHARACTER", "subject"),
    ("13 too many characters", CREATE, {"subject": "x" * 10_000}, "FIELD_TOO_LONG", "subject"),
    ("14 a number beyond its bounds", WATCH, {"heartbeat_seconds": 2**31 - 1}, "OUT_OF_BOUNDS", "heartbeat_seconds"),
    ("14 a number below its bounds", CASHIER, {"lifetime_seconds": -1}, "OUT_OF_BOUNDS", "lifetime_seconds"),
    (
        "15 nanoseconds",
        CREATE,
        {"expire_time": Timestamp(seconds=1_900_000_000, nanos=10**9)},
        "BAD_TIMESTAMP",
        "expire_time",
    ),
    ("15 negative nanoseconds", LIST, {"start_time": Timestamp(nanos=-1)}, "BAD_TIMESTAMP", "start_time"),
    ("15 year 9999", CREATE, {"expire_time": Timestamp(seconds=253_402_300_799)}, "BAD_TIMESTAMP", "expire_time"),
    ("15 beyond any calendar", CREATE, {"expire_time": Timestamp(seconds=2**63 - 1)}, "BAD_TIMESTAMP", "expire_time"),
    ("15 before 1970", CREATE, {"expire_time": Timestamp(seconds=-1)}, "BAD_TIMESTAMP", "expire_time"),
    ("33 page size negative", LIST, {"page_size": -1}, "BAD_PAGE_SIZE", "page_size"),
    ("33 page size huge", LIST, {"page_size": 10**9}, "BAD_PAGE_SIZE", "page_size"),
    ("33 page token of other letters", LIST, {"page_token": "ü"}, "BAD_PAGE_TOKEN", "page_token"),
    (
        "81 several addresses",
        SUBMIT,
        {"client__client_ip": "192.0.2.1, 192.0.2.2"},
        "BAD_CLIENT_IP",
        "client.client_ip",
    ),
]


@pytest.mark.parametrize(
    ("path", "fields", "reason", "field"), [row[1:] for row in INVALID], ids=[row[0] for row in INVALID]
)
async def test_08_to_15_and_33_fields_that_break_a_rule(
    house: House, path: str, fields: dict[str, Any], reason: str, field: str
) -> None:
    said = await ask(house, path, changed(path, **fields).SerializeToString())
    assert (said.code, said.reason, said.fields) == ("INVALID_ARGUMENT", reason, (field,))
    assert is_fixed(said)
    assert house.services.calls == []


@pytest.mark.parametrize(("cups", "is_taken"), [(96, True), (97, False), (128, False)])
async def test_13_a_text_is_bounded_in_bytes_too(house: House, cups: int, *, is_taken: bool) -> None:
    """128 characters, and 384 bytes: four of each cup."""
    body = changed(CREATE, subject="🍵" * cups).SerializeToString()
    if is_taken:
        assert await house.raw(CREATE, body) == b""
        return
    said = await ask(house, CREATE, body)
    assert (said.code, said.reason) == ("INVALID_ARGUMENT", "FIELD_TOO_LONG")


async def test_the_callers_bytes_are_in_no_answer(house: House) -> None:
    """Not in the text, nor in the names of fields: keys of maps are the caller's."""
    request = changed(CREATE, subject="canary-5f3a\0")
    request.metadata["canary.5f3a\u202e"] = "canary-5f3a\0"
    call = house.channel.unary_unary(CREATE)(request.SerializeToString(), metadata=bearer(KEY))
    with pytest.raises(grpc.aio.AioRpcError) as error:
        await call
    assert "canary" not in repr(error.value)
    assert not any(
        b"canary" in (value if isinstance(value, bytes) else value.encode())
        for _, value in error.value.trailing_metadata()
    )


async def test_twenty_wrong_fields_fit_into_an_answer(house: House) -> None:
    request = request_of(CREATE)
    del request.line_items[:]
    for _ in range(50):
        request.line_items.add(product_id="\0", name="\0" * 10, quantity=-1, unit_amount_minor=-1)
    said = await ask(house, CREATE, request.SerializeToString())
    assert said.code == "INVALID_ARGUMENT"
    assert len(said.fields) == 20
    assert said.details_bytes < 4096


@pytest.mark.parametrize("path", UNARY)
async def test_every_method_takes_a_sound_request(house: House, path: str) -> None:
    body = request_of(path).SerializeToString()
    assert await house.raw(path, body, metadata=bearer(KEYS.get(path, KEY))) == b""


@pytest.mark.parametrize("path", STREAMS)
async def test_every_stream_takes_a_sound_request(house: House, path: str) -> None:
    assert [message async for message in house.stream(path, request_of(path).SerializeToString())] == [b""]


# ---------------------------------------------------------------------------------------------- who asks

WHO: list[tuple[str, str, Any, str, str]] = [
    ("16 no credentials", GET, (), "UNAUTHENTICATED", "CREDENTIALS_MISSING"),
    ("17 a wrong key", GET, bearer("pk_" + "x" * 43), "UNAUTHENTICATED", "CREDENTIALS_INVALID"),
    ("17 another scheme", GET, (("authorization", "Basic eDp5"),), "UNAUTHENTICATED", "CREDENTIALS_INVALID"),
    ("21 two headers", GET, bearer(KEY) + bearer(KEY), "UNAUTHENTICATED", "CREDENTIALS_INVALID"),
    ("21 two keys in one header", GET, (("authorization", f"Bearer {KEY}, Bearer {OTHER_KEY}"),), "UNAUTHENTICATED", "CREDENTIALS_INVALID"),
    ("23 no scope", CREATE, bearer(READER_KEY), "PERMISSION_DENIED", "SCOPE_MISSING"),
    ("23 no scope for notices", DELIVER, bearer(KEY), "PERMISSION_DENIED", "SCOPE_MISSING"),
    ("23 a stream without scope", WATCH, bearer(NOTICE_KEY), "PERMISSION_DENIED", "SCOPE_MISSING"),
    ("24 suspended", GET, bearer(SUSPENDED_KEY), "PERMISSION_DENIED", "APP_SUSPENDED"),
    ("70 a guessed token", SUBMIT, bearer(TOKEN + "x"), "UNAUTHENTICATED", "SESSION_INVALID"),
    ("73 a session elsewhere", REFUND, bearer(TOKEN), "PERMISSION_DENIED", "SCOPE_MISSING"),
    ("73 a session opens no session", CASHIER, bearer(TOKEN), "PERMISSION_DENIED", "SCOPE_MISSING"),
]  # fmt: skip


@pytest.mark.parametrize(("path", "metadata", "code", "reason"), [row[1:] for row in WHO], ids=[row[0] for row in WHO])
async def test_16_to_24_who_is_not_let_in(house: House, path: str, metadata: Any, code: str, reason: str) -> None:
    said = await ask(house, path, request_of(path).SerializeToString(), metadata)
    assert (said.code, said.reason) == (code, reason)
    assert is_fixed(said)
    assert house.services.calls == []


@pytest.mark.parametrize("path", UNARY + STREAMS)
async def test_no_method_of_ours_answers_a_stranger(house: House, path: str) -> None:
    said = await ask(house, path, request_of(path).SerializeToString(), ())
    assert (said.code, said.reason) == ("UNAUTHENTICATED", "CREDENTIALS_MISSING")


async def test_strangers_learn_nothing_about_the_form_of_a_request(house: House) -> None:
    said = await ask(house, GET, b"\xff\xff", ())
    assert said.reason == "CREDENTIALS_MISSING"


async def test_a_session_is_known_to_its_handler(house: House) -> None:
    await house.raw(SUBMIT, request_of(SUBMIT).SerializeToString(), metadata=bearer(TOKEN))
    [(call, _)] = house.services.calls
    assert call.principal.is_session
    assert call.principal.order_id


async def test_25_too_many_calls_of_one_app() -> None:
    async with small_house(allowance=Allowance(app_rate=0.5, app_burst=3)) as house:
        for _ in range(3):
            await house.raw(GET, request_of(GET).SerializeToString())
        said = await ask(house, GET, request_of(GET).SerializeToString())
        assert (said.code, said.reason) == ("RESOURCE_EXHAUSTED", "RATE_LIMITED")
        assert said.retry_seconds is not None
        assert 0 < said.retry_seconds <= 2
        await house.raw(GET, request_of(GET).SerializeToString(), metadata=bearer(OTHER_KEY))


async def test_25_too_many_guesses_from_one_address() -> None:
    async with small_house(allowance=Allowance(failed_rate=0.5, failed_burst=3)) as house:
        body = request_of(GET).SerializeToString()
        await house.raw(GET, body)
        for number in range(3):
            await ask(house, GET, b"", bearer(f"pk_{number:043}"))
        said = await ask(house, GET, b"", bearer("pk_" + "9" * 43))
        assert (said.code, said.reason) == ("RESOURCE_EXHAUSTED", "RATE_LIMITED")
        assert await house.raw(GET, body) == b"", "who is known is not shut out by whoever shares the address"


async def test_66_too_many_streams_of_one_app() -> None:
    async with small_house(allowance=Allowance(streams_of_app=2)) as house:
        hold = asyncio.Event()

        async def held(_call: Any, _request: Any) -> AsyncIterator[Message]:
            yield order_pb2.WatchOrderResponse(version=1)
            await hold.wait()

        house.services.put("WatchOrder", held)
        body = request_of(WATCH).SerializeToString()
        open_ones = [house.stream(WATCH, body) for _ in range(2)]
        for stream in open_ones:
            await first(stream)
        said = await ask(house, WATCH, body)
        assert (said.code, said.reason, said.metadata) == ("RESOURCE_EXHAUSTED", "TOO_MANY_STREAMS", {"limit": "app"})
        open_ones[0].cancel()
        await until(lambda: house.pipeline.limits.streams == 1)
        assert await first(house.stream(WATCH, body))
        hold.set()


async def until(holds: Any) -> None:
    for _ in range(500):
        if holds():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("did not come true")


# ---------------------------------------------------------------------------------------------- time and trouble


async def test_26_without_a_deadline_the_server_has_one() -> None:
    async with small_house(call_seconds=0.2) as house:

        async def slow(_call: Any, _request: Any) -> Message:
            await asyncio.sleep(60)
            raise AssertionError

        house.services.put("GetOrder", slow)
        said = await ask(house, GET, request_of(GET).SerializeToString())
        assert (said.code, said.reason) == ("DEADLINE_EXCEEDED", "TOOK_TOO_LONG")


async def test_26_the_handler_knows_the_callers_deadline(house: House) -> None:
    await house.raw(GET, request_of(GET).SerializeToString(), timeout=5)
    await house.raw(GET, request_of(GET).SerializeToString())
    with_deadline, without = (call for call, _ in house.services.calls)
    assert 3_000_000 < with_deadline.deadline_at - house.clock.at <= 5_100_000
    assert without.deadline_at - house.clock.at == 30_000_000


async def test_27_28_a_call_that_is_given_up_is_stopped_at_its_next_wait(house: House) -> None:
    stopped = asyncio.Event()
    begun = asyncio.Event()

    async def slow(_call: Any, _request: Any) -> Message:
        begun.set()
        try:
            await asyncio.sleep(60)
        finally:
            stopped.set()
        raise AssertionError

    house.services.put("GetOrder", slow)
    said = await refusal(house.raw(GET, request_of(GET).SerializeToString(), timeout=0.001))
    assert said.code == "DEADLINE_EXCEEDED"
    begun.clear()
    stopped.clear()
    call = house.channel.unary_unary(GET)(request_of(GET).SerializeToString(), metadata=bearer(KEY))
    await asyncio.wait_for(begun.wait(), 5)
    call.cancel()
    await asyncio.wait_for(stopped.wait(), 5)
    await until(lambda: house.pipeline.limits.calls == 0)


async def test_29_a_server_that_leaves(house: House) -> None:
    begun, go = asyncio.Event(), asyncio.Event()

    async def slow(_call: Any, _request: Any) -> Message:
        begun.set()
        await go.wait()
        return order_pb2.GetOrderResponse()

    async def drains(call: Any, _request: Any) -> AsyncIterator[Message]:
        yield order_pb2.WatchOrderResponse(version=1)
        await call.drain.wait()
        yield order_pb2.WatchOrderResponse(version=2)

    house.services.put("GetOrder", slow)
    house.services.put("WatchOrder", drains)
    at_work = asyncio.create_task(house.raw(GET, request_of(GET).SerializeToString()))
    stream = house.stream(WATCH, request_of(WATCH).SerializeToString())
    await first(stream)
    await begun.wait()
    leaving = asyncio.create_task(house.server.drain(5))
    await asyncio.wait_for(first(stream), 5)
    assert await stream.read() is grpc.aio.EOF
    said = await ask(house, LIST, request_of(LIST).SerializeToString())
    assert (said.code, said.reason) == ("UNAVAILABLE", "SHUTTING_DOWN")
    assert said.retry_seconds is not None
    health = await house.raw(HEALTH, b"", metadata=())
    assert health_pb2.HealthCheckResponse.FromString(health).status == health_pb2.HealthCheckResponse.NOT_SERVING
    go.set()
    assert await at_work == b""
    await asyncio.wait_for(leaving, 5)
    assert (await ask(house, LIST, b"")).code == "UNAVAILABLE"


@pytest.mark.parametrize(
    ("reason", "code"), [(Reason.STORE_UNAVAILABLE, "UNAVAILABLE"), (Reason.CONFLICT_RETRY, "ABORTED")]
)
async def test_30_31_what_may_be_asked_again_says_when(house: House, reason: Reason, code: str) -> None:
    async def refuses(_call: Any, _request: Any) -> Message:
        raise Refused(reason, "Ask again.", retry_after_seconds=0.75)

    house.services.put("CreateOrder", refuses)
    said = await ask(house, CREATE, request_of(CREATE).SerializeToString())
    assert (said.code, said.reason, said.retry_seconds) == (code, reason.value, 0.75)


async def test_32_reflection_is_not_there_unless_asked_for(house: House) -> None:
    asked = reflection_pb2.ServerReflectionRequest(list_services="").SerializeToString()

    async def services(of: House) -> set[str]:
        call = of.channel.stream_stream(REFLECTION)()
        await call.write(asked)
        answer = await call.read()
        found = reflection_pb2.ServerReflectionResponse.FromString(answer)
        return {service.name for service in found.list_services_response.service}

    assert (await refusal(services(house))).code == "UNIMPLEMENTED"
    assert (await refusal(house.raw("/grpc.channelz.v1.Channelz/GetServers", b""))).code == "UNIMPLEMENTED"
    async with small_house(has_reflection=True) as other:
        assert {"paycore.v1.OrderService", "grpc.health.v1.Health"} <= await services(other)


@pytest.mark.parametrize("kind", ["unary", "stream before", "stream between"])
async def test_a_bug_of_ours_is_a_number_and_nothing_else(house: House, kind: str) -> None:
    written = io.StringIO()
    logs.configure(stream=written)
    try:

        async def breaks(_call: Any, _request: Any) -> Message:
            raise ValueError("canary SELECT * FROM orders /srv/paycore")

        async def breaks_between(_call: Any, _request: Any) -> AsyncIterator[Message]:
            if kind == "stream between":
                yield order_pb2.WatchOrderResponse(version=1)
            raise ValueError("canary SELECT * FROM orders /srv/paycore")

        house.services.put("GetOrder", breaks)
        house.services.put("WatchOrder", breaks_between)
        if kind == "unary":
            said = await ask(house, GET, request_of(GET).SerializeToString())
        else:
            stream = house.stream(WATCH, request_of(WATCH).SerializeToString())
            if kind == "stream between":
                await first(stream)
            said = await refusal(first(stream))
    finally:
        structlog.reset_defaults()
        logging.getLogger().handlers.clear()
    assert (said.code, said.reason) == ("INTERNAL", "INTERNAL")
    assert "canary" not in repr(said)
    assert is_fixed(said)
    [line] = [json.loads(text) for text in written.getvalue().splitlines()]
    assert line["error_id"] == said.metadata["error_id"]
    assert (line["level"], line["exception"]["type"]) == ("error", "ValueError")


async def test_34_metadata_that_is_no_ascii_never_reaches_a_handler(house: House) -> None:
    import h2.connection
    import h2.events

    host, port = house.target.split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    connection = h2.connection.H2Connection()
    connection.initiate_connection()
    connection.send_headers(
        1,
        [
            (b":method", b"POST"),
            (b":scheme", b"http"),
            (b":path", GET.encode()),
            (b":authority", b"x"),
            (b"te", b"trailers"),
            (b"content-type", b"application/grpc"),
            (b"authorization", b"Bearer pk_\xff\xfe\x80"),
        ],
    )
    connection.send_data(1, b"\x00\x00\x00\x00\x00", end_stream=True)
    writer.write(connection.data_to_send())
    answered: dict[str, str] = {}
    async with asyncio.timeout(10):
        while "grpc-status" not in answered and "reset" not in answered:
            data = await reader.read(65_536)
            assert data
            for event in connection.receive_data(data):
                if isinstance(event, h2.events.ResponseReceived | h2.events.TrailersReceived):
                    answered |= {name.decode(): value.decode("latin-1") for name, value in event.headers}
                elif isinstance(event, h2.events.StreamReset):
                    answered["reset"] = str(event.error_code)
            writer.write(connection.data_to_send())
    writer.close()
    assert answered["grpc-status"] == "16"
    assert house.services.calls == []


# ---------------------------------------------------------------------------------------------- the standard services


@pytest.mark.parametrize("path", [HEALTH, "/grpc.health.v1.Health/Watch", "/grpc.health.v1.Health/List"])
async def test_health_is_guarded_like_ours(house: House, path: str) -> None:
    if path.endswith("Watch"):
        said = await refusal(first(house.channel.unary_stream(path)(b"\xff\xff")))
    else:
        said = await refusal(house.raw(path, b"\xff\xff", metadata=()))
    assert (said.code, said.reason) == ("INVALID_ARGUMENT", "MALFORMED_REQUEST")


async def test_reflection_is_guarded_like_ours() -> None:
    async with small_house(has_reflection=True) as house:
        call = house.channel.stream_stream(REFLECTION)()
        await call.write(b"\xff\xff")
        said = await refusal(call.read())
        assert (said.code, said.reason) == ("INVALID_ARGUMENT", "MALFORMED_REQUEST")


async def test_health_speaks_for_the_process_and_for_each_service(house: House) -> None:
    async def check(name: str) -> str:
        asked = health_pb2.HealthCheckRequest(service=name).SerializeToString()
        answer = await house.raw(HEALTH, asked, metadata=())
        return str(
            health_pb2.HealthCheckResponse.ServingStatus.Name(health_pb2.HealthCheckResponse.FromString(answer).status)
        )

    assert await check("") == "SERVING"
    assert await check("paycore.v1.OrderService") == "SERVING"
    said = await refusal(check("nobody"))
    assert said.code == "NOT_FOUND"
    everything = health_pb2.HealthListResponse.FromString(
        await house.raw("/grpc.health.v1.Health/List", b"", metadata=())
    )
    assert len(everything.statuses) == 6
    watch = house.channel.unary_stream("/grpc.health.v1.Health/Watch")(b"")
    await first(watch)
    await house.server.health.say(is_serving=False)
    assert (
        health_pb2.HealthCheckResponse.FromString(await first(watch)).status
        == health_pb2.HealthCheckResponse.NOT_SERVING
    )
    watch.cancel()
    assert await check("paycore.v1.RefundService") == "NOT_SERVING"


async def test_a_crowd_that_watches_our_health_keeps_no_probe_out() -> None:
    guard = health.Health(["a"], most_watching=2)
    await guard.say(is_serving=True)
    server = grpc.aio.server(handlers=[guard.handler()])
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        watch: Any = channel.unary_stream("/grpc.health.v1.Health/Watch")
        check: Any = channel.unary_unary(HEALTH)
        crowd = [watch(b"") for _ in range(2)]
        for one in crowd:
            await first(one)
        assert (await refusal(first(watch(b"")))).reason == "TOO_MANY_STREAMS"
        for _ in range(10):
            assert await check(b"")
        crowd[0].cancel()
        for _ in range(100):
            with contextlib.suppress(grpc.aio.AioRpcError):
                await first(watch(b""))
                break
            await asyncio.sleep(0.01)
        else:
            raise AssertionError("there is no room again")
    await server.stop(0)


def test_the_catalogue_covers_every_service_of_ours() -> None:
    modules = {order_pb2, cashier_pb2, refund_pb2, channel_pb2, notice_pb2}
    assert len({path.split("/")[1] for path in UNARY + STREAMS}) == len(modules)
