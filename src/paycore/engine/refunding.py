"""An app gives money back: reserve, send at once, and say how far the channel got."""

from dataclasses import dataclass

from paycore.core.facts import RefundAsked, RefundRetryAsked, SyncAsked
from paycore.core.ids import Prefix
from paycore.core.order import Verb
from paycore.core.refusals import Reason, Refused
from paycore.engine.desk import CONVERSE, LEASE, LEAST, CallerRequest, Desk
from paycore.engine.tell import Told
from paycore.engine.verbs import Lease
from paycore.store import ListedRefund, Unit


@dataclass(frozen=True, slots=True)
class RefundDraft:
    """What an app wants to give back. Without a payment it is the one that paid the order."""

    amount_minor: int
    currency: str
    merchant_refund_no: str = ""
    reason: str = ""
    payment_id: str | None = None


class Refunding:
    """The use cases of RefundService that change something. The refund is every answer's subject."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    async def create(
        self,
        app_id: str,
        order_id: str,
        draft: RefundDraft,
        request: CallerRequest | None,
        *,
        deadline_at: int | None,
    ) -> Told:
        """Reserve the amount and send the refund at once. An unknown outcome is an answer, not an error."""
        if draft.amount_minor <= 0:
            raise Refused(Reason.AMOUNT_NOT_POSITIVE, "A refund's amount is positive.", fields=("amount",))
        now, patience = self._desk.clock.now(), self._desk.patience(deadline_at)
        fact = RefundAsked(
            refund_id=self._desk.ids.mint(Prefix.REFUND),
            amount_minor=draft.amount_minor,
            currency=draft.currency,
            merchant_refund_no=draft.merchant_refund_no,
            reason=draft.reason,
            payment_id=draft.payment_id or None,
            leased_until=now + LEASE if patience >= LEAST else None,
        )
        told = await self._desk.tell(app_id, order_id, fact, request)
        refund = told.order.refund(fact.refund_id)
        if refund is None or told.is_replay or refund.task is None or refund.task.leased_until is None:
            return told  # a refund that has to wait for the channel's pause is sent by the clock
        lease = Lease(Verb.REFUND, refund.fence, now + CONVERSE)
        heard = await self._desk.wait_for(self._desk.verbs.work(told.order, refund.refund_id, lease), patience)
        return told if heard is None else Told(heard.order, refund.refund_id, is_replay=False)

    async def sync(self, app_id: str, refund_id: str, *, deadline_at: int | None) -> Told:
        """Ask the channel about a refund now. A channel that does not answer changes nothing."""
        order_id = await self.order_id_of(app_id, refund_id)
        await self._desk.tell(app_id, order_id, SyncAsked())
        return await self._do_now(app_id, order_id, refund_id, deadline_at)

    async def retry(
        self, app_id: str, refund_id: str, request: CallerRequest | None, *, deadline_at: int | None
    ) -> Told:
        """Send a refund again under its one number, after a person has mended what stood in its way."""
        order_id = await self.order_id_of(app_id, refund_id)
        told = await self._desk.tell(app_id, order_id, RefundRetryAsked(refund_id), request)
        return told if told.is_replay else await self._do_now(app_id, order_id, refund_id, deadline_at)

    async def _do_now(self, app_id: str, order_id: str, refund_id: str, deadline_at: int | None) -> Told:
        await self._desk.do_now(order_id, self._desk.patience(deadline_at), (refund_id,))
        return Told(await self._desk.order_of(app_id, order_id), refund_id, is_replay=False)

    async def find(self, app_id: str, merchant_refund_no: str) -> ListedRefund:
        """The app's refund of this number, the newest where several orders have one. Raises Refused."""
        found = await self._desk.memory.read(
            lambda unit: unit.list_refunds(app_id, merchant_refund_no=merchant_refund_no, limit=1)
        )
        if not found:
            raise Refused(Reason.REFUND_NOT_FOUND, "There is no such refund.")
        return found[0]

    async def order_id_of(self, app_id: str, refund_id: str) -> str:
        """The order that a refund belongs to. Another app's refund answers like one that does not exist."""

        def look(unit: Unit) -> str | None:
            return unit.order_of_refund([refund_id]).get(refund_id)

        order_id = await self._desk.memory.read(look)
        order = None if order_id is None else await self._desk.reader.load(order_id)
        if order is None or order.app_id != app_id:
            raise Refused(Reason.REFUND_NOT_FOUND, "There is no such refund.", refund_id=refund_id)
        return order.order_id
