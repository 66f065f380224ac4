"""The sandbox at the other end. Its simulator is known to the last detail: every fault that it can play is played."""

import json
import random
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, ClassVar
from urllib.parse import urlsplit

from paycore.channel import NoticeReply, OutgoingNotice, Reply, Request
from paycore.testing.simulation.counterpart import AFTER, BEFORE, GATE, SPOILT, Call, NotPossible, Told
from paycore.testing.simulation.options import Options, Roads
from paycore.testing.simulation.rows import PaymentRow, RefundRow
from paycore.testing.simulation.timing import SECOND, true_now
from paycore.testing.simulation.truth import MARGIN
from paycore.testing.simulation.weather import Weather
from paycore.v1 import common_pb2, notice_pb2
from paycore_bridge import Plan
from paycore_sandbox import SANDBOX
from paycore_sandbox.simulator import LADDER, Books, Fault, NoticeFault, NotPayable, RefundEnd, SandboxSimulator

QUERIES = frozenset({"trades/query", "refunds/query", "purchases/query"})
MAKING = frozenset({"trades", "refunds"})
METHODS = ("qr", "qr", "redirect", "app")
STORE = "store"
FACES = {"qr": "pc", "redirect": "h5", "app": "android", STORE: "ios"}
ACKNOWLEDGED = b'{"ack":"ok"}'


class SandboxMaker:
    """Makes sandboxes."""

    def fitted(self, options: Options) -> Options:
        return options

    def __call__(self, options: Options, weather: Weather) -> "Sandbox":
        return Sandbox(options, weather)


class Sandbox:
    """The sandbox channel of one world."""

    kind = SANDBOX
    troubles: ClassVar = {
        BEFORE: (Fault.LOST, Fault.REFUSED_BY_PROXY, Fault.RATE_LIMITED),
        AFTER: (Fault.EFFECT_THEN_SILENCE, Fault.EFFECT_THEN_SILENCE, Fault.EFFECT_THEN_ERROR, Fault.EFFECT_THEN_ERROR),
        SPOILT: (Fault.UNSIGNED, Fault.BADLY_SIGNED, Fault.TRUNCATED, Fault.EMPTY, Fault.OTHER_SUBJECT),
    }
    ladder_seconds = 0.0
    stale = Fault.STALE

    def __init__(self, options: Options, weather: Weather) -> None:
        self._options = options
        self._weather = weather
        self._simulator = SandboxSimulator(f"world {options.seed}", ladder=LADDER)
        self._books = self._simulator.books
        self._books.hides_until_entered = options.hidden_trades
        self.truth = SandboxTruth(self._books)
        self.street = SandboxStreet(options, self._simulator)

    def settings(self) -> Mapping[str, str]:
        return self._simulator.settings(GATE)

    def opened(self, notify_url: str) -> None:
        """The shop tells the store its address, and the channel is as slow as this world wants it."""
        self._simulator.purchase_notify_url = notify_url
        seconds = self._options.refund_seconds
        self._books.refund_delay = None if seconds is None else round(seconds * SECOND)

    # ------------------------------------------------------------------------------------ calls

    def understand(self, request: Request) -> Call:
        name = urlsplit(request.url).path.rpartition("/v1/")[2]
        document = json.loads(request.body or b"{}")
        number = document.get("out_refund_no") or document.get("out_trade_no")
        return Call(
            name,
            subject=str(number or document.get("account_token", "")),
            row_id=None if "account_token" in document else str(number or ""),
            asks=name in QUERIES,
            makes=name in MAKING,
            lasting=document if name in MAKING else {},
        )

    def answer(self, call: Call, request: Request, trouble: Fault | None) -> Reply | None:
        if trouble is not None:
            self._simulator.faults.plan(trouble)
        return self._simulator.handle(request, true_now())

    @contextmanager
    def mishaps(self) -> Iterator[None]:
        """Notices may be late or forged, refunds may end badly."""
        faults, options, dice = self._simulator.faults, self._options, self._weather.dice
        if self._weather.strikes("notice: late", options.notice_late):
            faults.plan_notice(NoticeFault.LATE, delay=round(dice.uniform(0, options.late_seconds) * SECOND))
        elif self._weather.strikes("notice: forged", options.forged_notices):
            faults.plan_notice(dice.choice([NoticeFault.FORGED, NoticeFault.WRONG_MERCHANT]))
        if self._weather.strikes("channel: refund ends badly", options.bad_refund_ends):
            self._books.next_refund_ends[:] = [dice.choice([RefundEnd.FAILED, RefundEnd.STUCK, RefundEnd.PROCESSING])]
        try:
            yield
        finally:
            faults.clear()
            self._books.next_refund_ends.clear()

    def settle(self) -> None:
        """Payers put their phones away, and refunds under way come to an end."""
        now, options = true_now(), self._options
        self._books.is_short_of_money = False
        self._books.refund_delay = 0
        for payment_id in list(self._books.trades):
            self._simulator.stop_paying(payment_id, now)
        for number, refund in list(self._books.refunds.items()):
            if refund.state == "PROCESSING" and refund.ends_at is None:
                is_bad = options.bad_refund_ends and self._weather.dice.random() < 0.3
                self._simulator.end_refund(number, RefundEnd.FAILED if is_bad else RefundEnd.SUCCESS, now)

    # ------------------------------------------------------------------------------------ notices

    def due(self, now: int) -> Sequence[OutgoingNotice]:
        return self._simulator.due(now)

    def answered(self, notice: OutgoingNotice, reply: NoticeReply | None, now: int) -> None:
        self._simulator.answered(notice.key, reply, now)

    def next_due(self) -> int | None:
        return self._simulator.next_due()

    @property
    def undelivered(self) -> int:
        return self._simulator.undelivered

    def lateness(self) -> float:
        """The simulator itself holds up what is late."""
        return 0.0

    def forgery(self, notice: OutgoingNotice) -> None:
        """The simulator forges in the place of what is genuine."""

    def is_acknowledged(self, request: notice_pb2.DeliverNoticeRequest, response: Any) -> bool:
        return bool(response.http_status == 200 and response.body == ACKNOWLEDGED)

    def told(self, request: notice_pb2.DeliverNoticeRequest) -> Sequence[Told]:
        notice = json.loads(request.body)
        data = notice["data"]
        if notice["event"] == "trade":
            is_foreign = data["merchant"].endswith("-OTHER") or data["merchant"].startswith("OTHER")
            return [Told(data["state"], payment_id=data["out_trade_no"], is_foreign=is_foreign)]
        if notice["event"] == "refund":
            return [Told(data["state"], refund_id=data["out_refund_no"], channel_refund_no=data["refund_no"])]
        return []


@contextmanager
def _refusing() -> Iterator[None]:
    """What the simulator would not let anybody do."""
    try:
        yield
    except (NotPayable, LookupError) as error:
        raise NotPossible(str(error)) from None


class SandboxStreet:
    """Payers and clerks at the sandbox."""

    def __init__(self, options: Options, simulator: SandboxSimulator) -> None:
        self._options = options
        self._simulator = simulator
        self._books = simulator.books

    def product(self, dice: random.Random, number: int) -> str:
        """Some orders can be paid in the store, but for worlds where only a query could end an attempt there."""
        has_store = self._options.roads is not Roads.NOTICES
        return f"product{number}" if has_store and dice.random() < 0.15 else ""

    def method(self, dice: random.Random, product: str) -> str:
        return STORE if product and dice.random() < 0.7 else dice.choice(METHODS)

    def client(self, method: str) -> common_pb2.ClientContext:
        return common_pb2.ClientContext(face=FACES[method])

    def cashier(self) -> common_pb2.ClientContext:
        return self.client("qr")

    def inputs(self, method: str) -> Mapping[str, str]:
        """Nobody has to hand in anything."""
        return {}

    # ------------------------------------------------------------------------------------ payers

    def knows(self, payment: PaymentRow) -> bool:
        return payment.payment_id in self._books.trades

    def asked_minor(self, payment: PaymentRow) -> int:
        with _refusing():
            return self._books.trades[payment.payment_id].amount_minor

    def is_over(self, payment: PaymentRow) -> bool:
        return self._books.trades[payment.payment_id].state in ("CLOSED", "DECLINED")

    def enter(self, payment: PaymentRow, plan_json: str) -> None:
        """Hand the order to the wallet; codes and pages are there without anybody's doing."""
        if payment.method == "app" and plan_json:
            arguments = Plan.from_json(plan_json).steps[0].params["arguments"]
            with _refusing():
                self._simulator.open_app(arguments["orderString"], true_now())

    def pay(self, payment: PaymentRow, *, amount_minor: int, is_elsewhere: bool, even_if_over: bool) -> None:
        paid_to, number = "OTHER" if is_elsewhere else "", payment.payment_id
        with _refusing():
            self._simulator.pay(
                number, true_now(), amount_minor=amount_minor, paid_to=paid_to, even_if_over=even_if_over
            )

    def begin_paying(self, payment: PaymentRow) -> None:
        with _refusing():
            self._simulator.begin_paying(payment.payment_id, true_now())

    def decline(self, payment: PaymentRow) -> None:
        with _refusing():
            self._simulator.decline(payment.payment_id, true_now())

    def stop_paying(self, payment: PaymentRow) -> None:
        with _refusing():
            self._simulator.stop_paying(payment.payment_id, true_now())

    def buy(self, payment: PaymentRow, product: str, plan_json: str, *, amount_minor: int) -> str:
        with _refusing():
            return self._simulator.buy(product, payment.token, true_now(), amount_minor=amount_minor)

    def hands_in_after(self, dice: random.Random) -> Sequence[float]:
        return [0.0] if dice.random() < 0.7 else []

    def unfinished(self) -> Mapping[str, str]:
        """Phones here forget at once; the store's own notice tells of what they forgot."""
        return {}

    # ------------------------------------------------------------------------------------ clerks

    def left_minor(self, payment: PaymentRow) -> int:
        trade = self._books.trades.get(payment.payment_id)
        is_ours = trade is not None and trade.state == "PAID" and not trade.paid_to
        return trade.taken_minor - trade.returned_minor if trade is not None and is_ours else 0

    def refund_in_console(self, payment: PaymentRow, amount_minor: int) -> None:
        self._simulator.refund_in_console(payment.payment_id, true_now(), amount_minor=amount_minor)

    def may_bounce(self, payments: Sequence[PaymentRow]) -> str:
        mine = {payment.payment_id for payment in payments}
        done = (
            number for number, one in self._books.refunds.items() if one.state == "SUCCESS" and one.out_trade_no in mine
        )
        return next(done, "")

    def bounce(self, number: str) -> None:
        self._simulator.bounce_refund(number, true_now())


class SandboxTruth:
    """The sandbox's books, asked in our words."""

    can_refund = True

    def __init__(self, books: Books) -> None:
        self._books = books

    def sets_price(self, payment: PaymentRow) -> bool:
        return payment.method == STORE

    def taken(self, payment: PaymentRow) -> tuple[int, str]:
        if payment.method == STORE:
            purchase = self._books.purchases.get(payment.token)
            return (0, "") if purchase is None else (purchase.amount_minor, purchase.merchant)
        trade = self._books.trades.get(payment.payment_id)
        return (
            (0, "") if trade is None or not trade.taken_minor else (trade.taken_minor, trade.paid_to or trade.merchant)
        )

    def returned(self, payment: PaymentRow) -> None:
        """Refund by refund: some bounce, some get stuck."""

    def why_not_over(self, payment: PaymentRow, now: int) -> str:
        trade = self._books.trades.get(payment.payment_id)
        if (
            trade is not None
            and trade.state in ("WAITING", "PAYING")
            and not (trade.state == "WAITING" and now >= trade.expires_at)
        ):
            return f"the channel still has it {trade.state}"
        if trade is None and payment.sends and now < payment.expires_at + MARGIN:
            return "it was sent, and the channel may still come to know it"
        return ""

    def refund_state(self, refund: RefundRow) -> str:
        number = refund.refund_id if refund.origin != "CHANNEL" else refund.channel_refund_no
        found = self._books.refunds.get(number)
        return "" if found is None else found.state

    def paid_numbers(self) -> Iterator[tuple[str, int, str]]:
        for number, trade in self._books.trades.items():
            if trade.taken_minor:
                yield number, trade.taken_minor, trade.paid_to or trade.merchant
        for token, purchase in self._books.purchases.items():
            yield token, purchase.amount_minor, purchase.merchant

    def given_back(self, payment_ids: Iterable[str]) -> Iterator[tuple[tuple[str, ...], int]]:
        for number, refund in self._books.refunds.items():
            if refund.state in ("SUCCESS", "BOUNCED"):
                yield (number, refund.refund_no), refund.amount_minor
