"""Watches every promise as it is made: what an answer, an acknowledgement or a send says must be stored by then.

A promise that something else mends a moment later was still broken; only looking at that moment sees it.
"""

from collections.abc import Callable, Mapping
from typing import Any

from paycore.channel import Request
from paycore.store import Store
from paycore.testing.simulation.counterpart import Call, Counterpart, Told
from paycore.testing.simulation.rows import PaymentRow, RefundRow, Rows, look
from paycore.v1 import notice_pb2

SECOND = 1_000_000
SKEW = 20 * SECOND
"""By how much two processes with good clocks may differ."""


class Promises:
    """What was promised so far in one run."""

    def __init__(
        self,
        store: Store,
        counterpart: Counterpart,
        leases: dict[str, int],
        violated: Callable[[str, str], None],
        *,
        clocks_are_good: bool,
    ) -> None:
        self._store = store
        self._counterpart = counterpart
        self._leases = leases
        self._violated = violated
        self._clocks_are_good = clocks_are_good
        self._answers: dict[tuple[str, str], str] = {}
        self._sent: dict[str, Mapping[str, Any]] = {}
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

    def _acknowledging(self, request: notice_pb2.DeliverNoticeRequest, response: Any) -> None:
        """A notice is answered. Acknowledged means: it was genuine, and what it says is stored now."""
        if not self._counterpart.is_acknowledged(request, response):
            return
        self.acknowledgements += 1
        rows = look(self._store)
        has_orphans = any(one.order_id is None for one in rows.anomalies)
        for told in self._counterpart.told(request):
            if told.is_foreign:
                self._violated("foreign money", "a notice that is not about our money was acknowledged as ours")
            elif told.state == "PAID" and not has_orphans:
                self._payment_is_stored(told, rows)
            elif told.state in ("SUCCESS", "BOUNCED") and not has_orphans:
                self._refund_is_stored(told, rows)

    def _payment_is_stored(self, told: Told, rows: Rows) -> None:
        by_token = (one for one in rows.payments.values() if told.token and one.token == told.token)
        payment = rows.payments.get(told.payment_id) or next(by_token, None)
        if payment is None or payment.state != "SUCCEEDED":
            subject = told.payment_id or told.token
            self._violated(
                "acknowledged", f"{subject} is paid, acknowledged, and stored as {payment and payment.state}"
            )

    def _refund_is_stored(self, told: Told, rows: Rows) -> None:
        wanted = ("REVERSED",) if told.state == "BOUNCED" else ("SUCCEEDED", "REVERSED")
        found = rows.refunds.get(told.refund_id) or next(
            (refund for refund in rows.refunds.values() if refund.channel_refund_no == told.channel_refund_no), None
        )
        if found is None or found.state not in wanted:
            subject = told.channel_refund_no or told.refund_id
            self._violated(
                "acknowledged",
                f"refund {subject} is {told.state}, acknowledged, and stored as {found and found.state}",
            )

    def sending(self, request: Request, seconds: float, now: int) -> None:
        """A request leaves for the channel: its number is stored, the same as ever, and its lease outlives the call."""
        call = self._counterpart.understand(request)
        if call.row_id is None:
            return
        self.sends += 1
        rows = look(self._store)
        row: PaymentRow | RefundRow | None = rows.refunds.get(call.row_id) or rows.payments.get(call.row_id)
        if row is None:
            self._violated("sent before stored", f"{call.name} sends {call.row_id}, which is not stored")
            return
        self._same_content(call)
        lease = self._leases.get(call.row_id, 0)
        if self._clocks_are_good and now + seconds * SECOND > lease + SKEW:
            left = (lease - now) / SECOND
            self._violated(
                "lease", f"{call.name} of {call.row_id} may take {seconds:.1f} s; its lease ends in {left:.1f} s"
            )

    def _same_content(self, call: Call) -> None:
        """What creates or moves something says the same on every send."""
        lasting = call.lasting
        first = self._sent.setdefault(f"{call.name} {call.row_id}", lasting) if lasting else lasting
        if first != lasting:
            differing = sorted(name for name in first.keys() | lasting.keys() if first.get(name) != lasting.get(name))
            self._violated("same on every send", f"{call.name} of {call.row_id} differs in {', '.join(differing)}")
