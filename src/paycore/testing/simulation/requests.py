"""What callers ask of a channel, put together. Numbers and keys count up, so that a run has the same ones again."""

import itertools
from collections import Counter
from typing import Any

from paycore.testing.simulation.counterpart import Street
from paycore.v1 import anomaly_pb2, cashier_pb2, money_pb2, order_pb2, refund_pb2


class Requests:
    """Makes requests; each new one has a key of its own."""

    def __init__(self, channel: str, street: Street) -> None:
        self._channel = channel
        self._street = street
        self._numbers = itertools.count(100_000)
        self.wanted: Counter[tuple[str, str]] = Counter()
        """How many orders, payments and refunds were asked for, by what and of which order: there may never be more."""

    def fresh(self, word: str) -> str:
        """A text that was not used before, good as a request_id or as a number."""
        return f"{word}-{next(self._numbers)}-simulated"[:32]

    def order(
        self, amount_minor: int, *, expires_at: int, policy: int, product: str = ""
    ) -> order_pb2.CreateOrderRequest:
        self.wanted["order", ""] += 1
        items = [order_pb2.LineItem(product_id=product, name="a game", quantity=1, unit_amount_minor=amount_minor)]
        request = order_pb2.CreateOrderRequest(
            merchant_order_no=self.fresh("order"),
            amount=money(amount_minor),
            subject="a cup of tea",
            request_id=self.fresh("create"),
            surplus_policy=policy,  # type: ignore[arg-type] # an enum's number
            line_items=items if product else [],
        )
        request.expire_time.FromMicroseconds(expires_at)
        return request

    def payment(self, order_id: str, method: str) -> order_pb2.PayOrderRequest:
        self.wanted["payment", order_id] += 1
        return order_pb2.PayOrderRequest(
            order_id=order_id,
            channel=self._channel,
            method=method,
            client=self._street.client(method),
            inputs=self._street.inputs(method),
            request_id=self.fresh("pay"),
        )

    def submission(self, session_id: str, order_id: str, method: str) -> cashier_pb2.SubmitPaymentRequest:
        self.wanted["payment", order_id] += 1
        return cashier_pb2.SubmitPaymentRequest(
            session_id=session_id,
            channel=self._channel,
            method=method,
            client=self._street.client(method),
            inputs=self._street.inputs(method),
            request_id=self.fresh("submit"),
        )

    def session(self, order_id: str) -> cashier_pb2.CreateCashierSessionRequest:
        return cashier_pb2.CreateCashierSessionRequest(
            order_id=order_id, client=self._street.cashier(), request_id=self.fresh("session")
        )

    def close(self, order_id: str) -> order_pb2.CloseOrderRequest:
        return order_pb2.CloseOrderRequest(order_id=order_id, request_id=self.fresh("close"))

    def refund(self, order_id: str, amount_minor: int, payment_id: str = "") -> refund_pb2.CreateRefundRequest:
        self.wanted["refund", order_id] += 1
        return refund_pb2.CreateRefundRequest(
            order_id=order_id,
            amount=money(amount_minor),
            reason="cold",
            payment_id=payment_id,
            request_id=self.fresh("refund"),
        )

    def proof(self, payment_id: str, evidence: str) -> cashier_pb2.ConfirmPaymentRequest:
        return cashier_pb2.ConfirmPaymentRequest(
            channel=self._channel, evidence=evidence, payment_id=payment_id, request_id=self.fresh("confirm")
        )

    def remedy(self, anomaly_id: str, order_id: str, remedy: int) -> order_pb2.ResolveAnomalyRequest:
        self.wanted["refund", order_id] += 1
        return order_pb2.ResolveAnomalyRequest(
            anomaly_id=anomaly_id,
            remedy=remedy,  # type: ignore[arg-type] # an enum's number
            note="looked at",
            request_id=self.fresh("remedy"),
        )

    def retry(self, refund_id: str) -> refund_pb2.RetryRefundRequest:
        return refund_pb2.RetryRefundRequest(refund_id=refund_id, request_id=self.fresh("retry"))


REMEDIES = tuple(number for number in anomaly_pb2.Remedy.values() if number)
POLICIES = tuple(number for number in order_pb2.SurplusPolicy.values() if number)


def money(amount_minor: int) -> money_pb2.Money:
    return money_pb2.Money(amount_minor=amount_minor, currency_code="CNY")


def describe(message: Any) -> str:
    """A message in a few words, for the trace."""
    names = ("order_id", "session_id", "payment_id", "refund_id", "anomaly_id", "method", "request_id")
    shown = [str(getattr(message, name)) for name in names if getattr(message, name, "")]
    return " ".join(shown)
