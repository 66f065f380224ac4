"""Through the real engine: what is declared is offered, what is not declared is not."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import Any

from paycore.channel import ChannelVerb, KitSimulator, RawNotice
from paycore.core.order import OrderState
from paycore.core.refusals import Reason, Refused
from paycore.engine.notices import NOT_TAKEN
from paycore.testing.conformance.house import APP, House, house
from paycore.testing.conformance.stand import Stand


class Offered:
    """Capabilities, flipped where they are not declared."""

    def test_every_method_is_offered(self, stand: Stand) -> None:
        async def ask(at: House) -> None:
            for method in stand.kind.methods:
                currency = stand.currency_of(method)
                order = await at.order(stand.usual_minor(method, currency), currency)
                client = {**stand.case.client, **({"face": method.faces[0]} if method.faces else {})}
                options = await at.engine.options(order, client)
                [mine] = [
                    option for option in options if (option.channel, option.method) == (stand.kind.name, method.name)
                ]
                assert mine.is_available, f"{method.name} is not offered: {mine.reason}"

        _in_house(stand, ask)

    def test_what_is_not_declared_is_refused(self, stand: Stand) -> None:
        async def ask(at: House) -> None:
            engine, account_id, verbs = at.engine, at.account.account_id, stand.kind.verbs
            if ChannelVerb.READ_NOTICE not in verbs:
                assert await engine.deliver_notice(account_id, RawNotice("POST", "/", {}, b"{}")) is NOT_TAKEN
            if ChannelVerb.CONFIRM not in verbs:
                evidence = engine.confirm(APP, stand.kind.name, "evidence", account_id=account_id)
                assert await _reason(evidence) is Reason.METHOD_UNAVAILABLE
            if ChannelVerb.STATEMENT not in verbs:
                assert await _reason(engine.statement(account_id, "trade", "2026-11-23")) is Reason.METHOD_UNAVAILABLE
            if ChannelVerb.REFRESH not in verbs:
                assert await _reason(engine.refresh_account(account_id)) is Reason.METHOD_UNAVAILABLE
            for method in stand.kind.methods:
                terms = stand.kind.terms(method)
                assert terms.can_query == (ChannelVerb.QUERY in verbs)
                assert terms.can_close == (ChannelVerb.CLOSE in verbs)
                assert terms.can_refund == (ChannelVerb.REFUND in verbs)
                assert terms.can_query_refund == (ChannelVerb.QUERY_REFUND in verbs)

        _in_house(stand, ask)

    def test_a_paid_order_is_refunded_where_that_is_declared_and_only_there(self, stand: Stand) -> None:
        method = stand.main_method
        if method is None:
            return

        async def ask(at: House) -> None:
            assert method is not None
            currency = stand.currency_of(method)
            order = await at.pay(await at.order(stand.usual_minor(method, currency), currency), method.name)
            await _pay(at, order)
            order = await at.stands(order)
            assert order.state is OrderState.PAID, f"the money was taken and the order is {order.state}"
            refund = at.refund(order, order.amount_minor)
            if ChannelVerb.REFUND in stand.kind.verbs:
                assert (await refund).amount_minor == order.amount_minor
            else:
                assert await _reason(refund) is Reason.REFUND_UNSUPPORTED

        _in_house(stand, ask)


def _in_house(stand: Stand, ask: Any) -> None:
    async def live() -> None:
        async with house(stand.case, 0) as at:
            await ask(at)

    asyncio.run(live())


async def _pay(at: House, order: Any) -> None:
    """The payer pays, and we hear of it: by the notices, or by asking until we do."""
    [payment] = (await at.stands(order)).payments
    simulator: KitSimulator = at.simulator
    if payment.plan_json:
        simulator.accept(payment.plan_json, at.clock.now())
    if (await at.stands(order)).state is not OrderState.PAID:
        simulator.pay(payment.payment_id, at.clock.now())
    for _ in range(60):
        if (await at.stands(order)).state is OrderState.PAID:
            return
        at.clock.advance(10)
        await at.work()


async def _reason(work: Awaitable[object]) -> Reason:
    try:
        answer = await work
    except Refused as refused:
        return refused.reason
    raise AssertionError(f"it was not refused: {type(answer).__name__}")
