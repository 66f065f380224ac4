"""A shop for operators' commands: a database with an app, an account at the sandbox channel, orders when they are needed."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from paycore.channel import Paid
from paycore.core.facts import PaymentHeard, Via
from paycore.core.order import Details, Order, SurplusPolicy
from paycore.core.refusals import Refused
from paycore.engine import Engine
from paycore.engine.carrier import HttpCarrier
from paycore.engine.cashier import Choice
from paycore.engine.clock import SystemClock
from paycore.engine.host import Host
from paycore.engine.ids import SystemIds
from paycore.engine.keyring import open_keyring
from paycore.engine.orders import OrderDraft
from paycore.engine.tell import Telling
from paycore.store import Store
from paycore_sandbox import SandboxSimulator
from tests.cli.running import Outcome, command

T = TypeVar("T")

AMOUNT = 1_280


@dataclass
class Shop:
    """What a test needs to act as an operator, and as the server beside it."""

    url: str
    folder: Path
    simulator: SandboxSimulator

    @property
    def variables(self) -> dict[str, str]:
        return {"PAYCORE_DATABASE_URL": self.url, "PAYCORE_MASTER_KEY_FILE": str(self.folder / "master.key")}

    def run(self, *arguments: str, stdin: str = "") -> Outcome:
        """One command of an operator."""
        return command(*arguments, stdin=stdin, variables=self.variables)

    def json(self, *arguments: str, stdin: str = "") -> Any:
        """What a command says as JSON; it must succeed and say nothing else."""
        done = self.run(*arguments, "--json", stdin=stdin)
        assert done.code == 0, done.err
        return done.json

    def account_settings(self, **changed: str) -> str:
        """What an account at the simulated channel needs, as the JSON that an operator hands in."""
        return json.dumps(dict(self.simulator.settings("http://127.0.0.1:9/sandbox")) | changed)

    def open(self) -> tuple[str, str, str]:
        """Migrate, add the app and its account. Returns the app's id, its key and the account's id."""
        self.json("migrate")
        self.json("master-key", "make")
        app = self.json("apps", "add", "shop")
        account = self.json(
            "accounts", "add", "sandbox", "--app", "shop", "--settings", "-", stdin=self.account_settings()
        )
        return app["app"]["app_id"], app["api_key"], account["account"]["account_id"]

    def act(self, work: Callable[[Engine], Awaitable[T]]) -> T:
        """Do something as a server would, on the same database."""

        async def act() -> T:
            clock = SystemClock()
            store = Store.open(self.url, pool_size=2, check_durability=False)
            engine = Engine(
                store,
                host=Host.load(allow=["sandbox"]),
                keyring=open_keyring(path=self.folder / "master.key"),
                carrier=HttpCarrier(),
                clock=clock,
                ids=SystemIds(clock),
                public_base_url="",
            )
            try:
                return await work(engine)
            finally:
                await engine.stop()
                store.close()

        return asyncio.run(act())

    def order(self, app_id: str, number: str, *, surplus_policy: SurplusPolicy = SurplusPolicy.HOLD) -> Order:
        """A new order."""

        async def create(engine: Engine) -> Order:
            draft = OrderDraft(AMOUNT, "CNY", Details("Tea"), merchant_order_no=number, surplus_policy=surplus_policy)
            return (await engine.create_order(app_id, draft, None)).order

        return self.act(create)

    def open_payment(self, app_id: str, order_id: str) -> Order:
        """The order with an app payment under way; preparing one asks the channel nothing."""

        async def pay(engine: Engine) -> Order:
            choice = Choice("sandbox", "app", target="android")
            return (await engine.pay(app_id, order_id, choice, None)).order

        return self.act(pay)

    def hear_of_purchase(self, app_id: str) -> None:
        """A phone brings a store's purchase that names no payment of ours, and is refused."""

        async def hear(engine: Engine) -> None:
            stranger = "0f8fad5b-d9cb-469f-a165-70867728950e"
            receipt = self.simulator.buy("gold.100", stranger, engine.clock.now(), amount_minor=AMOUNT)
            with contextlib.suppress(Refused):
                await engine.confirm(app_id, "sandbox", receipt)

        self.act(hear)

    def hear_paid(self, order: Order, *, amount_minor: int = AMOUNT) -> Order:
        """The channel says that the order's payment was paid."""
        payment = order.payments[0]
        paid = Paid(
            amount_minor=amount_minor,
            currency="CNY",
            merchant=payment.merchant,
            channel_trade_no="ST1",
            paid_at=payment.created_at,
        )

        async def hear(engine: Engine) -> Order:
            fact = PaymentHeard(payment.payment_id, Via.NOTICE, paid, None, None)
            return (await engine.teller.tell(Telling(order.order_id, fact))).order

        return self.act(hear)
