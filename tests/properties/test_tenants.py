"""Another app's things answer like things that do not exist, in every RPC and every field that names one (A1).

The fields are read off the protos, so that an RPC or a field that comes later is in here by itself.
"""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
import pytest_asyncio
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from paycore.core.ids import Prefix, make_id
from paycore.core.refusals import Refused
from paycore.rpc.refusals import status_of
from paycore.rpc.services import DESCRIPTORS
from tests.fuzz.corpus import CANARY, Corpus, grow
from tests.fuzz.house import NOW, RIVAL_KEY, SHOP_KEY, House, open_house
from tests.fuzz.oracle import check_refusal
from tests.protos.requests import sound
from tests.rpc.shop import a_payment, a_session, an_order

pytestmark = pytest.mark.asyncio(loop_scope="module")

NOBODYS = {
    "order_id": make_id(Prefix.ORDER, NOW, 99),
    "payment_id": make_id(Prefix.PAYMENT, NOW, 99),
    "refund_id": make_id(Prefix.REFUND, NOW, 99),
    "session_id": make_id(Prefix.SESSION, NOW, 99),
    "anomaly_id": make_id(Prefix.ANOMALY, NOW, 99),
    "account_id": make_id(Prefix.ACCOUNT, NOW, 99),
    "merchant_order_no": "order-999999",
    "merchant_refund_no": "refund-999999",
    "merchant_payer_no": "payer-999999",
}
RPCS = {rpc.name: rpc for service in DESCRIPTORS for rpc in service.methods}
NAMING = [(name, field.name) for name, rpc in RPCS.items() for field in rpc.input_type.fields if field.name in NOBODYS]
NAMES_NOBODY = {
    ("CreateOrder", "merchant_order_no"),
    ("CreateOrder", "merchant_payer_no"),
    ("CreateRefund", "merchant_refund_no"),
}
"""Here the field gives a number of the caller's own; another app's same number is another number."""
ANY_EDGE = {("DeliverNotice", "account_id")}
"""Whoever may forward notices forwards anybody's: what proves a notice is its signature. Its scope is given to edges only."""
SESSIONS = ("GetCashierSession", "SubmitPayment", "ReportClientResult", "ConfirmPayment", "WatchCashierSession")


async def test_every_field_that_ends_in_id_is_known_here() -> None:
    for name, rpc in RPCS.items():
        for field in rpc.input_type.fields:
            is_name = field.name.endswith(("_id", "_no")) and field.name != "request_id"
            assert not is_name or field.name in NOBODYS, f"{name}.{field.name} is nowhere looked at"


class Rival:
    """Another app with some things of its own, in a house full of the shop's things."""

    def __init__(self, house: House, corpus: Corpus) -> None:
        self.house = house
        self.corpus = corpus
        self.own: dict[str, str] = {}
        self.token = ""
        self.numbers = 0

    async def live(self) -> None:
        order = (await self.house.ask(an_order(request_id="rival-request-0001"), RIVAL_KEY)).order
        paid = await self.house.ask(a_payment(order.order_id, request_id="rival-request-0002"), RIVAL_KEY)
        ask = a_session(order.order_id)
        ask.request_id = "rival-request-0003"
        opened = await self.house.ask(ask, RIVAL_KEY)
        self.token = opened.session_token
        self.own = {
            "order_id": order.order_id,
            "payment_id": paid.payment.payment_id,
            "session_id": opened.session.session_id,
            "account_id": self.house.rival_account_id,
        }

    def request(self, rpc: str, field: str, name: str) -> Message:
        """A sound request of the rival's about its own things, but for one field that names something else."""
        made = sound()[RPCS[rpc].input_type.name]
        self.numbers += 1
        for known in made.DESCRIPTOR.fields:
            if known.name in ("etag", "page_token", "resume_after", "start_time", "end_time"):
                made.ClearField(known.name)
            elif known.name == "request_id":
                made.request_id = f"rival-tried-{self.numbers:06}"  # type: ignore[attr-defined]
            elif known.name in NOBODYS and known.name != field:
                self._own(made, known)
        setattr(made, field, name)
        return made

    def _own(self, made: Message, known: Any) -> None:
        if known.name in self.own:
            if getattr(made, known.name):
                setattr(made, known.name, self.own[known.name])
        elif known.containing_oneof is not None or known.name == "merchant_refund_no":
            made.ClearField(known.name)

    async def answer(self, request: Message, name: str, credentials: str) -> bytes:
        """Everything that comes back, the name that was sent in aside."""
        rpc = type(request).__name__.removesuffix("Request")
        try:
            answer = await self.house.send(rpc, request.SerializeToString(), f"Bearer {credentials}")
            said = b"OK " + (b"nothing" if answer is None else answer.SerializeToString())
        except Refused as refused:
            check_refusal(refused)
            status = status_of(refused)
            said = f"{status.code.name} {status.text} ".encode() + status.details
        return said.replace(name.encode(), b"?" * len(name))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def rival() -> AsyncIterator[Rival]:
    async with open_house() as house:
        found = Rival(house, await grow(house, random.Random(1)))
        await found.live()
        yield found


async def _compare(rival: Rival, rpc: str, field: str, credentials: str) -> None:
    before = rival.house.shape()
    for theirs in dict.fromkeys(rival.corpus.ids.get(field) or [NOBODYS[field]]):
        nobodys = NOBODYS[field]
        told = await rival.answer(rival.request(rpc, field, theirs), theirs, credentials)
        assert told == await rival.answer(rival.request(rpc, field, nobodys), nobodys, credentials), (
            rpc,
            field,
            theirs,
        )
        is_absent = b"_NOT_FOUND" in told or b"EVIDENCE_MISMATCH" in told
        assert told.startswith(b"OK ") or is_absent, f"it was refused for something else: {told!r}"
    assert rival.house.shape() == before, "something was changed"


@pytest.mark.parametrize(("rpc", "field"), sorted(set(NAMING) - NAMES_NOBODY - ANY_EDGE))
async def test_anothers_things_answer_like_none(rival: Rival, rpc: str, field: str) -> None:
    await _compare(rival, rpc, field, RIVAL_KEY)


@pytest.mark.parametrize(("rpc", "field"), [one for one in NAMING if one[0] in SESSIONS])
async def test_a_session_sees_nothing_but_its_own(rival: Rival, rpc: str, field: str) -> None:
    await _compare(rival, rpc, field, rival.token)


# ---------------------------------------------------------------------------------------------- what is never repeated

TEXTS = (CANARY, f"{CANARY}\0", f"'; SELECT {CANARY} --", f"/root/{CANARY}.py", f"{CANARY * 700}", f"\u202e{CANARY}")


def _texts(made: Message) -> Iterator[tuple[Message, Any]]:
    """Every place in a request where a text may stand."""
    for field in made.DESCRIPTOR.fields:
        held = field.message_type
        if field.type == FieldDescriptor.TYPE_STRING and not field.is_repeated:
            yield made, field
        elif held is None or held.file.package != "paycore.v1":
            continue
        elif field.is_repeated and not held.GetOptions().map_entry:
            for part in getattr(made, field.name):
                yield from _texts(part)
        elif not field.is_repeated and made.HasField(field.name):
            yield from _texts(getattr(made, field.name))


@pytest.mark.parametrize("rpc", sorted(RPCS))
async def test_no_refusal_repeats_what_was_sent(rival: Rival, rpc: str) -> None:
    house, name, tried = rival.house, RPCS[rpc].input_type.name, 0
    for place in range(len(list(_texts(sound()[name])))):
        for text in TEXTS:
            made: Any = rival.corpus.requests[rpc][0].__class__()
            made.CopyFrom(sound()[name])
            holder, field = list(_texts(made))[place]
            setattr(holder, field.name, text)
            tried += 1
            try:
                await house.send(rpc, made.SerializeToString(), f"Bearer {SHOP_KEY}")
            except Refused as refused:
                check_refusal(refused)  # which looks for the canary, SQL, paths and classes
    assert tried or not list(_texts(sound()[name]))
