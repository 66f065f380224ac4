"""Puts into an ask everything that a verb may know, the clock and a nonce included."""

import uuid
from dataclasses import dataclass

from paycore.channel import EvidenceAsk, PaymentAsk, RefundAsk
from paycore.core.order import Order, Payment, Refund
from paycore.engine.clock import Clock
from paycore.engine.ids import Ids

_TOKENS = uuid.UUID("6f3d1c9a-5d0e-4b7e-9d9a-3c2f4f1b8a60")


@dataclass(frozen=True, slots=True)
class Asker:
    """Makes asks. `public_base_url` is where the channels reach this server's HTTP face."""

    clock: Clock
    ids: Ids
    public_base_url: str

    def notify_url(self, account_id: str) -> str:
        """Where a channel sends what happens to an account. A frozen form: it lies inside unpaid orders at the channels."""
        return f"{self.public_base_url.rstrip('/')}/v1/notices/{account_id}"

    def payment(self, order: Order, payment: Payment) -> PaymentAsk:
        """The ask about one payment."""
        details = order.details
        return PaymentAsk(
            payment_id=payment.payment_id,
            order_id=order.order_id,
            method=payment.method,
            target=payment.target,
            amount_minor=payment.amount_minor,
            currency=payment.currency,
            subject=details.subject,
            created_at=payment.created_at,
            expires_at=payment.expires_at,
            now=self.clock.now(),
            nonce=self.ids.nonce(),
            notify_url=self.notify_url(payment.account_id),
            description=details.description,
            return_url=str(payment.client.get("return_url") or details.return_url),
            items=details.items,
            inputs=payment.inputs,
            client=payment.client,
            product_id=payment.product_id,
            quantity=payment.quantity,
            token=payment.token,
            channel_trade_no=payment.channel_trade_no,
        )

    def refund(self, order: Order, payment: Payment, refund: Refund) -> RefundAsk:
        """The ask about one refund."""
        return RefundAsk(
            refund_id=refund.refund_id,
            payment=self.payment(order, payment),
            amount_minor=refund.amount_minor,
            currency=refund.currency,
            captured_minor=payment.captured_minor,
            reason=refund.reason,
            created_at=refund.created_at,
            now=self.clock.now(),
            nonce=self.ids.nonce(),
            notify_url=self.notify_url(payment.account_id),
            channel_refund_no=refund.channel_refund_no,
        )

    def evidence(self, evidence: str, order: Order | None, payment: Payment | None) -> EvidenceAsk:
        """The ask about something that a client holds as proof."""
        about = self.payment(order, payment) if order is not None and payment is not None else None
        return EvidenceAsk(evidence, about, self.clock.now(), self.ids.nonce())


def token_of(payment_id: str) -> str:
    """What a store purchase for this payment has to carry: a UUID that follows from the payment's id."""
    return str(uuid.uuid5(_TOKENS, payment_id))
