"""Watches every promise as it is made: what an answer, an acknowledgement or a send says must be stored by then.

A promise that something else mends a moment later was still broken; only looking at that moment sees it.
"""

import json
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

from paycore.channel import Request
from paycore.store import Store
from paycore.testing.simulation.rows import Rows, look
from paycore.v1 import notice_pb2

ACKNOWLEDGED = b'{"ack":"ok"}'
SECOND = 1_000_000
SKEW = 20 * SECOND
"""By how much two processes with good clocks may differ."""


class Promises:
    """What was promised so far in one run."""

    def __init__(
        self, store: Store, leases: dict[str, int], violated: Callable[[str, str], None], *, clocks_are_good: bool
    ) -> None:
        self._store = store
        self._leases = leases
        self._violated = violated
        self._clocks_are_good = clocks_are_good
        self._answers: dict[tuple[str, str], str] = {}
        self._sent: dict[str, dict[str, Any]] = {}
        self.answers = 0
        self.acknowledgements = 0
        self.sends = 0

    # ------------------------------------------------------------------------------------ to callers

    def answering(self, rpc: str, raw: bytes, response: Any) -> None:
        """An OK leaves for a caller."""
        self.answers += 1
        if rpc == "DeliverNotice":
            self._acknowledging(notice_pb2.DeliverNoticeRequest.FromString(raw), response)
            return
        rows = look(self._store)
        for message in (getattr(response, name, None) for name in ("order", "payment", "refund")):
            if message is not None:
                self._stored(rows, message)

    def _stored(self, rows: Rows, message: Any) -> None:
        """What a message shows is in the database, or was."""
        kind = type(message).__name__
        if kind == "Order" and message.order_id:
            row = rows.orders.get(message.order_id)
            if row is None or row.version < message.version:
                self._violated(
                    "durable",
                    f"{message.order_id} was answered at version {message.version}, stored is {row and row.version}",
                )
        if kind == "Payment" and message.payment_id and message.payment_id not in rows.payments:
            self._violated("durable", f"{message.payment_id} was answered and is not stored")
        if kind == "Refund" and message.refund_id and message.refund_id not in rows.refunds:
            self._violated("durable", f"{message.refund_id} was answered and is not stored")

    def same_object(self, rpc: str, request_id: str, subject_id: str) -> None:
        """A caller got this for its request: the same request always gets the same object."""
        known = self._answers.setdefault((rpc, request_id), subject_id)
        if known != subject_id:
            self._violated("idempotent", f"{rpc} {request_id} gave {known} first and {subject_id} now")

    # ------------------------------------------------------------------------------------ to the channel

    def _acknowledging(self, request: Any, response: Any) -> None:
        """A notice is answered. Acknowledged means: what it says is stored now."""
        if response.http_status != 200 or response.body != ACKNOWLEDGED:
            return
        self.acknowledgements += 1
        notice = json.loads(request.body)
        data, rows = notice["data"], look(self._store)
        orphans = [one for one in rows.anomalies if one.order_id is None]
        if notice["event"] == "trade":
            payment = rows.payments.get(data["out_trade_no"])
            if data["merchant"].endswith("-OTHER") or data["merchant"].startswith("OTHER"):
                self._violated("foreign money", "a notice about another merchant's money was acknowledged as ours")
            elif data["state"] == "PAID" and (payment is None or payment.state != "SUCCEEDED") and not orphans:
                self._violated(
                    "acknowledged",
                    f"{data['out_trade_no']} is paid, acknowledged, and stored as {payment and payment.state}",
                )
        if notice["event"] == "refund" and data["state"] in ("SUCCESS", "BOUNCED"):
            self._refund_is_stored(data, rows, has_orphans=bool(orphans))

    def _refund_is_stored(self, data: dict[str, Any], rows: Rows, *, has_orphans: bool) -> None:
        wanted = ("REVERSED",) if data["state"] == "BOUNCED" else ("SUCCEEDED", "REVERSED")
        found = rows.refunds.get(data["out_refund_no"]) or next(
            (refund for refund in rows.refunds.values() if refund.channel_refund_no == data["refund_no"]), None
        )
        if (found is None or found.state not in wanted) and not has_orphans:
            self._violated(
                "acknowledged",
                f"refund {data['refund_no']} is {data['state']}, acknowledged, and stored as {found and found.state}",
            )

    def sending(self, request: Request, seconds: float, now: int) -> None:
        """A request leaves for the channel: its number is stored, the same as ever, and its lease outlives the call."""
        call = urlsplit(request.url).path.rpartition("/v1/")[2]
        if request.method != "POST":
            return
        self.sends += 1
        document, rows = json.loads(request.body), look(self._store)
        refund_id = document.get("out_refund_no")
        row = rows.refunds.get(refund_id) if refund_id else rows.payments.get(document.get("out_trade_no", ""))
        if row is None:
            if "account_token" not in document:
                self._violated(
                    "sent before stored",
                    f"{call} sends {refund_id or document.get('out_trade_no')}, which is not stored",
                )
            return
        self._same_content(call, row[0], document)
        lease = self._leases.get(row[0], 0)
        if self._clocks_are_good and now + seconds * SECOND > lease + SKEW:
            left = (lease - now) / SECOND
            self._violated("lease", f"{call} of {row[0]} may take {seconds:.1f} s; its lease ends in {left:.1f} s")

    def _same_content(self, call: str, subject_id: str, document: dict[str, Any]) -> None:
        """What creates or moves something says the same on every send."""
        if call not in ("trades", "refunds"):
            return
        first = self._sent.setdefault(f"{call} {subject_id}", document)
        if first != document:
            differing = sorted(name for name in first.keys() | document.keys() if first.get(name) != document.get(name))
            self._violated("same on every send", f"{call} of {subject_id} differs in {', '.join(differing)}")
