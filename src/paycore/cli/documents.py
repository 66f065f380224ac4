"""What the database holds, as the documents of the contract: what a command prints is what the API would answer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from paycore.cli.screen import instant

if TYPE_CHECKING:
    from paycore.core.order import Order
    from paycore.engine.explain import Line
    from paycore.store import ListedAnomaly


def message(found: Any) -> dict[str, Any]:
    """A message of the contract as its JSON, names as they stand in the proto."""
    from google.protobuf import json_format

    return json_format.MessageToDict(found, preserving_proto_field_name=True)


def order(found: Order) -> dict[str, Any]:
    """An order with its payments, refunds and open anomalies."""
    from paycore.rpc.translate import order_message

    return message(order_message(found))


def anomaly(listed: ListedAnomaly) -> dict[str, Any]:
    """An anomaly, with whose it is; an orphan's account stands where an order would."""
    from paycore.rpc.translate import anomaly_message

    document = message(anomaly_message(listed.order_id or "", listed.anomaly))
    return document | {"app_id": listed.app_id, "account_id": listed.account_id, "seen": listed.seen}


def line(told: Line) -> dict[str, Any]:
    """One line of an order's story."""
    return {
        "entry_time": instant(told.at),
        "who": told.who,
        "what": told.what,
        "evidence": told.evidence,
        "version": told.version,
    }
