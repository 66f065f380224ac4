"""What plugin authors are given to spoil their notices with spoils them, all over, and the same way each time."""

from __future__ import annotations

import random

import pytest

from paycore.channel import Forged, RawNotice
from paycore.testing.mutate import Mutator, every_byte, every_letter, read_fields, spoilt_notices, varint
from tests.fuzz.corpus import grow
from tests.fuzz.genuine import SIGNED
from tests.fuzz.house import NOW, House, open_house
from tests.fuzz.playing import Broken, Round, play
from tests.protos.requests import sound


def test_every_byte_is_changed_once() -> None:
    spoilt = list(every_byte(b"\x00\xffab"))
    assert [[place for place in range(4) if one[place] != b"\x00\xffab"[place]] for one in spoilt] == [
        [0],
        [1],
        [2],
        [3],
    ]


@pytest.mark.parametrize("text", ["1795000000", "0a1f", "QUJDRA==", "SANDBOX", "é-"])
def test_every_letter_is_changed_once_into_one_of_its_kind(text: str) -> None:
    spoilt = list(every_letter(text))
    assert len(set(spoilt)) == len(text)
    for place, one in enumerate(spoilt):
        assert [at for at in range(len(text)) if one[at] != text[at]] == [place]
        assert not text[place].isdigit() or one[place].isdigit()
        assert text[place] not in "abcdef" or one[place] in "abcdef"


def test_the_same_seed_spoils_in_the_same_way() -> None:
    raw = sound()["CreateOrderRequest"].SerializeToString()
    first, again, another = (
        [one.spoil_message(raw, [raw[::-1]]) for _ in range(50)] for one in map(Mutator, (1, 1, 2))
    )
    assert first == again != another


@pytest.mark.parametrize("name", sorted(sound()))
def test_fields_are_read_as_they_stand(name: str) -> None:
    raw = sound()[name].SerializeToString()
    assert b"".join(raw[one.start : one.end] for one in read_fields(raw)) == raw
    assert {one.number for one in read_fields(raw)} == {field.number for field, _ in sound()[name].ListFields()}
    assert read_fields(raw + b"\x80") == []


@pytest.mark.parametrize("value", [0, 1, 127, 128, 300, 2**63, 2**64 - 1])
def test_numbers_are_written_as_protobuf_reads_them(value: int) -> None:
    [field] = read_fields(b"\x08" + varint(value))
    assert field.value == value


async def _genuine(house: House) -> RawNotice:
    corpus = await grow(house, random.Random(1))
    request = corpus.notices[0].request
    return RawNotice("POST", "/v1/notices/x", dict(request.headers), request.body, "")


async def test_no_spoilt_notice_of_the_sandbox_is_believed() -> None:
    async with open_house() as house:
        genuine = await _genuine(house)
        account = await house.engine.accounts.open(house.account_id)
        assert account.channel.read_notice(genuine, NOW).findings
        spoilt = list(spoilt_notices(genuine, SIGNED))
        assert len(spoilt) > len(genuine.body) + 150
        for _, notice in spoilt:
            with pytest.raises(Forged):
                account.channel.read_notice(notice, NOW)


async def test_a_verifier_that_forgets_a_header_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """A signature that leaves out the timestamp is no use against replays: some mutation of it passes."""
    from paycore_sandbox import signing

    monkeypatch.setattr(signing, "is_fresh", lambda _timestamp, _now: True)
    monkeypatch.setattr(signing, "signed_bytes", lambda *words, body: "".join(words[:2]).encode() + body)
    async with open_house() as house:
        genuine = await _genuine(house)
        account = await house.engine.accounts.open(house.account_id)
        passed = set()
        for name, notice in spoilt_notices(genuine, SIGNED):
            try:
                account.channel.read_notice(notice, NOW)
            except Forged:
                continue
            passed.add(name.split()[0])
    assert passed == {"sandbox-timestamp", "sandbox-nonce"}


async def test_a_round_that_breaks_something_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """A service that repeats what it was sent is found out within a round."""
    from paycore.core.refusals import Reason, Refused

    async def talkative(_self: object, _call: object, request: object) -> object:
        raise Refused(Reason.ORDER_NOT_FOUND, f"There is no {request}.")

    monkeypatch.setattr("paycore.rpc.orders.OrderService.get_order", talkative)
    with pytest.raises(Broken, match="says too much"):
        await play(Round("calls", 1, 300))
