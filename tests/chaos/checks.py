"""What must be true afterwards. Each check compares what two of the witnesses say, and returns sentences: none is right.

The witnesses: the journal of what callers asked and were told, our orders with their events, the channel's own books, and
what watchers saw.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from tests.chaos.journal import Line, What

SETTLED_PAYMENTS = frozenset({"SUCCEEDED", "FAILED", "CLOSED"})
SETTLED_REFUNDS = frozenset({"SUCCEEDED", "FAILED", "REVERSED"})
STAYING = {"order_state": {"PAID", "CLOSED"}, "payment_state": {"SUCCEEDED"}, "refund_state": {"SUCCEEDED"}}
"""States that nobody leaves here: the surplus policy is to refund, and no refund bounces."""


@dataclass(frozen=True, slots=True)
class Refund:
    """A refund as our database has it."""

    refund_id: str
    payment_id: str
    amount_minor: int
    state: str
    origin: str = "MERCHANT"


@dataclass(frozen=True, slots=True)
class Payment:
    """A payment as our database has it."""

    payment_id: str
    state: str
    captured_minor: int = 0
    refunded_minor: int = 0


@dataclass(frozen=True, slots=True)
class Order:
    """An order as our database has it; `events` says in a text what each version, 1..n, was about."""

    order_id: str
    merchant_order_no: str
    state: str
    amount_minor: int
    version: int
    payments: tuple[Payment, ...] = ()
    refunds: tuple[Refund, ...] = ()
    open_anomalies: tuple[str, ...] = ()
    events: tuple[tuple[int, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Trade:
    """A trade as the channel has it."""

    payment_id: str
    state: str
    taken_minor: int = 0


@dataclass(frozen=True, slots=True)
class ChannelRefund:
    """A refund as the channel has it, by the number that it was sent under."""

    number: str
    payment_id: str
    amount_minor: int
    state: str = "SUCCESS"


@dataclass(frozen=True, slots=True)
class Send:
    """One request for a refund that reached the channel."""

    number: str
    payment_id: str
    amount_minor: int


@dataclass(frozen=True, slots=True)
class Books:
    """The channel's own books."""

    trades: Mapping[str, Trade] = field(default_factory=dict)
    refunds: Mapping[str, ChannelRefund] = field(default_factory=dict)
    sends: Sequence[Send] = ()
    undelivered: int = 0


@dataclass(frozen=True, slots=True)
class Watched:
    """What one watcher of one order saw, over however many connections."""

    order_id: str
    seen: Sequence[tuple[int, str]]
    """Each version with what it was about, as the server sent them."""


@dataclass(frozen=True, slots=True)
class FeedEntry:
    """One message of an app's feed."""

    cursor: int
    order_id: str
    version: int


Orders = Mapping[str, Order]
"""By their id."""


# ---------------------------------------------------------------------------------------------- the journal


def lost_writes(journal: Iterable[Line], orders: Orders) -> Iterator[str]:
    """What was acknowledged and is not there, or not as it was acknowledged."""
    for line in journal:
        if line.what is What.ANSWERED:
            for problem in _lost(line, orders):
                yield f"acknowledged and lost: request {line.number} {line.call}: {problem}"


def _lost(line: Line, orders: Orders) -> Iterator[str]:
    told = line.told
    order = orders.get(told["order_id"])
    if order is None:
        yield f"there is no order {told['order_id']}"
        return
    for name in ("merchant_order_no", "amount_minor"):
        if name in told and told[name] != getattr(order, name):
            yield f"order {order.order_id} has {name} {getattr(order, name)}, not {told[name]}"
    if order.version < told.get("version", 0):
        yield f"order {order.order_id} is at version {order.version} and was at {told['version']}"
    payment = next((one for one in order.payments if one.payment_id == told.get("payment_id")), None)
    refund = next((one for one in order.refunds if one.refund_id == told.get("refund_id")), None)
    if "payment_id" in told and payment is None:
        yield f"order {order.order_id} has no payment {told['payment_id']}"
    if "refund_id" in told and refund is None:
        yield f"order {order.order_id} has no refund {told['refund_id']}"
    if refund is not None and refund.amount_minor != told["refund_minor"]:
        yield f"refund {refund.refund_id} is of {refund.amount_minor}, not of {told['refund_minor']}"
    for name, row in (("order_state", order), ("payment_state", payment), ("refund_state", refund)):
        if row is not None and told.get(name) in STAYING[name] and row.state != told[name]:
            yield f"order {order.order_id}: {name} is {row.state} and was {told[name]}"


def doubled_effects(journal: Sequence[Line], orders: Orders) -> Iterator[str]:
    """What came about more than once for one request, or for no request at all, or was never settled with its caller."""
    told_of: dict[tuple[str, str], set[str]] = defaultdict(set)
    open_requests: dict[int, Line] = {}
    for line in journal:
        if line.what is What.ASKED:
            open_requests[line.number] = line
        else:
            open_requests.pop(line.number, None)
        if line.what is What.ANSWERED:
            told_of[line.call, line.request_id].add(_subject(line))
    for line in open_requests.values():
        yield f"request {line.number} {line.call} was neither answered nor refused"
    for (call, request_id), subjects in told_of.items():
        if len(subjects) > 1:
            yield f"{call} {request_id} made more than one: {', '.join(sorted(subjects))}"
    known = {subject for subjects in told_of.values() for subject in subjects}
    numbers = Counter(order.merchant_order_no for order in orders.values())
    for number, times in numbers.items():
        if times > 1:
            yield f"{times} orders have the number {number}"
    for order in orders.values():
        if order.order_id not in known:
            yield f"nobody was ever told of order {order.order_id}"
        for payment in order.payments:
            if payment.payment_id not in known:
                yield f"nobody was ever told of payment {payment.payment_id} of order {order.order_id}"
        for refund in order.refunds:
            if refund.origin == "MERCHANT" and refund.refund_id not in known:
                yield f"nobody was ever told of refund {refund.refund_id} of order {order.order_id}"


def _subject(line: Line) -> str:
    """The id of what a request made, or closed."""
    return str(line.told.get("refund_id") or line.told.get("payment_id") or line.told["order_id"])


# ---------------------------------------------------------------------------------------------- the channel's books


def books_differ(orders: Orders, books: Books) -> Iterator[str]:
    """Where the channel's books and ours say something different about money."""
    ours = {payment.payment_id: payment for order in orders.values() for payment in order.payments}
    refunds = {refund.refund_id: refund for order in orders.values() for refund in order.refunds}
    for trade in books.trades.values():
        if trade.payment_id not in ours:
            yield f"the channel has a trade {trade.payment_id} that we do not know"
    for payment in ours.values():
        trade_or_none = books.trades.get(payment.payment_id)
        taken = trade_or_none.taken_minor if trade_or_none else 0
        if taken != payment.captured_minor:
            yield f"the channel took {taken} for payment {payment.payment_id}, we say {payment.captured_minor}"
        returned = sum(
            one.amount_minor
            for one in books.refunds.values()
            if one.payment_id == payment.payment_id and one.state == "SUCCESS"
        )
        if returned != payment.refunded_minor:
            yield f"the channel returned {returned} of payment {payment.payment_id}, we say {payment.refunded_minor}"
    yield from _refunds_differ(refunds, books)


def _refunds_differ(refunds: Mapping[str, Refund], books: Books) -> Iterator[str]:
    for there in books.refunds.values():
        here = refunds.get(there.number)
        if here is None:
            yield f"the channel has a refund {there.number} that we do not know"
        elif (here.payment_id, here.amount_minor) != (there.payment_id, there.amount_minor):
            yield f"refund {there.number} is {there} at the channel and {here} here"
    for refund in refunds.values():
        at_channel = books.refunds.get(refund.refund_id)
        is_done = at_channel is not None and at_channel.state == "SUCCESS"
        if is_done != (refund.state == "SUCCEEDED"):
            said = at_channel.state if at_channel else "unknown"
            yield f"refund {refund.refund_id} is {refund.state} here and {said} at the channel"
    forms: dict[str, set[tuple[str, int]]] = defaultdict(set)
    for send in books.sends:
        forms[send.number].add((send.payment_id, send.amount_minor))
        if send.number not in refunds:
            yield f"a refund was sent under the number {send.number}, which is none of ours"
    for number, sent in forms.items():
        if len(sent) > 1:
            yield f"refund {number} was sent with {len(sent)} different contents"


# ---------------------------------------------------------------------------------------------- streams


def broken_streams(watched: Iterable[Watched], orders: Orders) -> Iterator[str]:
    """Where a watcher did not see every version once, in order, as it is stored."""
    for one in watched:
        order = orders.get(one.order_id)
        if order is None:
            yield f"a watcher saw order {one.order_id}, which is not there"
            continue
        versions = [version for version, _ in one.seen]
        if versions != list(range(1, order.version + 1)):
            yield f"a watcher of {one.order_id} saw {_runs(versions)} instead of 1..{order.version}"
        elif tuple(one.seen) != order.events:
            yield f"a watcher of {one.order_id} saw other events than are stored"


def broken_feed(entries: Sequence[FeedEntry], orders: Orders) -> Iterator[str]:
    """Where a reader of the app's feed did not see every event of every order once, in order."""
    cursors = [entry.cursor for entry in entries]
    if cursors != sorted(set(cursors)):
        yield "the feed's cursor went back, or stood still"
    seen: dict[str, list[int]] = defaultdict(list)
    for entry in entries:
        seen[entry.order_id].append(entry.version)
    for order_id in sorted(seen.keys() | orders.keys()):
        order = orders.get(order_id)
        if order is None:
            yield f"the feed has order {order_id}, which is not there"
        elif seen[order_id] != list(range(1, order.version + 1)):
            yield f"the feed has {_runs(seen[order_id])} of {order_id} instead of 1..{order.version}"


def _runs(versions: Sequence[int]) -> str:
    """Versions in short: 1..4, 6..9."""
    runs: list[list[int]] = []
    for version in versions:
        if runs and version == runs[-1][1] + 1:
            runs[-1][1] = version
        else:
            runs.append([version, version])
    return ", ".join(str(first) if first == last else f"{first}..{last}" for first, last in runs) or "nothing"


def misread_events(order: Order) -> Iterator[str]:
    """Where an order's own events are not 1..n."""
    versions = [version for version, _ in order.events]
    if versions != list(range(1, order.version + 1)):
        yield f"order {order.order_id} has the events {_runs(versions)} instead of 1..{order.version}"


# ---------------------------------------------------------------------------------------------- rest


def unsettled(order: Order, books: Books) -> list[str]:
    """What is still under way in an order once nothing goes wrong any more. Empty: it has come to rest.

    A payment that the channel has never heard of may wait for its expiry and the margin after it: "not found" proves
    nothing before, and its order stays CLOSING until then.
    """
    waiting = [
        f"payment {one.payment_id} is {one.state}"
        for one in order.payments
        if one.state not in SETTLED_PAYMENTS and one.payment_id in books.trades
    ]
    waiting += [f"refund {one.refund_id} is {one.state}" for one in order.refunds if one.state not in SETTLED_REFUNDS]
    waiting += [
        f"money of payment {one.payment_id} is not heard of"
        for one in order.payments
        if one.payment_id in books.trades and books.trades[one.payment_id].taken_minor > one.captured_minor
    ]
    waiting += [f"{kind} is open" for kind in order.open_anomalies]
    has_unheard = any(
        one.state not in SETTLED_PAYMENTS and one.payment_id not in books.trades for one in order.payments
    )
    if order.state == "PENDING" or (order.state == "CLOSING" and not has_unheard):
        waiting.append(f"it is {order.state}")
    paid = [one for one in order.payments if one.captured_minor > one.refunded_minor]
    if order.state == "CLOSED" and paid:
        waiting.append(f"money of {', '.join(one.payment_id for one in paid)} is kept by a closed order")
    if order.state == "PAID" and len(paid) > 1:
        waiting.append("more than one payment keeps its money")
    return waiting
