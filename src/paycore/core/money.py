"""Amounts: whole minor units and the ISO 4217 currency that gives them meaning."""

import re
from dataclasses import dataclass

MAX_AMOUNT_MINOR = 10**12
"""The largest amount of one order, in minor units. Far below 2**63, so sums never overflow a bigint."""

_TWO_DIGITS = """AED AFN ALL AMD AOA ARS AUD AWG AZN BAM BBD BDT BGN BMD BND BOB BRL BSD BTN BWP BYN BZD CAD CDF CHF CNY COP
CRC CUP CVE CZK DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP GMD GTQ GYD HKD HNL HTG HUF IDR ILS INR IRR JMD KES
KGS KHR KPW KYD KZT LAK LBP LKR LRD LSL MAD MDL MGA MKD MMK MNT MOP MRU MUR MVR MWK MXN MYR MZN NAD NGN NIO NOK NPR NZD
PAB PEN PGK PHP PKR PLN QAR RON RSD RUB SAR SBD SCR SDG SEK SGD SHP SLE SOS SRD SSP STN SVC SYP SZL THB TJS TMT TOP TRY
TTD TWD TZS UAH USD UYU UZS VED VES WST XCD YER ZAR ZMW ZWG""".split()
_NO_DIGITS = "BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF".split()
_THREE_DIGITS = "BHD IQD JOD KWD LYD OMR TND".split()

CURRENCY_EXPONENTS: dict[str, int] = {
    **dict.fromkeys(_TWO_DIGITS, 2),
    **dict.fromkeys(_NO_DIGITS, 0),
    **dict.fromkeys(_THREE_DIGITS, 3),
}
"""Digits after the decimal point of each currency in use, from ISO 4217. Funds and metals (XAU, XXX, ...) are left out."""

_MAJOR = re.compile(r"(0|[1-9][0-9]{0,11})(?:\.([0-9]{1,3}))?", re.ASCII)


@dataclass(frozen=True, slots=True)
class Money:
    """An amount in minor units with its currency."""

    amount_minor: int
    currency: str

    def __str__(self) -> str:
        return f"{self.currency} {format_major(self.amount_minor, self.currency)}"


def exponent(currency: str) -> int:
    """Digits after the point in this currency. Raises ValueError for a code that is not a currency."""
    try:
        return CURRENCY_EXPONENTS[currency]
    except KeyError:
        raise ValueError(f"not a currency: {currency!r}") from None


def parse_major(text: str, currency: str) -> int:
    """Minor units of a decimal string as channels write it ("12.30"), exactly.

    Only plain ASCII decimals with at most the currency's digits are read: no sign, exponent, spaces, separators or
    rounding. Raises ValueError for everything else.
    """
    digits = exponent(currency)
    match = _MAJOR.fullmatch(text)
    if match is None:
        raise ValueError("not an amount")
    whole, fraction = match.group(1), match.group(2) or ""
    if len(fraction) > digits:
        raise ValueError("more digits than the currency has")
    return int(whole + fraction.ljust(digits, "0"))


def format_major(amount_minor: int, currency: str) -> str:
    """The amount as a plain decimal string with exactly the currency's digits ("12.30", "500" for JPY)."""
    digits = exponent(currency)
    sign, units = ("-", -amount_minor) if amount_minor < 0 else ("", amount_minor)
    if digits == 0:
        return f"{sign}{units}"
    whole, fraction = divmod(units, 10**digits)
    return f"{sign}{whole}.{fraction:0{digits}d}"
