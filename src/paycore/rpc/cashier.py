"""CashierService: one client in front of one order. An app's key may ask about its sessions, a token about its own only."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

from paycore.core.order import Order
from paycore.core.refusals import Reason, Refused
from paycore.rpc.orders import seal_action
from paycore.rpc.pipeline import Call
from paycore.rpc.translate import (
    ORDER_STATES,
    asked,
    choice,
    client_data,
    client_outcome,
    payment_message,
    session_message,
)
from paycore.rpc.watch import SessionSource, Source, Watches, ends_when_final, resume_after
from paycore.store import Session
from paycore.v1 import cashier_pb2


@dataclass(frozen=True, slots=True)
class CashierService:
    """The functions behind CashierService."""

    watches: Watches

    async def create_cashier_session(
        self, call: Call, request: cashier_pb2.CreateCashierSessionRequest
    ) -> cashier_pb2.CreateCashierSessionResponse:
        session, token, order = await call.engine.create_session(
            call.app_id,
            request.order_id,
            client_data(request.client),
            asked(call, request),
            lifetime_seconds=request.lifetime_seconds,
        )
        shown, page_url = await _shown(call, session, order), call.engine.page_url(session)
        return cashier_pb2.CreateCashierSessionResponse(session=shown, session_token=token, page_url=page_url)

    async def get_cashier_session(
        self, call: Call, request: cashier_pb2.GetCashierSessionRequest
    ) -> cashier_pb2.GetCashierSessionResponse:
        session = await _session(call, request.session_id)
        order = await call.engine.get_order(call.app_id, session.order_id)
        client = client_data(request.client) if request.HasField("client") else session.client
        shown = await _shown(call, session, order, client)
        await seal_action(call, order, shown.payment)
        return cashier_pb2.GetCashierSessionResponse(session=shown)

    async def submit_payment(
        self, call: Call, request: cashier_pb2.SubmitPaymentRequest
    ) -> cashier_pb2.SubmitPaymentResponse:
        session = await _session(call, request.session_id)
        client = client_data(request.client) if request.HasField("client") else session.client
        if request.returns_to_page:
            client = {**client, "return_url": call.engine.page_of(session)}
        told = await call.engine.pay(
            call.app_id,
            session.order_id,
            choice(request, client, quote_token=request.quote_token),
            asked(call, request),
            etag="",
            deadline_at=call.deadline_at,
        )
        response = cashier_pb2.SubmitPaymentResponse(**_standing(told.order, told.subject_id))
        await seal_action(call, told.order, response.payment)
        return response

    async def report_client_result(
        self, call: Call, request: cashier_pb2.ReportClientResultRequest
    ) -> cashier_pb2.ReportClientResultResponse:
        told = await call.engine.report_client(
            call.app_id,
            request.payment_id,
            client_outcome(request.outcome),
            raw_code=request.raw_code,
            raw_text=request.raw_text,
            order_id=call.principal.order_id,
            deadline_at=call.deadline_at,
        )
        return cashier_pb2.ReportClientResultResponse(**_standing(told.order, request.payment_id))

    async def confirm_payment(
        self, call: Call, request: cashier_pb2.ConfirmPaymentRequest
    ) -> cashier_pb2.ConfirmPaymentResponse:
        if call.principal.is_session and not request.payment_id:
            raise Refused(Reason.FIELD_REQUIRED, "A session names the payment.", fields=("payment_id",))
        told, may_finish = await call.engine.confirm(
            call.app_id,
            request.channel,
            request.evidence,
            payment_id=request.payment_id,
            account_id=request.account_id,
            order_id=call.principal.order_id,
            request=asked(call, request),
            deadline_at=call.deadline_at,
        )
        standing = _standing(told.order, told.subject_id)
        return cashier_pb2.ConfirmPaymentResponse(order_id=told.order.order_id, may_finish=may_finish, **standing)

    def watch_cashier_session(self, call: Call, request: cashier_pb2.WatchCashierSessionRequest) -> AsyncIterator[Any]:
        return self.watches.stream(
            call,
            self._opened(call, request),
            heartbeat_seconds=request.heartbeat_seconds,
            ends_when_final=ends_when_final(request),
        )

    @asynccontextmanager
    async def _opened(self, call: Call, request: cashier_pb2.WatchCashierSessionRequest) -> AsyncIterator[Source]:
        session = await _session(call, request.session_id)
        make = partial(SessionSource, show=partial(_shown, call, session))
        async with self.watches.of_order(call, session.order_id, resume_after(request), make) as source:
            yield source


async def _session(call: Call, session_id: str) -> Session:
    """The app's session, or the token's own. Any other answers like one that does not exist."""
    if call.principal.is_session and session_id != call.principal.session_id:
        raise Refused(Reason.SESSION_NOT_FOUND, "There is no such session.", session_id=session_id)
    return await call.engine.get_session(call.app_id, session_id)


async def _shown(call: Call, session: Session, order: Order, client: Any = None) -> cashier_pb2.CashierSession:
    """The session with what this client can choose now."""
    options = await call.engine.options(order, session.client if client is None else client)
    return session_message(session, order, options)


def _standing(order: Order, payment_id: str) -> dict[str, Any]:
    """How a payment and its order stand."""
    payment = order.payment(payment_id)
    return {
        "payment": payment_message(order, payment) if payment else None,
        "order_state": ORDER_STATES[order.state],
        "version": order.version,
    }
