"""Amounts are exact, in every currency."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from paycore.core.ids import Prefix, derive_id, is_id, make_id
from paycore.core.money import CURRENCY_EXPONENTS, Money, exponent, format_major, parse_major

READ = [
    ("12.30", "CNY", 1230),
    ("12.3", "CNY", 1230),
    ("0", "CNY", 0),
    ("500", "JPY", 500),
    ("1.234", "KWD", 1234),
    ("999999999999", "CNY", 99999999999900),
]
REFUSED = [
    "",
    "1e2",
    "100.001",
    "NaN",
    "1_000",
    " 12 ",
    "+5",
    "-5",
    "12.",
    ".5",
    "007",
    "12,00",
    "１２",
    "1000000000000",
    "0x10",
]


@pytest.mark.parametrize(("text", "currency", "minor"), READ)
def test_amounts_are_read_exactly(text: str, currency: str, minor: int) -> None:
    assert parse_major(text, currency) == minor


@pytest.mark.parametrize("text", REFUSED)
def test_other_spellings_are_refused(text: str) -> None:
    with pytest.raises(ValueError):
        parse_major(text, "CNY")


@pytest.mark.parametrize(("text", "currency"), [("1.5", "JPY"), ("1.2345", "KWD")])
def test_no_currency_gets_more_digits_than_it_has(text: str, currency: str) -> None:
    with pytest.raises(ValueError):
        parse_major(text, currency)


@given(st.integers(0, 10**12 - 1), st.sampled_from(sorted(CURRENCY_EXPONENTS)))
def test_writing_and_reading_agree(minor: int, currency: str) -> None:
    assert parse_major(format_major(minor, currency), currency) == minor


@pytest.mark.parametrize("code", ["cny", "RMB", "", "XXX", "ＣＮＹ", "XAU"])
def test_what_is_not_a_currency(code: str) -> None:
    with pytest.raises(ValueError):
        exponent(code)


def test_money_reads_well() -> None:
    assert str(Money(-1230, "CNY")) == "CNY -12.30"


def test_ids_carry_their_time_and_derive_the_same_id_again() -> None:
    early, late = make_id(Prefix.ORDER, 1_000_000, 5), make_id(Prefix.ORDER, 2_000_000, 3)
    assert early < late
    assert len(early) == 28
    assert is_id(early, Prefix.ORDER)
    assert not is_id(early, Prefix.PAYMENT)
    refund = derive_id(Prefix.REFUND, early, "surplus")
    assert refund == derive_id(Prefix.REFUND, early, "surplus") != derive_id(Prefix.REFUND, early, "reversed")
    assert is_id(refund, Prefix.REFUND)
    assert refund[2:12] == early[2:12]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "or",
        "or" + "0" * 25,
        "or" + "0" * 27,
        "or" + "l" * 26,
        "xx" + "0" * 26,
        "or" + "8" * 26,
        "or" + "0" * 25 + "\n",
    ],
)
def test_what_is_not_an_id(text: str) -> None:
    assert not is_id(text, Prefix.ORDER)
