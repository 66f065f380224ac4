"""What Apple's documents say, as findings. Nothing is compared here: product, quantity and token are the core's to compare."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from paycore.channel import (
    AboutPayment,
    ChannelRefund,
    Paid,
    PaymentFinding,
    Reference,
    StorePurchase,
    Unknown,
    exponent,
)

TOKEN = "app_account_token"
TRANSACTION = "transaction_id"
MILLI = 1000
PERCENT = 100_000
"""A hundred per cent in thousandths."""

Transaction = Mapping[str, Any]
_ID = re.compile(r"[0-9A-Za-z_-]{1,64}", re.ASCII)


def meaning(transaction: Transaction, *, is_refund_reversed: bool = False) -> PaymentFinding:
    """What a verified transaction proves of money: Paid with what Apple gave back, or Unknown where nobody bought.

    What was free (a trial, an offer) was bought for 0.
    """
    number = transaction.get("transactionId")
    if not isinstance(number, str) or _ID.fullmatch(number) is None:
        return Unknown("the transaction has no id")
    if transaction.get("inAppOwnershipType", "PURCHASED") != "PURCHASED":
        return Unknown("it is shared by the family; somebody else paid it")
    amount_minor = _minor(transaction.get("price"), transaction.get("currency"))
    if amount_minor is None:
        return Unknown("the transaction names no price")
    if amount_minor == 0 and transaction.get("revocationDate") is not None:
        return Unknown("it was free and was taken away; no money moved")
    return Paid(
        amount_minor,
        str(transaction["currency"]),
        str(transaction.get("bundleId", "")),
        channel_trade_no=number,
        paid_at=_instant(transaction.get("purchaseDate")),
        purchase=StorePurchase(str(transaction.get("productId", "")), _quantity(transaction), token_of(transaction)),
        references=(Reference(TRANSACTION, number),),
        refunds=_given_back(transaction, number, amount_minor, is_refund_reversed=is_refund_reversed),
    )


def about(transaction: Transaction, finding: PaymentFinding) -> AboutPayment:
    """A finding about the payment that this transaction belongs to: by the payment's token; a renewal by itself.

    A renewal carries the token of the purchase that began the subscription, and is not that payment.
    """
    token = token_of(transaction)
    if token and not is_renewal(transaction):
        return AboutPayment(finding, reference=Reference(TOKEN, token))
    reference = Reference(TRANSACTION, str(transaction.get("transactionId", "")))
    began = str(transaction.get("originalTransactionId", ""))
    renews = Reference(TRANSACTION, began) if is_renewal(transaction) and began else None
    return AboutPayment(finding, reference=reference, renews=renews)


def is_renewal(transaction: Transaction) -> bool:
    """Whether Apple made this purchase by itself, at the end of a period."""
    return transaction.get("transactionReason") == "RENEWAL"


def token_of(transaction: Transaction) -> str:
    """The payment's token, as we write it; empty for a purchase made outside of the app."""
    token = transaction.get("appAccountToken")
    return token.lower() if isinstance(token, str) and len(token) <= 64 else ""


def _minor(price: object, currency: object) -> int | None:
    """Thousandths of the currency's unit as minor units; None for no price, and for one that cannot be written in them."""
    if type(price) is not int or not isinstance(currency, str) or price < 0:
        return None
    try:
        scaled = price * 10 ** exponent(currency)
    except (ValueError, KeyError):
        return None
    return scaled // MILLI if scaled % MILLI == 0 else None


def _given_back(
    transaction: Transaction, number: str, amount_minor: int, *, is_refund_reversed: bool
) -> tuple[ChannelRefund, ...]:
    """Apple's refund of a transaction. It has no number of its own, so it has the transaction's."""
    if amount_minor == 0:
        return ()
    if is_refund_reversed:
        return (ChannelRefund(amount_minor, number, reversed=True),)
    if transaction.get("revocationDate") is None or transaction.get("revocationType") == "FAMILY_REVOKE":
        return ()
    share = transaction.get("revocationPercentage")
    if transaction.get("revocationType") != "REFUND_PRORATED" or type(share) is not int or not 0 < share < PERCENT:
        share = PERCENT
    part = (amount_minor * share + PERCENT // 2) // PERCENT
    return (ChannelRefund(part, number),) if part else ()


def _quantity(transaction: Transaction) -> int:
    quantity = transaction.get("quantity", 1)
    return quantity if type(quantity) is int and 0 < quantity < 2**31 else 0


def _instant(milliseconds: object) -> int | None:
    return milliseconds * 1000 if type(milliseconds) is int and 0 < milliseconds < 2**43 else None
