"""What every other loaded channel shows: an order in an app, by a code, on a web page, and a part of it given back.

Channels are told apart by what their kinds declare, never by name: a scene that a channel has no method for is left out.
"""

from __future__ import annotations

from paycore.channel import ChannelVerb, Method
from paycore.cli.demo.stage import CURRENCY, Order, Refund, Stage, begin, code_of, create, expect, pay_back, stream_of
from paycore.cli.demo.street import SHOP_HOST, Neighbour
from paycore.cli.lines import amount, major
from paycore.v1 import cashier_pb2, order_pb2

AMOUNT_MINOR = 12_80
PART_MINOR = 5_00
STORE_MINOR = 6_00
RETURN_URL = f"https://{SHOP_HOST}/thanks"
PRODUCT = "gold.100"


async def visit(stage: Stage, there: Neighbour) -> None:
    """All that this channel has of the stories. Raises Differs at the first step that ends otherwise than it should."""
    paid = None
    if (app := there.method("app")) is not None:
        paid = await pay_in_its_app(stage, there, app)
    if (code := there.method("qr")) is not None:
        paid = await pay_its_code(stage, there, code)
    if (page := there.method("redirect", "form")) is not None:
        paid = await pay_on_its_page(stage, there, page)
    if (store := there.method("store")) is not None:
        await buy_in_its_store(stage, there, store)
    if paid is not None and ChannelVerb.REFUND in there.kind.verbs and there.kind.partial_refunds:
        await give_a_part_back(stage, there, paid)


async def pay_in_its_app(stage: Stage, there: Neighbour, method: Method) -> order_pb2.Order:
    """The app's shell hands the action to the channel's SDK, and the truth comes by the channel's notice."""
    narrator = stage.narrator
    _open(stage, there, "app", "an order paid in an app")
    order = await create(stage, _number(there, "APP"), AMOUNT_MINOR, "Oolong tea, two cups")
    device = next(iter(method.targets), "android")
    async with stream_of(stage, order, "app") as stream:
        payment = await begin(stage, order, method.name, face=_face(method), channel=there.name)
        narrator.action(payment.action)
        raw_code = there.run_on_phone(payment.action, device)
        if raw_code is not None:
            narrator.say(f"The SDK on {device} answers {raw_code}. That is a hint, never a result.", raw_code=raw_code)
            await stage.client.report_client_result(
                payment.payment_id, outcome=cashier_pb2.CLIENT_OUTCOME_SUCCESS_CLAIMED, raw_code=raw_code
            )
        paid = await stream.until("PAID", _is_paid)
    return _paid(stage, paid)


async def pay_its_code(stage: Stage, there: Neighbour, method: Method) -> order_pb2.Order:
    """A code on a screen, scanned with a phone."""
    _open(stage, there, "qr", "an order paid by a QR code")
    order = await create(stage, _number(there, "QR"), AMOUNT_MINOR, "A night in the blue room")
    async with stream_of(stage, order, "qr ") as stream:
        payment = await begin(stage, order, method.name, face=_face(method), channel=there.name)
        stage.narrator.code(code_of(payment), drawn=False)
        stage.narrator.say("A payer scans it and pays.")
        there.pay(payment.action)
        paid = await stream.until("PAID", _is_paid)
    return _paid(stage, paid)


async def pay_on_its_page(stage: Stage, there: Neighbour, method: Method) -> order_pb2.Order:
    """A browser is sent to the channel's page."""
    _open(stage, there, "web", "an order paid on a web page")
    order = await create(stage, _number(there, "WEB"), AMOUNT_MINOR, "Umbrella", return_url=RETURN_URL)
    async with stream_of(stage, order, "web") as stream:
        payment = await begin(stage, order, method.name, face=_face(method), channel=there.name)
        stage.narrator.action(payment.action)
        stage.narrator.say("The browser goes there, and the payer pays.")
        there.pay(payment.action)
        paid = await stream.until("PAID", _is_paid)
    return _paid(stage, paid)


async def buy_in_its_store(stage: Stage, there: Neighbour, method: Method) -> None:
    """The store sets the price and hands the app signed evidence, which the app brings to us."""
    _open(stage, there, "store", "a purchase in a store")
    order = await create(stage, _number(there, "STORE"), STORE_MINOR, "A hundred pieces of gold", product_id=PRODUCT)
    async with stream_of(stage, order, "buy") as stream:
        payment = await begin(stage, order, method.name, face=_face(method), channel=there.name)
        stage.narrator.action(payment.action)
        evidence = there.buy(payment.action, STORE_MINOR)
        stage.narrator.say(f"The store hands the app {len(evidence)} characters of signed evidence.")
        await stage.client.confirm_payment(channel=there.name, evidence=evidence, payment_id=payment.payment_id)
        paid = await stream.until("PAID", _is_paid)
        expect(paid.captured_minor == STORE_MINOR, f"{paid.captured_minor} was captured")
        stage.narrator.good("PAID, because the store signed for it.", order_id=order.order_id)
        if there.give_back(payment.action):
            stage.narrator.say("A customer complains; the store gives the money back by itself and sends a notice.")
            done = await stream.until("all of it refunded", lambda now: now.refunded_minor == STORE_MINOR)
            origins = [Refund.Origin.Name(one.origin).removeprefix("ORIGIN_") for one in done.refunds]
            expect(origins == ["CHANNEL"], f"the refunds are of origin {origins}")
            text = (
                f"{major(done.refunded_minor, CURRENCY)} went back, because the store said so. Nobody here had asked."
            )
            stage.narrator.good(text, order_id=order.order_id)


async def give_a_part_back(stage: Stage, there: Neighbour, order: order_pb2.Order) -> None:
    """A part of the last order, followed to its end."""
    _open(stage, there, "refund", "a partial refund of that order")
    async with stream_of(stage, order, "web", resume_after=order.version) as stream:
        await pay_back(stage, order, PART_MINOR, "one of two came back")
        done = await stream.until("a part refunded", lambda now: now.refunded_minor == PART_MINOR)
    expect(done.refunding_minor == 0, "something is still being refunded")
    returned = there.returned_minor(done.effective_payment_id)
    expect(returned == PART_MINOR, f"the channel's books show {returned}")
    stage.narrator.good(
        f"{major(done.refunded_minor, CURRENCY)} of {amount(done.amount)} went back, here and in the channel's books.",
        order_id=order.order_id,
    )


def _open(stage: Stage, there: Neighbour, story: str, title: str) -> None:
    stage.narrator.open(f"{there.name}.{story}", f"{there.kind.title.en}: {title}")


def _number(there: Neighbour, story: str) -> str:
    return f"DEMO-{there.name.upper()}-{story}"


def _face(method: Method) -> str:
    return next(iter(method.faces), "pc")


def _is_paid(order: order_pb2.Order) -> bool:
    return bool(order.state == Order.STATE_PAID)


def _paid(stage: Stage, order: order_pb2.Order) -> order_pb2.Order:
    expect(order.captured_minor == AMOUNT_MINOR, f"{order.captured_minor} was captured")
    stage.narrator.good(f"PAID, {major(order.captured_minor, CURRENCY)} captured.", order_id=order.order_id)
    return order
