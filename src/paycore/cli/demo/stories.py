"""What the demo acts out: five stories about money at the simulated channel, then what every other loaded channel can do."""

from __future__ import annotations

from paycore.cli.demo.stage import (
    CHANNEL,
    CURRENCY,
    Differs,
    Order,
    Refund,
    Stage,
    begin,
    code_of,
    create,
    expect,
    pay_back,
    stream_of,
)
from paycore.cli.demo.visits import visit
from paycore.cli.lines import amount, major
from paycore.client import Forbidden
from paycore.core.offers import Offer, OfferKind
from paycore.v1 import anomaly_pb2, cashier_pb2, common_pb2, order_pb2

FIVE_OFF = Offer(
    "demo-five-off",
    "扫码立减 5 元",
    "5.00 off by QR code from 40.00 on",
    OfferKind.FIXED,
    CURRENCY,
    amount_minor=5_00,
    threshold_minor=40_00,
    methods=(f"{CHANNEL}.qr",),
    quota=1_000,
)
EXPIRY_SECONDS = 65.0
"""The shortest life that an order may be given is a minute."""
LEFT_SECONDS = 2.0
BEHIND_SECONDS = 5.0


async def act(stage: Stage) -> None:
    """All stories, one after the other. Raises Differs at the first step that ends otherwise than it should."""
    await pay_in_an_app(stage)
    by_code = await pay_by_code(stage)
    await pay_with_an_offer(stage)
    await give_back(stage, by_code)
    expired = await let_expire(stage)
    await pay_too_late(stage, expired)
    stage.street.fall_behind(0)
    for neighbour in stage.neighbours:
        await visit(stage, neighbour)


# ---------------------------------------------------------------------------------------------- the stories


async def pay_in_an_app(stage: Stage) -> None:
    """Order, signed payload, bridge, native SDK; then the truth from the channel's notice."""
    narrator = stage.narrator
    narrator.open("app", "An order paid in an app")
    order = await create(stage, "DEMO-APP", 12_80, "Oolong tea, two cups")
    async with stream_of(stage, order, "app") as stream:
        payment = await begin(stage, order, "app", face="android")
        narrator.say("The bridge action that the app's shell hands to the SDK:")
        narrator.action(payment.action)
        raw_code = stage.street.run_on_phone(payment.action)
        narrator.say(f"The SDK on the phone answers {raw_code}. That is a hint, never a result.", raw_code=raw_code)
        paid = await stream.until("PAID", lambda now: now.state == Order.STATE_PAID)
        expect(paid.captured_minor == 12_80, f"12.80 was captured, not {paid.captured_minor}")
        await stage.client.report_client_result(
            payment.payment_id, outcome=cashier_pb2.CLIENT_OUTCOME_SUCCESS_CLAIMED, raw_code=raw_code
        )
        after = await stage.client.get_order(order.order_id)
        expect(after.version == paid.version, "a claim of the phone changed an order that was paid")
    story = await stage.client.explain_order(order.order_id)
    told = next((entry for entry in story.entries if entry.evidence.startswith("notice")), None)
    if told is None:
        raise Differs("This differs from what was expected: no notice is kept as evidence.")
    narrator.say(f"ExplainOrder: {told.who}: {told.what} ({told.evidence})", evidence=told.evidence)
    narrator.good("PAID, because the channel said so.", order_id=order.order_id)


async def pay_by_code(stage: Stage) -> order_pb2.Order:
    """A code on a screen, scanned with a phone."""
    narrator = stage.narrator
    narrator.open("qr", "An order paid by a QR code")
    order = await create(stage, "DEMO-QR", 30_00, "A night in the blue room")
    async with stream_of(stage, order, "qr ") as stream:
        payment = await begin(stage, order, "qr", face="pc")
        content = code_of(payment)
        narrator.code(content)
        narrator.say("A payer scans it and pays.")
        stage.street.scan_and_pay(content)
        paid = await stream.until("PAID", lambda now: now.state == Order.STATE_PAID)
    narrator.good(f"PAID, {major(paid.captured_minor, CURRENCY)} captured.", order_id=order.order_id)
    return paid


async def pay_with_an_offer(stage: Stage) -> None:
    """The cashier shows what a method costs after its offers, sealed; that is what the payer pays."""
    narrator = stage.narrator
    narrator.open("offer", "An order with an offer")
    order = await create(stage, "DEMO-OFFER", 45_00, "A tea pot")
    opened = await stage.client.create_cashier_session(order.order_id, client=common_pb2.ClientContext(face="pc"))
    session, qr = opened.session, (CHANNEL, "qr")
    option = next(one for one in session.options if (one.channel, one.method) == qr)
    expect(option.amount.amount_minor == 40_00, f"the cashier shows {amount(option.amount)}")
    for offer in option.offers:
        narrator.say(f"The cashier: {option.display_name_en} for {amount(option.amount)}, “{offer.title_en}”.")
    async with stream_of(stage, order, "deal") as stream:
        begun = await stage.client.submit_payment(
            session.session_id, channel=CHANNEL, method="qr", quote_token=option.quote_token
        )
        narrator.say(f"SubmitPayment at the price that was shown: {begun.payment.payment_id}")
        stage.street.scan_and_pay(code_of(begun.payment))
        paid = await stream.until("PAID", lambda now: now.state == Order.STATE_PAID)
    expect(paid.captured_minor == 40_00, f"40.00 was captured, not {paid.captured_minor}")
    narrator.good(
        f"PAID, {major(paid.captured_minor, CURRENCY)} captured of {amount(order.amount)}.", order_id=order.order_id
    )


async def give_back(stage: Stage, order: order_pb2.Order) -> None:
    """A part of it, then the rest, each followed to its end; and not one fen more."""
    narrator = stage.narrator
    narrator.open("refunds", "A partial and a full refund of that order")
    rest_minor = order.captured_minor - 5_00
    async with stream_of(stage, order, "qr ", resume_after=order.version) as stream:
        await pay_back(stage, order, 5_00, "one breakfast less")
        await pay_back(stage, order, rest_minor, "the guest could not come")
        done = await stream.until(
            "all of it refunded", lambda now: now.refunded_minor == now.captured_minor and now.refunding_minor == 0
        )
    try:
        await stage.client.create_refund(order.order_id, amount_minor=1, currency=CURRENCY, reason="one fen more")
    except Forbidden as refused:
        expect(refused.reason == "REFUND_EXCEEDS_BALANCE", f"one fen more was refused with {refused.reason}")
    else:
        raise Differs("One fen more than was paid could be refunded.")
    payment_id = done.effective_payment_id
    expect(stage.street.returned_minor(payment_id) == order.captured_minor, "the channel's books show another sum")
    narrator.good(
        f"{major(done.refunded_minor, CURRENCY)} went back; one fen more is refused.", order_id=order.order_id
    )


async def let_expire(stage: Stage) -> order_pb2.Order:
    """Nobody pays: at its expiry the order is closed, at the channel too."""
    narrator = stage.narrator
    narrator.open("expiry", "An order that nobody pays")
    order = await create(stage, "DEMO-LATE", 8_80, "Umbrella", expires_in_seconds=EXPIRY_SECONDS)
    async with stream_of(stage, order, "late") as stream:
        payment = await begin(stage, order, "qr", face="pc")
        code_of(payment)
        skipped = EXPIRY_SECONDS - LEFT_SECONDS
        narrator.say("Its code is shown and nobody scans it.")
        narrator.say(f"The demo's clock skips {skipped:g} s, {LEFT_SECONDS:g} s are left.", skipped_seconds=skipped)
        narrator.say(
            f"The channel's clock goes {BEHIND_SECONDS:g} s behind: at the expiry it will still say “waiting”."
        )
        stage.street.fall_behind(BEHIND_SECONDS)
        stage.clock.skip(skipped)
        closed = await stream.until("CLOSED", lambda now: now.state == Order.STATE_CLOSED)
    expect(closed.close_reason == Order.CLOSE_REASON_EXPIRED, "it was closed for another reason than its expiry")
    state, calls = stage.street.trade_state(payment.payment_id), stage.street.calls_about(payment.payment_id)
    expect(state == "CLOSED", f"the channel's own books still say {state}")
    expect(calls[-2:] == ["trades/query", "trades/close"], f"the channel was asked {calls}")
    narrator.good(
        f"CLOSED here and at the channel, which was asked: {', '.join(calls)}.", order_id=order.order_id, calls=calls
    )
    return closed


async def pay_too_late(stage: Stage, order: order_pb2.Order) -> None:
    """Money that arrives after the close is real, and goes back by itself."""
    narrator = stage.narrator
    narrator.open("late", "Money that comes too late")
    payment_id = order.payments[0].payment_id
    async with stream_of(stage, order, "late", resume_after=order.version) as stream:
        narrator.say("The wallet had the money under way when the trade was closed; now it arrives.")
        stage.street.pay_too_late(payment_id)
        after = await stream.until("the late money refunded", _has_given_back)
    expect(after.state == Order.STATE_CLOSED, "the order did not stay closed")
    expect(not after.open_anomalies, "an anomaly is still open")
    refund = after.refunds[0]
    expect(refund.origin == Refund.ORIGIN_POLICY, "the refund was not begun by the policy")
    expect(
        stage.street.returned_minor(payment_id) == refund.amount.amount_minor, "the channel's books show another sum"
    )
    found = await stage.client.list_anomalies(order_id=order.order_id)
    kinds = [anomaly_pb2.Anomaly.Kind.Name(one.kind).removeprefix("KIND_") for one in found.anomalies]
    expect(kinds == ["LATE_PAYMENT"], f"the anomalies are {kinds or 'none'}")
    narrator.good(f"{amount(refund.amount)} went back by itself; the order stays closed.", order_id=order.order_id)


def _has_given_back(order: order_pb2.Order) -> bool:
    return len(order.refunds) == 1 and order.refunds[0].state == Refund.STATE_SUCCEEDED
