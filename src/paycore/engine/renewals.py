"""Orders that no app asked for: the store sold by itself, and the money is an order of its own, of origin CHANNEL.

The next period of a subscription that one of our payments began; and a purchase that a person claimed for no other order.
"""

from dataclasses import dataclass, replace

from paycore.channel import AboutPayment, Paid
from paycore.core.facts import OrderAsked, PaymentAsked
from paycore.core.findings import Ready
from paycore.core.ids import Prefix, derive_id
from paycore.core.order import Details, Order, Origin, Payment, SurplusPolicy
from paycore.core.terms import MINUTE, Terms
from paycore.engine.desk import Desk
from paycore_bridge import Nothing, Plan, Step

TIME_TO_PAY = 60 * MINUTE
"""What such an order has for its payment to be told; it was paid before it was begun."""


@dataclass(frozen=True, slots=True)
class Sold:
    """What such an order takes from where it comes from. Its ids follow from `source_id` and the purpose."""

    source_id: str
    purpose: str
    app_id: str
    details: Details
    surplus_policy: SurplusPolicy
    channel: str
    method: str
    account_id: str
    environment: str
    merchant: str
    terms: Terms

    @property
    def order_id(self) -> str:
        return derive_id(Prefix.ORDER, self.source_id, self.purpose)

    @property
    def payment_id(self) -> str:
        return derive_id(Prefix.PAYMENT, self.source_id, self.purpose)


async def begin(desk: Desk, order: Order, payment: Payment, about: AboutPayment) -> tuple[Order, Payment] | None:
    """The order of a renewal, with its payment, still to be told that it is paid; None for no purchase."""
    paid, named = about.finding, about.reference
    if not isinstance(paid, Paid) or named is None:
        return None
    sold = Sold(
        source_id=payment.payment_id,
        purpose=f"renewal|{named.kind}|{named.value}",
        app_id=order.app_id,
        details=replace(order.details, items=()),
        surplus_policy=order.surplus_policy,
        channel=payment.channel,
        method=payment.method,
        account_id=payment.account_id,
        environment=payment.environment,
        merchant=payment.merchant,
        terms=payment.terms,
    )
    return await begin_sold(desk, sold, paid)


async def begin_sold(desk: Desk, sold: Sold, paid: Paid) -> tuple[Order, Payment] | None:
    """The order of what was sold, with its payment, still to be told that it is paid; None where there is no debt.

    What was sold for nothing is none: an order of its own would owe nothing.
    Beginning it twice is beginning it once.
    """
    if paid.purchase is None or paid.amount_minor <= 0:
        return None
    expires_at = desk.clock.now() + TIME_TO_PAY
    born = OrderAsked(
        order_id=sold.order_id,
        app_id=sold.app_id,
        merchant_order_no="",
        amount_minor=paid.amount_minor,
        currency=paid.currency,
        details=sold.details,
        expires_at=expires_at,
        surplus_policy=sold.surplus_policy,
        origin=Origin.CHANNEL,
    )
    nothing_to_do = Ready(Plan.of(Step.of(Nothing()), expires_at=expires_at).to_json(), expires_at=expires_at)
    attempt = PaymentAsked(
        payment_id=sold.payment_id,
        channel=sold.channel,
        method=sold.method,
        account_id=sold.account_id,
        environment=sold.environment,
        merchant=sold.merchant,
        terms=sold.terms,
        expires_at=expires_at,
        product_id=paid.purchase.product_id,
        quantity=paid.purchase.quantity,
        token=paid.purchase.token,
        prepared=nothing_to_do,
    )
    await desk.tell(sold.app_id, born.order_id, born)
    told = await desk.tell(sold.app_id, born.order_id, attempt)
    begun = told.order.payment(attempt.payment_id)
    return None if begun is None else (told.order, begun)
