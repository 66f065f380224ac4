"""Telling an order a story, and showing it in one line, so that a rule is a line in a table."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from paycore.core.decide import Decision, decide
from paycore.core.facts import (
    AnomalySettled,
    ClientReported,
    CloseAsked,
    Fact,
    ForeignRefundHeard,
    OrderAsked,
    PaymentAsked,
    PaymentHeard,
    PurchaseClaimed,
    RefundAsked,
    RefundHeard,
    RefundRetryAsked,
    SwitchAsked,
    Via,
)
from paycore.core.findings import AboutRefund, Failure, Paid, PaymentFinding, Ready, Refunded, RefundFinding
from paycore.core.ids import Prefix, make_id
from paycore.core.order import CloseReason, Details, Order, Payment, Refund, Remedy, SurplusPolicy, Task
from paycore.core.refusals import Refused
from paycore.core.terms import HOUR, MINUTE, SECOND, Price, Terms

ORDER = make_id(Prefix.ORDER, 0, 1)
PAYMENTS = {name: make_id(Prefix.PAYMENT, 0, number) for number, name in enumerate(("p1", "p2", "p3"))}
REFUNDS = {name: make_id(Prefix.REFUND, 0, number) for number, name in enumerate(("r1", "r2", "r3"))}
NAMES = {value: name for name, value in {**PAYMENTS, **REFUNDS}.items()}
EXPIRY = HOUR
LEASE = 30 * SECOND
NO = Failure("refused")


def paid(amount: int = 100, currency: str = "CNY", **more: Any) -> Paid:
    """A success as our channel tells it."""
    return Paid(amount, currency, more.pop("merchant", "M"), **more)


class Story:
    """One order and a clock. Every method tells a fact a second later and returns the story."""

    def __init__(self, policy: SurplusPolicy = SurplusPolicy.AUTO_REFUND, **terms: Any) -> None:
        self.now = 0
        self.terms = Terms(**terms)
        self.order: Order | None = None
        self.last = Decision(order=None)  # type: ignore[arg-type]
        self.refused = ""
        self.events: list[str] = []
        self.tell(OrderAsked(ORDER, "ap", "m-1", 100, "CNY", Details("tea"), EXPIRY, policy))

    def tell(self, fact: Fact) -> Story:
        self.now += SECOND
        try:
            self.last = decide(self.order, fact, self.now)
        except Refused as refusal:
            self.refused = refusal.reason.value
            return self
        self.refused = self.last.refusal.reason.value if self.last.refusal else ""
        self.order = self.last.order
        self.events = [event.kind for event in self.last.events]
        return self

    def at(self, instant: int) -> Story:
        self.now = instant
        return self

    # ------------------------------------------------------------------------------------------ payments

    def payment(self, name: str = "p1") -> Payment:
        assert self.order is not None
        found = self.order.payment(PAYMENTS[name])
        assert found is not None
        return found

    def asks(self, name: str = "p1", *, method: str = "qr", leased: bool = True, **more: Any) -> Story:
        return self.tell(
            PaymentAsked(
                payment_id=PAYMENTS[name],
                channel="c",
                method=method,
                account_id="ac",
                environment="sandbox",
                merchant="M",
                terms=self.terms,
                expires_at=more.pop("expires_at", EXPIRY),
                leased_until=self.now + LEASE if leased else None,
                **more,
            )
        )

    def takes(self, name: str = "p1") -> Story:
        """A worker takes the payment's task by a lease, as the store does."""
        assert self.order is not None
        row = self.payment(name)
        assert row.task is not None
        self.now = max(self.now, row.task.due_at)
        sends = row.sends + (row.task.verb == "PREPARE")
        taken = replace(row, task=_leased(row.task, self.now), fence=row.fence + 1, sends=sends)
        self._put(payments=tuple(taken if p.payment_id == row.payment_id else p for p in self.order.payments))
        return self

    def claims(self, purchase: Paid, name: str = "p1") -> Story:
        """A person says that a purchase which named nobody was made for this payment."""
        return self.tell(PurchaseClaimed(PAYMENTS[name], purchase))

    def hears(
        self,
        finding: PaymentFinding,
        via: str = "QUERY",
        name: str = "p1",
        *,
        owns: bool = True,
        asked_at: int | None = None,
    ) -> Story:
        fence = self.payment(name).fence if owns and via not in ("NOTICE", "CONFIRM") else None
        at = None if via == "NOTICE" else self.now if asked_at is None else asked_at
        return self.tell(PaymentHeard(PAYMENTS[name], Via(via), finding, at, fence))

    def waits(self, name: str = "p1", **more: Any) -> Story:
        """A payment whose payer has something to do."""
        return self.asks(name, **more).hears(Ready("{}"), "PREPARE", name)

    def pays(self, name: str = "p1", **more: Any) -> Story:
        """A payment that pays."""
        return self.waits(name, **more).hears(paid(), "NOTICE", name)

    def closes(self, name: str = "p1") -> Story:
        """A close is asked and taken by a worker."""
        return self.tell(CloseAsked()).takes(name)

    def expires(self) -> Story:
        return self.at(EXPIRY).tell(CloseAsked(CloseReason.EXPIRED))

    def switches(self, name: str = "p1") -> Story:
        return self.tell(SwitchAsked(PAYMENTS[name], self.now + LEASE))

    def reports(self, outcome: str, name: str = "p1") -> Story:
        return self.tell(ClientReported(PAYMENTS[name], outcome))

    # ------------------------------------------------------------------------------------------ refunds

    def refund(self, name: str = "r1") -> Refund:
        assert self.order is not None
        found = self.order.refund(REFUNDS[name])
        assert found is not None
        return found

    def refunds(self, amount: int = 100, name: str = "r1", *, leased: bool = True, **more: Any) -> Story:
        until = self.now + LEASE if leased else None
        return self.tell(RefundAsked(REFUNDS[name], amount, more.pop("currency", "CNY"), leased_until=until, **more))

    def takes_refund(self, name: str = "r1") -> Story:
        assert self.order is not None
        row = self.refund(name)
        assert row.task is not None
        self.now = max(self.now, row.task.due_at)
        sends = row.sends + (row.task.verb == "REFUND")
        taken = replace(row, task=_leased(row.task, self.now), fence=row.fence + 1, sends=sends)
        self._put(refunds=tuple(taken if r.refund_id == row.refund_id else r for r in self.order.refunds))
        return self

    def learns(self, finding: RefundFinding, via: str = "REFUND", name: str = "r1", *, owns: bool = True) -> Story:
        fence = self.refund(name).fence if owns and via != "NOTICE" else None
        at = None if via == "NOTICE" else self.now
        return self.tell(RefundHeard(REFUNDS[name], Via(via), finding, at, fence))

    def returned(self, amount: int = 100, number: str = "n1", name: str = "p1") -> Story:
        """The channel tells of a refund that we did not begin."""
        about = AboutRefund(Refunded(amount), payment_id=PAYMENTS[name], channel_refund_no=number)
        return self.tell(ForeignRefundHeard(PAYMENTS[name], about, Via.NOTICE))

    def retries(self, name: str = "r1") -> Story:
        return self.tell(RefundRetryAsked(REFUNDS[name]))

    def remedies(self, remedy: Remedy, name: str = "r3") -> Story:
        assert self.order is not None
        anomaly = next((a for a in self.order.anomalies if a.is_open), self.order.anomalies[-1])
        return self.tell(AnomalySettled(anomaly.anomaly_id, remedy, "by hand", REFUNDS[name]))

    def _put(self, **rows: Any) -> None:
        assert self.order is not None
        self.order = replace(self.order, **rows)

    def __str__(self) -> str:
        assert self.order is not None
        return show(self.order) + (f" !{self.refused}" if self.refused else "")


def _leased(task: Task, now: int) -> Task:
    return replace(task, tries=task.tries + 1, leased_until=now + LEASE)


def show(order: Order) -> str:
    """An order in one line: state, then each payment, refund and anomaly with what is left to do."""
    parts = [order.state.value]
    for payment in order.payments:
        marks = "".join(
            mark
            for mark, is_set in (
                ("*", payment.is_effective),
                ("~", payment.is_superseded),
                ("+", payment.is_kept),
                ("<", payment.is_reversed),
            )
            if is_set
        )
        money = (
            f" {payment.captured_minor}-{payment.refunding_minor}-{payment.refunded_minor}"
            if payment.captured_minor or payment.refunded_minor
            else ""
        )
        parts.append(f"{NAMES[payment.payment_id]} {payment.state.value}{marks}{money}{_task(payment.task)}")
    for refund in order.refunds:
        name = NAMES.get(refund.refund_id, "r")
        parts.append(f"{name} {refund.origin.value} {refund.state.value} {refund.amount_minor}{_task(refund.task)}")
    parts.extend(f"{anomaly.kind.value} {anomaly.state.value} {anomaly.amount_minor}" for anomaly in order.anomalies)
    return " | ".join(parts)


def _task(task: Task | None) -> str:
    return f" >{task.verb.value}" if task else ""


STORE: dict[str, Any] = {"price": Price.STORE, "can_refund": False, "can_close": False}
MARGIN_OVER = EXPIRY + MINUTE + SECOND
