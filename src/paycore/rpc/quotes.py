"""Offers and quotes as they are sent: in sessions and payments, and with the refusal that says that a price has changed."""

from collections.abc import Iterable

from paycore.core.order import Given
from paycore.engine.offers import Quote
from paycore.v1 import cashier_pb2, money_pb2, payment_pb2


def applied(offers: Iterable[Given], currency: str) -> list[payment_pb2.AppliedOffer]:
    """What offers take off, one by one."""
    return [
        payment_pb2.AppliedOffer(
            offer_id=given.offer_id,
            title_zh=given.title_zh,
            title_en=given.title_en,
            discount=money_pb2.Money(amount_minor=given.amount_minor, currency_code=currency),
        )
        for given in offers
    ]


def quote_message(quote: Quote) -> cashier_pb2.Quote:
    """A price as the payer may be shown it."""
    return cashier_pb2.Quote(
        channel=quote.channel,
        method=quote.method,
        amount=money_pb2.Money(amount_minor=quote.amount_minor, currency_code=quote.currency),
        offers=applied(quote.offers, quote.currency),
        quote_token=quote.token,
    )
