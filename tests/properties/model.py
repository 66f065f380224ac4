"""A debt in whole numbers: what must be so of an order whatever happened to it. It knows nothing of how paycore does it.

The channel's truth comes in as it happens (`pays`); what paycore announces comes in as events (`hears`) and must be
possible. A `Lie` is an announcement, an answer or a row that this small book does not allow.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

RESERVING = frozenset({"PENDING", "PROCESSING", "UNKNOWN", "ABNORMAL"})
MOVES: Mapping[str, Mapping[str, str]] = {
    "order": {"": "PENDING", "PENDING": "PAID CLOSING CLOSED", "CLOSING": "PAID CLOSED", "PAID": "", "CLOSED": "PAID"},
    "payment": {
        "": "CREATED PENDING",
        "CREATED": "PENDING UNKNOWN SUCCEEDED FAILED CLOSED",
        "PENDING": "UNKNOWN SUCCEEDED FAILED CLOSED",
        "UNKNOWN": "PENDING SUCCEEDED FAILED CLOSED",
        "SUCCEEDED": "",
        "FAILED": "SUCCEEDED",
        "CLOSED": "SUCCEEDED",
    },
    "refund": {
        "": "PENDING PROCESSING SUCCEEDED",
        "PENDING": "PROCESSING UNKNOWN ABNORMAL SUCCEEDED FAILED",
        "PROCESSING": "UNKNOWN ABNORMAL SUCCEEDED FAILED",
        "UNKNOWN": "PROCESSING ABNORMAL SUCCEEDED FAILED",
        "ABNORMAL": "UNKNOWN PROCESSING SUCCEEDED FAILED",
        "SUCCEEDED": "REVERSED",
        "FAILED": "SUCCEEDED",
        "REVERSED": "",
    },
}
"""From which state to which. What stands at the end of a line is final."""


class Lie(AssertionError):
    """Something was said or stored that cannot be."""


def must(true: bool, otherwise: str) -> None:
    """Raise Lie unless it is so."""
    if not true:
        raise Lie(otherwise)


@dataclass
class Attempt:
    """A payment: what the payer really paid, and what paycore knows of."""

    state: str = ""
    taken: int = 0
    heard: int = 0


@dataclass
class Return:
    """A refund."""

    payment_id: str
    amount: int
    origin: str
    state: str = ""


@dataclass
class Debt:
    """One order."""

    order_id: str
    amount: int
    policy: str
    state: str = ""
    version: int = 0
    attempts: dict[str, Attempt] = field(default_factory=dict)
    returns: dict[str, Return] = field(default_factory=dict)
    asked: list[int] = field(default_factory=list)
    """Amounts of refunds that a caller (or a person's remedy) wants now."""
    accepts_late: bool = False
    """A person has just accepted money for it."""
    effective: str = ""

    # ------------------------------------------------------------------------------------ what happens outside

    def pays(self, payment_id: str, amount: int) -> None:
        """The payer pays, whether or not anybody knows."""
        self.attempts.setdefault(payment_id, Attempt()).taken = amount

    # ------------------------------------------------------------------------------------ what paycore announces

    def hears(self, version: int, subject: str, subject_id: str, figures: Mapping[str, Any]) -> None:
        """One event. They come one after the other, none missing."""
        must(version == self.version + 1, f"event {version} follows {self.version}")
        self.version = version
        match subject:
            case "order":
                self._order(figures)
            case "payment":
                self._payment(subject_id, figures)
            case "refund":
                self._refund(subject_id, figures)

    def _order(self, figures: Mapping[str, Any]) -> None:
        must(figures["amount_minor"] == self.amount, f"the debt is {figures['amount_minor']}, not {self.amount}")
        before, self.state = self.state, _moved("order", self.state, figures["state"])
        if before == "CLOSED" and self.state == "PAID":
            must(self.accepts_late or self.policy == "ACCEPT", "a closed order was paid though nobody accepted it")
        effective = figures["effective_payment_id"] or ""
        must(not self.effective or effective == self.effective, "another payment has paid it now")
        must(bool(effective) == (self.state == "PAID"), f"{self.state} and paid by {effective or 'nobody'}")
        must(not effective or self.attempts[effective].heard == self.amount, "it is paid by another amount")
        self.effective = effective

    def _payment(self, payment_id: str, figures: Mapping[str, Any]) -> None:
        attempt = self.attempts.setdefault(payment_id, Attempt())
        attempt.state = _moved("payment", attempt.state, figures["state"])
        captured = figures["captured_minor"]
        if attempt.state == "SUCCEEDED" and not attempt.heard:
            attempt.heard = captured
        must(captured == attempt.heard, f"{captured} was captured, {attempt.heard} before")
        must(captured in (0, attempt.taken), f"{captured} was captured of a payment that took {attempt.taken}")
        must(not figures["is_effective"] or captured == self.amount, "a payment of another amount is effective")

    def _refund(self, refund_id: str, figures: Mapping[str, Any]) -> None:
        found = self.returns.get(refund_id)
        if found is None:
            found = self._new(figures)
            self.returns[refund_id] = found
        must(found.amount == figures["amount_minor"], "a refund's amount has changed")
        found.state = _moved("refund", found.state, figures["state"])
        must(self.balance(found.payment_id) >= 0, "more goes back than was taken")

    def _new(self, figures: Mapping[str, Any]) -> Return:
        amount, origin, payment_id = figures["amount_minor"], figures["origin"], figures["payment_id"]
        must(amount > 0, "a refund of nothing")
        must(amount <= self.balance(payment_id), f"{amount} is to go back, {self.balance(payment_id)} is left")
        if origin == "MERCHANT":
            must(amount in self.asked, f"nobody asked for {amount} back")
            self.asked.remove(amount)
        else:
            must(origin == "POLICY" and payment_id != self.effective, f"{origin} gave back what has paid the order")
            must(self.policy == "AUTO_REFUND", f"{self.policy} gave money back by itself")
        return Return(payment_id, amount, origin)

    # ------------------------------------------------------------------------------------ what follows from it

    def balance(self, payment_id: str) -> int:
        """What was taken by a payment and is neither returned nor promised back."""
        gone = sum(one.amount for one in self.returns_of(payment_id) if one.state not in ("FAILED", "REVERSED"))
        return self.attempts[payment_id].heard - gone

    def returns_of(self, payment_id: str) -> list[Return]:
        return [one for one in self.returns.values() if one.payment_id == payment_id]

    def refund_answer(self, amount: int) -> str:
        """How asking for a refund must be answered: OK, or why not."""
        if not self.effective:
            return "ORDER_NOT_PAID"
        return "OK" if amount <= self.balance(self.effective) else "REFUND_EXCEEDS_BALANCE"

    def pay_answers(self, *, is_over: bool) -> frozenset[str]:
        """How beginning a payment may be answered."""
        if self.state == "PAID":
            return frozenset({"ORDER_ALREADY_PAID"})
        if self.state == "PENDING" and not is_over:
            found_out = {"ORDER_ALREADY_PAID"} if any(one.taken for one in self.attempts.values()) else set()
            return frozenset({"OK", "PAYMENT_IN_PROGRESS", "TOO_MANY_ATTEMPTS", "ORDER_EXPIRED"} | found_out)
        closed = {"CLOSED": "ORDER_CLOSED", "CLOSING": "ORDER_CLOSING"}.get(self.state)
        return frozenset({"ORDER_EXPIRED", *([closed] if closed else [])})

    @property
    def unheard(self) -> list[str]:
        """The payments that were paid without paycore knowing."""
        return [payment_id for payment_id, one in self.attempts.items() if one.taken and not one.heard]

    @property
    def is_at_rest(self) -> bool:
        """Whether nothing more can come of it by itself."""
        return (
            self.state in ("PAID", "CLOSED")
            and not self.unheard
            and all(one.state in ("SUCCEEDED", "FAILED", "CLOSED") for one in self.attempts.values())
            and not any(one.state in RESERVING - {"ABNORMAL"} for one in self.returns.values())
        )


def _moved(subject: str, before: str, after: str) -> str:
    must(before == after or after in MOVES[subject][before].split(), f"{subject}: {before or 'nothing'} became {after}")
    return after
