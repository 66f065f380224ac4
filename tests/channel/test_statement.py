"""Bill amounts: exact, signed, finer than a minor unit, and read by one strict pattern."""

import pytest

from paycore.channel import BillAmount


@pytest.mark.parametrize(
    ("text", "digits", "scale"),
    [
        ("0", 0, 0),
        ("12", 12, 0),
        ("128.00", 12800, 2),
        ("-128.00", -12800, 2),
        ("-0.00600", -600, 5),
        ("0.60768", 60768, 5),
        ("007.10", 710, 2),
    ],
)
def test_an_amount_is_read_exactly(text: str, digits: int, scale: int) -> None:
    assert BillAmount.parse(text) == BillAmount(digits, scale)


@pytest.mark.parametrize(
    "text", ["", "-", "+1", "1.", ".5", "1,000.00", "1e3", " 1", "1\n", "１", "NaN", "0x1", "1.123456789"]
)
def test_anything_else_is_no_amount(text: str) -> None:
    with pytest.raises(ValueError, match="not an amount"):
        BillAmount.parse(text)


@pytest.mark.parametrize(
    ("text", "currency", "minor"),
    [
        ("-128.00", "CNY", -12800),
        ("12.5", "CNY", 1250),
        ("12.50000", "CNY", 1250),
        ("7", "JPY", 7),
        ("1.234", "KWD", 1234),
    ],
)
def test_it_becomes_minor_units_where_it_fits(text: str, currency: str, minor: int) -> None:
    assert BillAmount.parse(text).minor(currency) == minor


@pytest.mark.parametrize(("text", "currency"), [("0.006", "CNY"), ("-0.60768", "CNY"), ("1.5", "JPY")])
def test_it_is_never_rounded(text: str, currency: str) -> None:
    with pytest.raises(ValueError, match="finer"):
        BillAmount.parse(text).minor(currency)


@pytest.mark.parametrize("text", ["0", "12", "128.00", "-0.00600", "-12.5", "0.05"])
def test_it_is_written_as_it_was_read(text: str) -> None:
    assert str(BillAmount.parse(text)) == text
