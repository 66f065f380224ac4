"""Events and orders of the contract as short lines for people."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from paycore.cli.screen import clean

if TYPE_CHECKING:
    from paycore.v1 import money_pb2, order_pb2


def amount(money: money_pb2.Money) -> str:
    """An amount with its currency, as people write it."""
    return major(money.amount_minor, money.currency_code)


def major(amount_minor: int, currency: str) -> str:
    """Minor units with their currency, as people write them; minor units where the currency is not known."""
    from paycore.core.money import format_major

    try:
        return f"{currency} {format_major(amount_minor, currency)}"
    except ValueError:
        return f"{amount_minor} {clean(currency)}".strip()


def event_time(event: order_pb2.OrderEvent) -> int:
    """When an event happened, in microseconds."""
    return event.event_time.seconds * 1_000_000 + event.event_time.nanos // 1000


def event_text(event: order_pb2.OrderEvent) -> str:
    """What an event says, in one line: its kind, and the figures that a person looks for."""
    subject = event.WhichOneof("changed")
    return " · ".join([event.kind.ljust(20), *_SHOWN.get(subject or "", _nothing)(event)])


def _order(event: order_pb2.OrderEvent) -> list[str]:
    return [_name(event.order, "state", "STATE_"), amount(event.order.amount)]


def _payment(event: order_pb2.OrderEvent) -> list[str]:
    figures = event.payment
    words = [_name(figures, "state", "STATE_"), f"{figures.channel}/{figures.method}", amount(figures.amount)]
    if figures.captured_minor:
        words.append(f"captured {major(figures.captured_minor, figures.captured_currency)}")
    if figures.refunding_minor:
        words.append(f"refunding {major(figures.refunding_minor, figures.captured_currency)}")
    if figures.refunded_minor:
        words.append(f"refunded {major(figures.refunded_minor, figures.captured_currency)}")
    if figures.is_action_ready and words[0] == "PENDING":
        words.append("action ready")
    return words


def _refund(event: order_pb2.OrderEvent) -> list[str]:
    figures = event.refund
    return [
        _name(figures, "state", "STATE_"),
        amount(figures.amount),
        f"by {_name(figures, 'origin', 'ORIGIN_').lower()}",
    ]


def _anomaly(event: order_pb2.OrderEvent) -> list[str]:
    figures = event.anomaly
    remedy = [_name(figures, "remedy", "REMEDY_").lower()] if figures.remedy else []
    return [_name(figures, "kind", "KIND_"), _name(figures, "state", "STATE_"), *remedy]


def _nothing(event: order_pb2.OrderEvent) -> list[str]:
    return []


_SHOWN = {"order": _order, "payment": _payment, "refund": _refund, "anomaly": _anomaly}


def _name(figures: Any, field: str, prefix: str) -> str:
    """The name of an enum's value, without the enum's own prefix."""
    kind = figures.DESCRIPTOR.fields_by_name[field].enum_type
    value = kind.values_by_number.get(getattr(figures, field))
    return "?" if value is None else str(value.name).removeprefix(prefix)
