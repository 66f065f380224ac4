"""Purchases that a store told of and that named no payment of ours. A person says whose they are; what they are, the store said.

Everything that the store told of it, each time anew, was verified when it came and lies with the anomaly. A claim tells all
of that to the payment, so that money which went back meanwhile is known to have gone back.
"""

from paycore.core.facts import PurchaseClaimed
from paycore.core.findings import Paid
from paycore.core.ids import Prefix, derive_id
from paycore.core.order import Details, Order, Payment
from paycore.core.refusals import Reason, Refused
from paycore.core.terms import Price
from paycore.engine import witness
from paycore.engine.desk import CallerRequest, Desk
from paycore.engine.renewals import Sold, begin_sold
from paycore.engine.tell import Told
from paycore.store import ListedAnomaly

PURPOSE = "claim"
VIA = "CLAIM"
"""How the payment came to know of it, in the evidence."""


def payment_of(listed: ListedAnomaly, payment_id: str) -> str:
    """The payment that is told: the named one, or that of an order of the purchase's own."""
    return payment_id or derive_id(Prefix.PAYMENT, listed.anomaly.anomaly_id, PURPOSE)


async def claim(
    desk: Desk, listed: ListedAnomaly, purchases: list[Paid], payment_id: str, request: CallerRequest | None
) -> Told:
    """Tell a purchase to the payment that it is claimed for, or to an order of its own. Doing so twice is doing it once.

    Raises Refused when it was made at another account, for something else, or pays another payment.
    """
    if request is not None:
        await desk.replayed(request)  # a request_id that was used for something else begins nothing
    if payment_id:
        order, payment = await _named(desk, listed, payment_id)
    else:
        order, payment = await _of_its_own(desk, listed, purchases[-1])
    told = Told(order, payment.payment_id, is_replay=False)
    for place, paid in enumerate(sorted(purchases, key=_rank)):
        now, fact = desk.clock.now(), PurchaseClaimed(payment.payment_id, paid)
        anomaly_id = listed.anomaly.anomaly_id
        kept = witness.heard(order.order_id, payment.payment_id, VIA, paid, now, anomaly_id=anomaly_id)
        answers = request if place == 0 else None
        told = await desk.tell(listed.app_id, order.order_id, fact, answers, evidence=(kept,))
    return told


def _rank(paid: Paid) -> int:
    """What went back is told first, so that it pays nothing; what was taken back after that comes next."""
    if not paid.refunds:
        return 2
    return 1 if any(refund.reversed for refund in paid.refunds) else 0


async def _named(desk: Desk, listed: ListedAnomaly, payment_id: str) -> tuple[Order, Payment]:
    owner = await desk.memory.read(lambda unit: unit.order_of_payment([payment_id]).get(payment_id))
    order = None if owner is None else await desk.reader.load(owner)
    payment = None if order is None else order.payment(payment_id)
    if order is None or payment is None or order.app_id != listed.app_id:
        raise Refused(Reason.PAYMENT_NOT_FOUND, "There is no such payment.", fields=("payment_id",))
    if payment.account_id != listed.account_id:
        raise Refused(Reason.EVIDENCE_MISMATCH, "The payment was made to another account.", fields=("payment_id",))
    return order, payment


async def _of_its_own(desk: Desk, listed: ListedAnomaly, paid: Paid) -> tuple[Order, Payment]:
    accounts = await desk.accounts.rows_of(listed.app_id)
    account = next((one for one in accounts if one.account_id == listed.account_id), None)
    kind = None if account is None else desk.host.kind(account.channel)
    method = None if kind is None else next((one for one in kind.methods if one.price is Price.STORE), None)
    assert paid.purchase is not None, "only purchases are kept with an anomaly"
    app = await desk.memory.read(lambda unit: unit.get_app(listed.app_id))
    if app is None or account is None or kind is None or method is None:
        raise Refused(Reason.METHOD_UNAVAILABLE, "The channel's plugin is not loaded, or sells no more.")
    sold = Sold(
        source_id=listed.anomaly.anomaly_id,
        purpose=PURPOSE,
        app_id=listed.app_id,
        details=Details(paid.purchase.product_id),
        surplus_policy=app.surplus_policy,
        channel=account.channel,
        method=method.name,
        account_id=account.account_id,
        environment=account.environment,
        merchant=account.merchant,
        terms=kind.terms(method),
    )
    begun = await begin_sold(desk, sold, paid)
    if begun is None:
        raise Refused(Reason.REMEDY_UNSUPPORTED, "It was sold for nothing, so it can only be claimed for a payment.")
    return begun
