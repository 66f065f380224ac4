"""Orders that a channel begins by itself: the next period of a subscription that one of our payments began."""

from dataclasses import replace

from paycore.channel import AboutPayment, Paid
from paycore.core.facts import OrderAsked, PaymentAsked
from paycore.core.findings import Ready
from paycore.core.ids import Prefix, derive_id
from paycore.core.order import Order, Origin, Payment
from paycore.core.terms import MINUTE
from paycore.engine.desk import Desk
from paycore_bridge import Nothing, Plan, Step

TIME_TO_PAY = 60 * MINUTE
"""What such an order has for its payment to be told; it was paid before it was begun."""


async def begin(desk: Desk, order: Order, payment: Payment, about: AboutPayment) -> tuple[Order, Payment] | None:
    """The order that the channel began, with its payment, still to be told that it is paid; None for no purchase.

    Its ids follow from the first payment and the purchase, so that beginning it twice is beginning it once.
    """
    paid, named = about.finding, about.reference
    if not isinstance(paid, Paid) or paid.purchase is None or named is None:
        return None
    purpose = f"renewal|{named.kind}|{named.value}"
    expires_at = desk.clock.now() + TIME_TO_PAY
    born = OrderAsked(
        order_id=derive_id(Prefix.ORDER, payment.payment_id, purpose),
        app_id=order.app_id,
        merchant_order_no="",
        amount_minor=paid.amount_minor,
        currency=paid.currency,
        details=replace(order.details, items=()),
        expires_at=expires_at,
        surplus_policy=order.surplus_policy,
        origin=Origin.CHANNEL,
    )
    nothing_to_do = Ready(Plan.of(Step.of(Nothing()), expires_at=expires_at).to_json(), expires_at=expires_at)
    attempt = PaymentAsked(
        payment_id=derive_id(Prefix.PAYMENT, payment.payment_id, purpose),
        channel=payment.channel,
        method=payment.method,
        account_id=payment.account_id,
        environment=payment.environment,
        merchant=payment.merchant,
        terms=payment.terms,
        expires_at=expires_at,
        product_id=paid.purchase.product_id,
        quantity=paid.purchase.quantity,
        token=paid.purchase.token,
        prepared=nothing_to_do,
    )
    await desk.tell(order.app_id, born.order_id, born)
    told = await desk.tell(order.app_id, born.order_id, attempt)
    begun = told.order.payment(attempt.payment_id)
    return None if begun is None else (told.order, begun)
