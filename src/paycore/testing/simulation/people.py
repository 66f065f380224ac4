"""Those who ask: a shop that wants to be paid, payers who change their minds, clerks who refund and close, all at once.

Every one of them asks again with the same request when no answer comes. Who pays looks at a phone, not at our answers:
an attempt can be paid although the answer that made it was lost.
"""

import asyncio
import random
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from paycore.testing.simulation.calling import Broken, Caller, Refusal
from paycore.testing.simulation.options import Roads
from paycore.testing.simulation.requests import POLICIES, REMEDIES
from paycore.testing.simulation.rows import PaymentRow
from paycore.testing.simulation.timing import SECOND, true_now
from paycore.testing.simulation.watchers import Watcher
from paycore.v1 import cashier_pb2, order_pb2, refund_pb2
from paycore_bridge import Plan
from paycore_sandbox.simulator import NotPayable

if TYPE_CHECKING:
    from paycore.testing.simulation.world import World

METHODS = ("qr", "qr", "redirect", "app")
CHANGED = "the same request with another content"


@dataclass(slots=True)
class Life:
    """One order and everybody around it."""

    world: "World"
    number: int
    dice: random.Random
    order: Any = None
    product: str = ""

    @property
    def order_id(self) -> str:
        return str(self.order.order_id)

    @property
    def shop(self) -> Caller:
        return self.world.shop

    async def live(self) -> None:
        """From the order's birth until nobody wants anything of it any more."""
        await self.pause(5)
        await self.create()
        crowd: list[Coroutine[Any, Any, None]] = [self.payers(), self.phone(), self.clerks()]
        if self.dice.random() < 0.6:
            self.world.watchers.append(watcher := Watcher(self.world, self.order_id))
            self.world.begin(watcher.watch())
        if self.dice.random() < 0.3:
            crowd.append(self.closer())
        if self.dice.random() < 0.3:
            crowd.append(self.cashier())
        if self.dice.random() < self.world.options.pays_when_over:
            crowd.append(self.latecomer())
        await asyncio.gather(*crowd)

    async def pause(self, seconds: float) -> None:
        """Some time passes; less when the weather is calm, and everybody hurries to an end."""
        most = 1.0 if self.world.weather.is_calm else seconds
        await asyncio.sleep(self.dice.uniform(0, most))

    # ------------------------------------------------------------------------------------ the shop

    async def create(self) -> None:
        """Make the order; sometimes the same call goes out twice at once, sometimes again with another content."""
        amount_minor, world = self.dice.randrange(100, 100_000), self.world
        has_store = world.options.roads is not Roads.NOTICES  # only a query ends an attempt at the store
        self.product = f"product{self.number}" if has_store and self.dice.random() < 0.15 else ""
        policy, request = self.dice.choice(POLICIES), None
        while self.order is None:
            request = world.requests.order(
                amount_minor, expires_at=self.wanted_expiry(), policy=policy, product=self.product
            )
            calls = [self.try_to(self.shop, "CreateOrder", request) for _ in range(self.dice.choice([1, 1, 2]))]
            for answer in await asyncio.gather(*calls):
                if answer is not None:  # else it took so long to arrive that its expiry came too near
                    world.promises.same_object("CreateOrder", request.request_id, answer.order.order_id)
                    self.order = answer.order
        if request is not None and self.dice.random() < 0.2:
            await self.ask_differently(request)

    def wanted_expiry(self) -> int:
        options = self.world.options
        return true_now() + round((options.expiry_seconds + options.skew_seconds + 30) * SECOND)

    async def ask_differently(self, request: order_pb2.CreateOrderRequest) -> None:
        """The same request_id with another content is refused, and nothing comes of it."""
        other = order_pb2.CreateOrderRequest()
        other.CopyFrom(request)
        other.subject = "two cups of tea"
        try:
            await self.shop.insist("CreateOrder", other)
        except Refusal:
            return
        self.world.violated("idempotent", f"CreateOrder {request.request_id}: {CHANGED} was answered with OK")

    # ------------------------------------------------------------------------------------ payers choose

    async def payers(self) -> None:
        """Choose a way to pay, now and then another one, now and then twice at once."""
        for _ in range(self.dice.choice([1, 2, 2, 3])):
            await self.pause(20)
            method = "store" if self.product and self.dice.random() < 0.7 else self.dice.choice(METHODS)
            clicks = self.dice.choice([1, 1, 1, 2])
            same = self.world.requests.payment(self.order_id, method)
            asked = [
                same if self.dice.random() < 0.5 else self.world.requests.payment(self.order_id, method)
                for _ in range(clicks)
            ]
            await asyncio.gather(*(self.choose(self.shop, "PayOrder", request) for request in asked))

    async def choose(self, caller: Caller, rpc: str, request: Any) -> None:
        """Begin a payment. In the way of another one: ask again a few times, then let it be."""
        for _ in range(3):
            try:
                answer = await caller.insist(rpc, request)
            except Refusal as refusal:
                if refusal.reason != "PAYMENT_IN_PROGRESS":
                    return
                await self.pause(4)
                continue
            self.world.promises.same_object(rpc, request.request_id, answer.payment.payment_id)
            return

    async def cashier(self) -> None:
        """Pay through a cashier session, watch it, and report what the phone says."""
        try:
            made = await self.shop.insist("CreateCashierSession", self.world.requests.session(self.order_id))
        except Refusal:
            return
        session = self.world.caller(made.session_token)
        watcher = Watcher(self.world, self.order_id, session=(made.session.session_id, session))
        self.world.watchers.append(watcher)
        self.world.begin(watcher.watch())
        await self.pause(10)
        request = self.world.requests.submission(made.session.session_id, self.order_id, self.dice.choice(METHODS))
        await self.choose(session, "SubmitPayment", request)
        for payment in self.world.payments_of(self.order_id)[:1]:
            outcome = self.dice.choice([number for number in cashier_pb2.ClientOutcome.values() if number])
            report = cashier_pb2.ReportClientResultRequest(payment_id=payment.payment_id, outcome=outcome)
            await self.try_to(session, "ReportClientResult", report)

    # ------------------------------------------------------------------------------------ payers pay

    async def phone(self) -> None:
        """Somebody with a phone pays, or declines, or pays what is long over."""
        options = self.world.options
        for _ in range(self.dice.choice([0, 1, 1, 2, 3])):
            if options.pays_at_the_edge and not self.world.weather.is_calm:
                due = self.order.expire_time.ToMicroseconds() - true_now() + round(self.dice.uniform(-10, 10) * SECOND)
                await asyncio.sleep(max(due, 0) / SECOND)
            else:
                await self.pause(60)
            payments = self.world.payments_of(self.order_id)
            if payments and not self.world.weather.is_calm:
                chosen = payments if options.pays_in_bursts else [self.dice.choice(payments)]
                for payment in chosen:
                    self.act(payment)

    async def latecomer(self) -> None:
        """Somebody whose money was under way when everybody else thought that the order was settled."""
        while not self.world.weather.is_calm:
            await self.pause(20)
            order = self.world.ledger.rows.orders[self.order_id]
            if order.state in ("PAID", "CLOSED"):
                break
        await self.pause(30)
        for payment in self.world.payments_of(self.order_id)[: self.dice.choice([1, 1, 2])]:
            if self.world.weather.is_calm or payment.payment_id not in self.world.channel.books.trades:
                return
            try:
                with self.world.channel.happening():
                    self.pay(payment.payment_id, even_if_over=True)
            except NotPayable:
                continue

    def act(self, payment: PaymentRow) -> None:
        """Do something with one attempt, if the channel lets us."""
        world, now = self.world, true_now()
        try:
            with world.channel.happening():
                if payment.method == "store":
                    self.buy(payment)
                    return
                if payment.method == "app":
                    self.open_app(payment)
                match self.dice.choice(["pay", "pay", "pay", "pay", "begin", "decline", "stop"]):
                    case "pay":
                        self.pay(payment.payment_id)
                    case "begin":
                        world.channel.simulator.begin_paying(payment.payment_id, now)
                    case "decline":
                        world.channel.simulator.decline(payment.payment_id, now)
                    case _:
                        world.channel.simulator.stop_paying(payment.payment_id, now)
        except (NotPayable, LookupError):
            return

    def pay(self, payment_id: str, *, even_if_over: bool = False) -> None:
        options, weather = self.world.options, self.world.weather
        trade = self.world.channel.books.trades[payment_id]
        amount_minor = trade.amount_minor
        if weather.strikes("payer: another amount", options.pays_other_amounts):
            amount_minor = max(amount_minor + self.dice.choice([-1, 1, 500]), 1)
        other = "OTHER" if weather.strikes("payer: another merchant", options.pays_other_merchants) else ""
        even_if_over = even_if_over or self.dice.random() < options.pays_when_over
        if trade.state in ("CLOSED", "DECLINED"):
            weather.count("payer: pays what is over")
        self.world.channel.simulator.pay(
            payment_id, true_now(), amount_minor=amount_minor, paid_to=other, even_if_over=even_if_over
        )
        self.world.loop.note(f"somebody paid {payment_id}")

    def open_app(self, payment: PaymentRow) -> None:
        """Hand the order to the wallet, however old it is."""
        plan = self.world.plan_of(payment.payment_id)
        if plan:
            arguments = Plan.from_json(plan).steps[0].params["arguments"]
            self.world.channel.simulator.open_app(arguments["orderString"], true_now())

    def buy(self, payment: PaymentRow) -> None:
        """Buy in the store, and let the app hand in the receipt, or not."""
        receipt = self.world.channel.simulator.buy(
            self.product, payment.token, true_now(), amount_minor=self.dice.randrange(100, 1000)
        )
        self.world.loop.note(f"somebody bought for {payment.payment_id}")
        if self.dice.random() < 0.7:
            request = cashier_pb2.ConfirmPaymentRequest(
                channel="sandbox",
                evidence=receipt,
                payment_id=payment.payment_id,
                request_id=self.world.requests.fresh("confirm"),
            )
            self.world.begin(self.try_to(self.shop, "ConfirmPayment", request))

    # ------------------------------------------------------------------------------------ clerks

    async def closer(self) -> None:
        await self.pause(120)
        await self.try_to(self.shop, "CloseOrder", self.world.requests.close(self.order_id))

    async def clerks(self) -> None:
        """Ask how it stands, refund twice at once and more than there is, look at what went wrong."""
        for _ in range(self.dice.choice([1, 2, 3, 4])):
            await self.pause(40)
            match self.dice.choice(
                ["sync", "refund", "refund", "refund", "console", "bounce", "bounce", "remedy", "retry"]
            ):
                case "sync":
                    await self.try_to(self.shop, "SyncOrder", order_pb2.SyncOrderRequest(order_id=self.order_id))
                case "refund":
                    await asyncio.gather(*(self.refund() for _ in range(self.dice.choice([1, 2, 3]))))
                case "console":
                    self.refund_in_console()
                case "bounce":
                    self.bounce()
                case "remedy":
                    await self.remedy()
                case "retry":
                    await self.retry()

    async def refund(self) -> None:
        amount_minor = round(self.order.amount.amount_minor * self.dice.choice([0.3, 0.6, 1.0])) or 1
        request = self.world.requests.refund(self.order_id, amount_minor)
        answer = None
        for _ in range(self.dice.choice([1, 1, 2])):  # who is not sure asks again
            answer = await self.try_to(self.shop, "CreateRefund", request)
            if answer is None:
                return
            self.world.promises.same_object("CreateRefund", request.request_id, answer.refund.refund_id)
        if answer is not None and self.dice.random() < 0.3:
            sync = refund_pb2.SyncRefundRequest(refund_id=answer.refund.refund_id)
            await self.try_to(self.shop, "SyncRefund", sync)
        if self.dice.random() < 0.25:
            await self.pause(15)
            self.bounce()

    def refund_in_console(self) -> None:
        """Somebody at the merchant refunds past us. Only a notice tells of it once the payment has succeeded."""
        if not self.hears_everything():
            return
        for payment in self.world.payments_of(self.order_id):
            trade = self.world.channel.books.trades.get(payment.payment_id)
            if trade is not None and trade.state == "PAID" and not trade.paid_to:
                left = trade.taken_minor - trade.returned_minor
                if left > 0:
                    with self.world.channel.happening():
                        self.world.channel.simulator.refund_in_console(
                            payment.payment_id, true_now(), amount_minor=self.dice.randrange(1, left + 1)
                        )
                    return

    def hears_everything(self) -> bool:
        """Whether what only a notice tells will be told, sooner or later."""
        options = self.world.options
        return options.notice_loss < 1 and not options.forged_notices and not self.world.weather.is_calm

    def bounce(self) -> None:
        """A refund that was done comes back, and somebody says so."""
        if not self.hears_everything():
            return
        mine = {payment.payment_id for payment in self.world.payments_of(self.order_id)}
        for number, refund in self.world.channel.books.refunds.items():
            if refund.state == "SUCCESS" and refund.out_trade_no in mine:
                with self.world.channel.happening():
                    self.world.channel.simulator.bounce_refund(number, true_now())
                self.world.loop.note(f"refund {number} bounced")
                return

    async def remedy(self) -> None:
        """A person decides about something that is open."""
        mine = [one for one in self.world.ledger.rows.anomalies if one.is_open and one.order_id == self.order_id]
        if mine:
            request = self.world.requests.remedy(
                self.dice.choice(mine).anomaly_id, self.order_id, self.dice.choice(REMEDIES)
            )
            await self.try_to(self.shop, "ResolveAnomaly", request)

    async def retry(self) -> None:
        mine = [one for one in self.world.ledger.rows.refunds.values() if one.order_id == self.order_id]
        if mine:
            refund = self.dice.choice(mine)
            await self.try_to(self.shop, "RetryRefund", self.world.requests.retry(refund.refund_id))

    async def try_to(self, caller: Caller, rpc: str, request: Any) -> Any:
        """The response; None where it is refused."""
        try:
            return await caller.insist(rpc, request)
        except (Refusal, Broken):
            return None
