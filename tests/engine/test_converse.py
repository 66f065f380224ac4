"""Conversations: whatever the channel or its plugin does, something is concluded, in time, and never a success."""

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from paycore.channel import (
    ChannelVerb,
    Conversation,
    Declined,
    Failure,
    Forged,
    Paid,
    Ready,
    Reference,
    Refunded,
    Reply,
    Request,
    Silence,
    Unknown,
    Waiting,
)
from paycore.core.findings import ChannelRefund, NotSent
from paycore.engine import converse
from paycore.engine.converse import MAX_REQUESTS, Room, Talk
from paycore.engine.host import CRASHES, Host
from paycore.engine.soundness import check_payment_finding, check_refund_finding
from paycore.testing.clock import FakeClock
from paycore.testing.wires import ScriptedCarrier
from tests.engine.channels import GATE, PLAN, kind_of, raises, says

SECOND = 1_000_000
OK = Reply(200, {}, b"ok")


class Table:
    """A room with a scripted wire, and a way to hold one conversation in it."""

    def __init__(self, *lines: Reply | Silence) -> None:
        self.clock = FakeClock()
        self.carrier = ScriptedCarrier(lines)
        self.host = Host([kind_of()])
        self.room = Room(self.host, self.carrier, self.clock)

    def talk(
        self, script: Callable[[Any], Any], verb: ChannelVerb = ChannelVerb.QUERY, check: Any = check_payment_finding
    ) -> Talk[Any]:
        return Talk(self.room, "scripted", verb, lambda: script(None), check)

    async def hold(self, script: Callable[[Any], Any], seconds: float = 8, **how: Any) -> Any:
        return await self.talk(script, **how).answer(self.clock.now() + round(seconds * SECOND))


async def test_a_conversation_is_carried_to_what_it_concludes() -> None:
    def script(ask: Any) -> Conversation[Any]:
        first = yield Request("POST", f"{GATE}/one")
        second = yield Request("POST", f"{GATE}/two", body=first.body)
        return Waiting(second.body.decode())

    table = Table(Reply(200, {}, b"a"), Reply(200, {}, b"b"))
    assert await table.hold(script) == Waiting("b")
    assert [request.url for request in table.carrier.carried] == [f"{GATE}/one", f"{GATE}/two"]
    assert table.carrier.carried[1].body == b"a"


async def test_the_question_is_asked_at_the_clock_before_the_first_request() -> None:
    table = Table(OK)
    talk = table.talk(says(Waiting()))
    await talk.open()
    table.clock.advance(3)
    asked_at = table.clock.now()
    await talk.answer(asked_at + 8 * SECOND)
    table.clock.advance(3)
    assert talk.asked_at == asked_at


async def test_a_verb_that_asks_nobody_is_known_before_anything_is_carried() -> None:
    table = Table()
    silent = table.talk(says(Ready(PLAN), asks=0))
    await silent.open()
    assert silent.is_silent
    assert silent.conclusion == Ready(PLAN)
    loud = table.talk(says(Ready(PLAN), asks=1))
    await loud.open()
    assert not loud.is_silent
    assert table.carrier.carried == []


# ---------------------------------------------------------------------------------------------- silence


async def test_silence_that_is_not_caught_is_unknown() -> None:
    assert await Table(Silence("lost")).hold(says(Waiting())) == Unknown("lost")


async def test_where_not_one_byte_left_we_know_that_much() -> None:
    assert await Table(Silence("refused", was_sent=False)).hold(says(Waiting())) == NotSent("refused")


async def test_what_was_sent_before_is_not_forgotten() -> None:
    table = Table(OK, Silence("refused", was_sent=False))
    assert await table.hold(says(Waiting(), asks=2)) == Unknown("refused")


async def test_a_verb_may_catch_silence_and_ask_again() -> None:
    def stubborn(ask: Any) -> Conversation[Any]:
        try:
            yield Request("POST", f"{GATE}/first")
        except Silence:
            yield Request("POST", f"{GATE}/second")
        return Waiting()

    assert await Table(Silence("lost"), OK).hold(stubborn) == Waiting()


async def test_a_verb_that_says_unknown_of_what_never_left_is_corrected() -> None:
    def careful(ask: Any) -> Conversation[Any]:
        try:
            yield Request("POST", f"{GATE}/first")
        except Silence:
            return Unknown("who knows")
        return Waiting()

    assert await Table(Silence("refused", was_sent=False)).hold(careful) == NotSent("who knows")
    assert await Table(Silence("lost")).hold(careful) == Unknown("who knows")


async def test_a_plugin_cannot_say_that_nothing_was_sent() -> None:
    assert isinstance(await Table(OK).hold(says(NotSent())), Unknown)


async def test_a_conversation_outlives_no_lease() -> None:
    table = Table(OK)
    talk = table.talk(says(Waiting()))
    until = table.clock.now() + SECOND
    table.clock.advance(2)
    assert await talk.answer(until) == NotSent("no time is left")
    assert table.carrier.carried == []


# ---------------------------------------------------------------------------------------------- a stranger's code


def no_conversation(ask: Any) -> Any:
    return Waiting()


def yields_rubbish(ask: Any) -> Any:
    yield "POST https://channel.example/"
    return Waiting()


def never_ends(ask: Any) -> Any:
    while True:
        try:
            yield Request("POST", f"{GATE}/again")
        except Silence:
            continue


PAID = Paid(100, "CNY", "M1")


BAD: list[Callable[[Any], Any]] = [
    no_conversation,
    yields_rubbish,
    never_ends,
    raises(KeyError("canary secret")),
    raises(KeyError("canary secret"), asks=1),
    raises(RecursionError()),
    raises(TimeoutError()),
    raises(StopAsyncIteration()),
    says(None),
    says("PAID"),
    says(Paid),
    says({"finding": "Paid"}),
    says(Refunded()),
    says(Paid("100", "CNY", "M1")),  # type: ignore[arg-type]
    says(Paid(100.0, "CNY", "M1")),  # type: ignore[arg-type]
    says(Paid(True, "CNY", "M1")),
    says(Paid(0, "CNY", "M1")),
    says(Paid(-100, "CNY", "M1")),
    says(Paid(2**60, "CNY", "M1")),
    says(Paid(100, "RMB", "M1")),
    says(Paid(100, "CNY", None)),  # type: ignore[arg-type]
    says(Paid(100, "CNY", "M\x001")),
    says(Paid(100, "CNY", "M\ud800")),
    says(Paid(100, "CNY", "M" * 5000)),
    says(Paid(100, "CNY", "M1", paid_at="now")),  # type: ignore[arg-type]
    says(Paid(100, "CNY", "M1", paid_at=2**63)),
    says(replace(PAID, references=["r"])),  # type: ignore[arg-type]
    says(replace(PAID, references=("r",))),  # type: ignore[arg-type]
    says(replace(PAID, references=(Reference("k", 7),))),  # type: ignore[arg-type]
    says(replace(PAID, references=tuple(Reference("k", str(n)) for n in range(101)))),
    says(replace(PAID, refunds=(ChannelRefund(0, "r"),))),
    says(replace(PAID, refunds=(Reference("k", "v"),))),  # type: ignore[arg-type]
    says(replace(PAID, authenticated="yes")),  # type: ignore[arg-type]
    says(Declined("no money")),  # type: ignore[arg-type]
    says(Declined(Failure("no_money", message_en=None))),  # type: ignore[arg-type]
    says(Ready("")),
    says(Ready("{}")),
    says(Ready('{"v":1,"steps":[]}')),
    says(Ready(PLAN.replace("qr", "launder"))),
    says(Ready("[" * 100_000)),
    says(Ready(PLAN, expires_at=1.5)),  # type: ignore[arg-type]
]


@pytest.mark.parametrize("script", BAD, ids=range(len(BAD)))
async def test_bad_code_concludes_nothing_and_is_held_against_the_plugin(script: Callable[[Any], Any]) -> None:
    table = Table(*[OK] * 30)
    finding = await table.hold(script)
    assert isinstance(finding, Unknown)
    assert not finding.authenticated
    assert finding.note.startswith("plugin error: ")
    assert "canary" not in finding.note
    assert table.host.is_shaky("scripted")
    assert len(table.carrier.carried) <= MAX_REQUESTS


async def test_code_that_hangs_stops_only_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(converse, "STEP_SECONDS", 0.1)

    def hangs(ask: Any) -> Conversation[Any]:
        time.sleep(0.6)
        yield Request("POST", GATE)
        return Waiting()

    table = Table(*[OK] * 10)
    began = time.monotonic()
    assert await table.hold(hangs) == Unknown("plugin error: it does not come back")
    assert time.monotonic() - began < 0.5, "the loop went on"
    assert await table.hold(says(Waiting())) == Waiting(), "another thread does the next piece of work"


async def test_a_plugin_that_crashes_again_and_again_is_quarantined_and_one_good_answer_ends_it() -> None:
    table = Table(*[OK] * 20)
    for _ in range(CRASHES):
        await table.hold(raises(KeyError()))
    assert table.host.is_quarantined("scripted", table.clock.now())
    await table.hold(says(Waiting()))
    assert not table.host.is_quarantined("scripted", table.clock.now())


async def test_silence_is_not_held_against_the_plugin() -> None:
    table = Table(*[Silence("lost")] * CRASHES)
    for _ in range(CRASHES):
        await table.hold(says(Waiting()))
    assert not table.host.is_shaky("scripted")


async def test_evidence_that_strangers_hand_in_cannot_put_a_channel_into_quarantine() -> None:
    table = Table()
    for _ in range(CRASHES):
        await table.hold(raises(KeyError()), verb=ChannelVerb.CONFIRM)
    assert not table.host.is_quarantined("scripted", table.clock.now())


async def test_an_answer_that_does_not_verify_is_forged_and_not_a_crash() -> None:
    table = Table(OK)
    with pytest.raises(Forged):
        await table.hold(raises(Forged("not theirs"), asks=1))
    assert not table.host.is_shaky("scripted")


async def test_a_good_finding_comes_through_as_it_is() -> None:
    whole = Paid(
        100,
        "CNY",
        "M1",
        channel_trade_no="T1",
        paid_at=1,
        references=(Reference("transaction", "x"),),
        refunds=(ChannelRefund(5, "R1", "rf1"),),
    )
    assert await Table(OK).hold(says(whole)) == whole
    assert await Table(OK).hold(says(Ready(PLAN, 7)), verb=ChannelVerb.PREPARE) == Ready(PLAN, 7)
    refunded = Refunded(100, "R1", 5)
    assert await Table(OK).hold(says(refunded), verb=ChannelVerb.REFUND, check=check_refund_finding) == refunded
