"""An order's story for the person who is asked where a customer's money is: what happened, who said so, what comes next."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from paycore.core.events import Event, Figures
from paycore.core.money import CURRENCY_EXPONENTS, format_major
from paycore.core.order import CloseReason, Order, OrderState, Payment, Refund, Task, Verb
from paycore.store import KeptEvidence


@dataclass(frozen=True, slots=True)
class Line:
    """One thing that happened. `version` is the event that it led to; 0 when it changed nothing by itself."""

    at: int
    who: str
    what: str
    evidence: str = ""
    version: int = 0


@dataclass(frozen=True, slots=True)
class Story:
    """An order as it stands, what happened to it, oldest first, and what will happen by itself."""

    order: Order
    lines: tuple[Line, ...]
    next_steps: tuple[str, ...]


def tell_story(order: Order, events: Sequence[Event], kept: Sequence[KeptEvidence], now: int) -> Story:
    """Put together what was announced and what was heard."""
    channels = {payment.payment_id: payment.channel for payment in order.payments}
    channels |= {refund.refund_id: channels.get(refund.payment_id, "") for refund in order.refunds}
    lines = [*_event_lines(order, events, channels), *_evidence_lines(kept, channels)]
    lines.sort(key=lambda line: (line.at, line.version == 0, line.version))
    return Story(order, tuple(lines), tuple(_next_steps(order, now)))


# ---------------------------------------------------------------------------------------------- what was announced


def _event_lines(order: Order, events: Sequence[Event], channels: Mapping[str, str]) -> list[Line]:
    before: dict[str, Figures] = {}
    lines = []
    for event in events:
        who = _WHO.get(event.cause, "paycore")
        if event.cause == "CloseAsked" and order.close_reason is CloseReason.EXPIRED:
            who = "the clock"
        if event.cause in _BY_CHANNEL:
            subject = event.subject_id if event.subject_id in channels else next(iter(channels), "")
            who = channels.get(subject) or "the channel"
        lines.append(Line(event.at, who, _sentence(event, before.get(event.subject_id)), version=event.version))
        before[event.subject_id] = event.figures
    return lines


_WHO = {
    "OrderAsked": "the app",
    "PaymentAsked": "the payer",
    "SwitchAsked": "the payer",
    "CloseAsked": "the app",
    "SyncAsked": "the app",
    "ClientReported": "the payer's client",
    "RefundAsked": "the app",
    "RefundRetryAsked": "the app",
    "AnomalySettled": "a person",
    "PurchaseClaimed": "a person",
    "AccountUnusable": "paycore",
}
_BY_CHANNEL = frozenset({"PaymentHeard", "RefundHeard", "ForeignRefundHeard"})


def _sentence(event: Event, before: Figures | None) -> str:
    writer = _WRITERS.get(event.subject)
    return writer(event, before or {}) if writer is not None else f"{event.kind}."


def _order_sentence(event: Event, before: Figures) -> str:
    figures = event.figures
    match event.kind:
        case "order.created":
            return (
                f"The order for {_money(figures, 'amount_minor')} was made; it waits for payment until"
                f" {_when(figures.get('expires_at'))}."
            )
        case "order.paid":
            return f"The order is paid by payment {figures.get('effective_payment_id')}."
        case "order.closing":
            why = "its time is over" if figures.get("close_reason") == "EXPIRED" else "the app asked for it"
            return f"The order is being closed because {why}."
        case "order.closed":
            return "The order is closed: nobody can pay it any more."
    return f"The order changed: {_difference(before, figures)}."


def _payment_sentence(event: Event, before: Figures) -> str:
    figures, name = event.figures, f"Payment {event.subject_id}"
    match event.kind:
        case "payment.created":
            money = _money(figures, "amount_minor")
            return f"{name} for {money} began by {figures.get('channel')}.{figures.get('method')}."
        case "payment.prepared":
            return f"{name} is ready: the payer can pay it until {_when(figures.get('expires_at'))}."
        case "payment.succeeded":
            money = _money(figures, "captured_minor", "captured_currency")
            pays = "it pays the order" if figures.get("is_effective") else "it does not pay the order"
            return f"{name} succeeded: {money} was taken, and {pays}."
        case "payment.failed":
            return f"{name} failed{_because(figures)}."
        case "payment.closed":
            return f"{name} is closed unpaid at the channel."
        case "payment.unknown":
            return f"Nobody knows how {name.lower()} stands: the channel gave no answer. It is asked again."
    return f"{name} changed: {_difference(before, figures)}."


def _refund_sentence(event: Event, before: Figures) -> str:
    figures, name = event.figures, f"Refund {event.subject_id}"
    match event.kind:
        case "refund.created":
            money = _money(figures, "amount_minor")
            origin = {"MERCHANT": "the app", "POLICY": "the surplus policy", "CHANNEL": "the channel"}
            return f"{name} of {money} was begun by {origin.get(str(figures.get('origin')), 'somebody')}."
        case "refund.processing":
            return f"{name} was accepted by the channel; the money is on its way."
        case "refund.succeeded":
            return f"{name} succeeded: {_money(figures, 'amount_minor')} went back to the payer."
        case "refund.failed":
            return f"{name} failed{_because(figures)}; its amount is free again."
        case "refund.unknown":
            return f"Nobody knows how {name.lower()} stands: the channel gave no answer. It is asked again."
        case "refund.abnormal":
            return f"{name} needs a person{_because(figures)}."
        case "refund.reversed":
            return f"{name} came back: the money did not reach the payer."
    return f"{name} changed: {_difference(before, figures)}."


def _anomaly_sentence(event: Event, before: Figures) -> str:
    figures = event.figures
    kind = str(figures.get("kind", "")).replace("_", " ").lower()
    detail = f" ({figures.get('detail')})" if figures.get("detail") else ""
    if figures.get("state") == "OPEN":
        return f"Something needs a look: {kind}{detail}."
    remedy = f" by {str(figures.get('remedy')).lower()}" if figures.get("remedy") else ""
    note = f": {figures.get('note')}" if figures.get("note") else ""
    return f"The {kind} was resolved{remedy}{note}."


_WRITERS: Mapping[str, Callable[[Event, Figures], str]] = {
    "order": _order_sentence,
    "payment": _payment_sentence,
    "refund": _refund_sentence,
    "anomaly": _anomaly_sentence,
}


def _money(figures: Figures, amount: str, currency: str = "currency") -> str:
    code, minor = str(figures.get(currency, "")), figures.get(amount)
    if code not in CURRENCY_EXPONENTS or not isinstance(minor, int):
        return "an unknown amount"
    return f"{code} {format_major(minor, code)}"


def _because(figures: Figures) -> str:
    failure = figures.get("failure")
    if not failure:
        return ""
    reason, code, *_ = failure
    return f" ({reason}{', ' + code if code else ''})"


def _difference(before: Figures, after: Figures) -> str:
    changed = [
        f"{name.replace('_', ' ')} {_value(name, before.get(name))} to {_value(name, value)}"
        for name, value in after.items()
        if before.get(name) != value
    ]
    return ", ".join(changed) or "nothing that is shown"


def _value(name: str, value: Any) -> str:
    if name.endswith("_at") and isinstance(value, int):
        return _when(value)
    return "nothing" if value in (None, "") else str(value)


def _when(at: Any) -> str:
    """An instant for people, in UTC."""
    if not isinstance(at, int):
        return "an unknown time"
    return datetime.fromtimestamp(at / 1_000_000, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


# ---------------------------------------------------------------------------------------------- what was heard


def _evidence_lines(kept: Sequence[KeptEvidence], channels: Mapping[str, str]) -> list[Line]:
    return [_evidence_line(one, channels.get(one.evidence.subject_id) or "the channel") for one in kept]


def _evidence_line(kept: KeptEvidence, channel: str) -> Line:
    evidence = kept.evidence
    content = _content(evidence.content)
    times = f", {kept.count} times until {_when(kept.last_at)}" if kept.count > 1 else ""
    vouched = "verified" if evidence.verified else "not verified"
    proof = f"{evidence.via.lower().replace('_', ' ')}, {vouched}, {evidence.digest[:12]}{times}"
    if evidence.via == "CLIENT":
        words = ", ".join(str(content[name]) for name in ("outcome", "raw_code", "raw_text") if content.get(name))
        return Line(evidence.at, "the payer's client", f"Claimed about {evidence.subject_id}: {words}.", proof)
    said = _SAID.get(str(content.get("finding")), f"Said {content.get('finding')}")
    about = "".join(f", {name.replace('_', ' ')} {content[name]}" for name in _SHOWN if content.get(name))
    return Line(evidence.at, channel, f"{said} about {evidence.subject_id}{about}.", proof)


_SAID = {
    "Unknown": "Gave no answer that can be used",
    "NotSent": "Could not be reached; nothing was sent",
    "NotFound": "Said that it does not know",
    "AlreadyPaid": "Said that it is paid already,",
}
_SHOWN = ("amount_minor", "currency", "merchant", "channel_trade_no", "channel_refund_no", "note")


def _content(text: str) -> Mapping[str, Any]:
    try:
        content = json.loads(text)
    except ValueError:
        return {}
    return content if isinstance(content, dict) else {}


# ---------------------------------------------------------------------------------------------- what comes next


def _next_steps(order: Order, now: int) -> list[str]:
    steps = []
    if order.task is not None and order.state is OrderState.PENDING:
        steps.append(f"The order expires at {_when(order.task.due_at)}.")
    steps += [_next(f"payment {payment.payment_id}", payment, now) for payment in order.payments if payment.task]
    steps += [_next(f"refund {refund.refund_id}", refund, now) for refund in order.refunds if refund.task]
    steps += [
        f"A person has to look at the {anomaly.kind.replace('_', ' ').lower()} {anomaly.anomaly_id}."
        for anomaly in order.anomalies
        if anomaly.is_open
    ]
    return steps


def _next(name: str, row: Payment | Refund, now: int) -> str:
    task = row.task
    assert task is not None
    return f"{_DOING[task.verb]} {name} {_time_of(task, now)}."


_DOING = {
    Verb.EXPIRE: "Expires",
    Verb.PREPARE: "Prepares",
    Verb.QUERY: "Asks the channel about",
    Verb.CLOSE: "Closes",
    Verb.REFUND: "Sends",
    Verb.QUERY_REFUND: "Asks the channel about",
}


def _time_of(task: Task, now: int) -> str:
    if task.leased_until is not None and task.leased_until > now:
        return "at this moment"
    return "now" if task.due_at <= now else f"at {_when(task.due_at)}"
