"""What is written is read again as it was, has one spelling, and nothing else is read as it."""

from __future__ import annotations

import random
from typing import Any

import pytest
from google.protobuf.message import Message
from hypothesis import given
from hypothesis import strategies as st

from paycore.core.ids import Prefix, derive_id, is_id, make_id
from paycore.core.money import CURRENCY_EXPONENTS, format_major, parse_major
from paycore.core.refusals import Reason, Refused
from paycore.engine.keyring import Keyring
from paycore.engine.sessions import Tokens
from paycore.rpc.pages import Pages
from paycore.rpc.translate import canonical
from paycore.testing.mutate import Mutator, every_letter, read_fields, varint
from paycore.v1 import order_pb2
from paycore_bridge import BadJson, canonical_json, parse_json
from tests.core.test_walks import _walk
from tests.protos.requests import sound

MOST = 10**12
PAGES = Pages((b"k" * 32,))
TOKENS = Tokens(Keyring(bytes(range(32))))
SEEDS = st.integers(0, 2**32)
INSTANTS = st.integers(0, 2**47 * 1000)
JSON: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | st.text(st.characters(codec="utf-8")),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(st.characters(codec="utf-8")), inner, max_size=4)
    ),
    max_leaves=12,
)

# ---------------------------------------------------------------------------------------------- money


@pytest.mark.parametrize("currency", sorted(CURRENCY_EXPONENTS))
def test_amounts_of_every_currency_come_back_as_they_were(currency: str) -> None:
    digits = CURRENCY_EXPONENTS[currency]
    edges = {0, 1, 9, 10, 11, 99, 100, 101, 999, 1000, 10**digits - 1, 10**digits, 10**digits + 1, MOST - 1, MOST // 10}
    drawn = random.Random(currency)
    for minor in [*sorted(edges), *(drawn.randrange(MOST) for _ in range(200))]:
        text = format_major(minor, currency)
        assert parse_major(text, currency) == minor
        assert len(text.partition(".")[2]) == digits
        assert float(text) * 10**digits == pytest.approx(minor, rel=1e-9)


@given(st.text(st.sampled_from("0123456789.,-+eE_ \n０١n"), max_size=18), st.sampled_from(sorted(CURRENCY_EXPONENTS)))
def test_whatever_is_read_as_an_amount_is_one(text: str, currency: str) -> None:
    try:
        minor = parse_major(text, currency)
    except ValueError:
        return
    written = format_major(minor, currency)
    assert text.isascii()
    whole, _, fraction = text.partition(".")
    assert written == (f"{whole}.{fraction.ljust(CURRENCY_EXPONENTS[currency], '0')}" if "." in written else whole)


# ---------------------------------------------------------------------------------------------- canonical texts


@given(JSON)
def test_json_comes_back_as_it_was_and_has_one_text(value: Any) -> None:
    try:
        text = canonical_json(value)
    except BadJson:
        return  # deeper than every shell reads
    assert parse_json(text) == value
    assert canonical_json(parse_json(text)) == text


@given(SEEDS)
def test_json_that_was_spoilt_is_refused_or_means_what_it_says(seed: int) -> None:
    text = canonical_json({"amount": "12.30", "items": [1, 2, {"a": None}], "z": "é"})
    spoilt = Mutator(seed).spoil_text(text)
    try:
        value = parse_json(spoilt)
    except BadJson:
        return
    assert parse_json(canonical_json(value)) == value


@pytest.mark.parametrize("name", sorted(sound()))
def test_a_request_is_the_same_ask_however_its_bytes_are_written(name: str) -> None:
    """Fields in another order, and fields that we do not know, are no other content; every field that we know is."""
    request = sound()[name]
    fields = read_fields(request.SerializeToString())
    turned = b"".join(request.SerializeToString()[one.start : one.end] for one in _grouped(fields))
    again = type(request).FromString(varint(50_000 << 3) + b"\x07" + turned)
    assert canonical(again) == canonical(request)
    for field, _ in request.ListFields():
        if field.name != "request_id":
            less = type(request)()
            less.CopyFrom(request)
            less.ClearField(field.name)
            assert canonical(less) != canonical(request)


def _grouped(fields: Any) -> list[Any]:
    """The fields by falling number; those of one number stay in order, which is content."""
    return sorted(fields, key=lambda one: -one.number)


# ---------------------------------------------------------------------------------------------- tokens and ids


@given(st.lists(st.integers(0, 2**62) | st.text(st.characters(codec="utf-8"), max_size=40), max_size=4), SEEDS)
def test_a_page_token_says_where_it_was_and_nothing_else_says_anything(mark: list[Any], seed: int) -> None:
    def asked(token: str) -> Message:
        return order_pb2.ListOrdersRequest(states=[order_pb2.Order.STATE_PAID], page_token=token)

    token = PAGES.token("ap1", asked(""), mark)
    assert PAGES.mark("ap1", asked(token)) == mark
    spoilt = Mutator(seed).spoil_text(token)
    if spoilt not in (token, ""):
        with pytest.raises(Refused) as refused:
            PAGES.mark("ap1", asked(spoilt))
        assert refused.value.reason is Reason.BAD_PAGE_TOKEN


@given(INSTANTS, st.integers(0, 2**80 - 1), SEEDS)
def test_a_session_token_opens_its_session_and_no_other_text_does(at: int, chance: int, seed: int) -> None:
    session_id = make_id(Prefix.SESSION, at, chance)
    token = TOKENS.token(session_id)
    assert TOKENS.session_id(token) == session_id
    spoilt = Mutator(seed).spoil_text(token)
    assert spoilt == token or TOKENS.session_id(spoilt) is None


def test_no_letter_of_a_session_token_may_be_another() -> None:
    token = TOKENS.token(make_id(Prefix.SESSION, 1_795_000_000_000_000, 7))
    assert not any(TOKENS.session_id(spoilt) for spoilt in every_letter(token))


@given(st.sampled_from(list(Prefix)), INSTANTS, st.integers(0, 2**80 - 1), st.integers(0, 2**80 - 1))
def test_ids_are_ids_tell_their_time_and_differ(prefix: Prefix, at: int, one: int, other: int) -> None:
    made = make_id(prefix, at, one)
    assert is_id(made, prefix)
    assert made.isalnum()
    assert len(made) == 28
    assert not any(is_id(made, kind) for kind in Prefix if kind is not prefix)
    assert (made == make_id(prefix, at, other)) == (one == other)
    assert (made < make_id(prefix, at, other)) == (one < other)
    assert made < make_id(prefix, at + 1000, other)
    derived = derive_id(Prefix.REFUND, made, "surplus")
    assert is_id(derived, Prefix.REFUND)
    assert derived[2:12] == made[2:12]


@given(st.text(max_size=40), SEEDS)
def test_what_is_no_id_is_none(text: str, seed: int) -> None:
    for tried in (text, Mutator(seed).spoil_text(make_id(Prefix.ORDER, 1, seed))):
        if is_id(tried, Prefix.ORDER):
            assert tried.isascii()
            assert tried.isalnum()
            assert len(tried) == 28


# ---------------------------------------------------------------------------------------------- facts


@given(st.randoms(use_true_random=False))
def test_a_fact_told_twice_changes_nothing_whatever_was_told_before(draw: random.Random) -> None:
    """The walk tells each of its facts twice and compares; here hypothesis walks, and finds the shortest way."""
    _walk(draw)
