"""Payers and clerks at a plugin's channel, as far as its simulator has them."""

import itertools
import random
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from paycore.channel import Forged, KitSimulator, LateMoney, Method, PayerInputs, Price, Storefront, TradeSeen
from paycore.testing.simulation.counterpart import NotPossible
from paycore.testing.simulation.counterparts.listening import Listener
from paycore.testing.simulation.rows import PaymentRow
from paycore.testing.simulation.timing import true_now
from paycore.v1 import common_pb2

CLIENT_IP = "203.0.113.7"
STARTS_AGAIN = (300.0, 1100.0)
"""When a phone that was put away after a purchase is started again: its evidence is old by then."""


@contextmanager
def _refusing() -> Iterator[None]:
    """What the simulator would not let anybody do."""
    try:
        yield
    except (ValueError, LookupError, Forged) as error:
        raise NotPossible(str(error)) from None


class PluggedStreet:
    """Who pays there, and who works in the console."""

    def __init__(self, methods: Sequence[Method], simulator: KitSimulator, listener: Listener) -> None:
        self._exact = [method for method in methods if method.price is Price.EXACT]
        self._stores = [method for method in methods if method.price is Price.STORE]
        self._methods = {method.name: method for method in methods}
        self._simulator = simulator
        self._listener = listener
        self._numbers = itertools.count(1)
        self._evidence: dict[str, str] = {}
        self.sold: dict[str, str] = {}
        """The tokens of what was bought in the store, by the payments that they belong to."""
        self.given_back: dict[str, None] = {}
        """Those whose money the store gave back, some time."""
        self.taken_back: dict[str, None] = {}
        """Those of them whose money it took back again."""

    # ------------------------------------------------------------------------------------ orders

    def product(self, dice: random.Random, number: int) -> str:
        """Where there is a store, all orders are for it, or some."""
        has_product = self._stores and (not self._exact or dice.random() < 0.15)
        return f"product{number}" if has_product else ""

    def method(self, dice: random.Random, product: str) -> str:
        return dice.choice(self._stores if product and self._stores else self._exact or self._stores).name

    def client(self, method: str) -> common_pb2.ClientContext:
        faces = self._methods[method].faces
        return common_pb2.ClientContext(face=next(iter(faces), "pc"), client_ip=CLIENT_IP)

    def cashier(self) -> common_pb2.ClientContext:
        return self.client(next(iter(self._methods)))

    def inputs(self, method: str) -> Mapping[str, str]:
        if not isinstance(self._simulator, PayerInputs):
            return {}
        return self._simulator.hand_in(method, next(self._numbers))

    # ------------------------------------------------------------------------------------ payers

    def _seen(self, payment: PaymentRow) -> TradeSeen:
        seen = self._simulator.trade(payment.payment_id)
        if seen is None:
            raise NotPossible(f"there is no trade {payment.payment_id}")
        return seen

    def knows(self, payment: PaymentRow) -> bool:
        return self._simulator.trade(payment.payment_id) is not None

    def asked_minor(self, payment: PaymentRow) -> int:
        return self._seen(payment).amount_minor

    def is_over(self, payment: PaymentRow) -> bool:
        return self._seen(payment).is_closed

    def enter(self, payment: PaymentRow, plan_json: str) -> None:
        """Whoever has no plan, or whose code was scanned, has nothing to enter."""
        if plan_json and not self._methods[payment.method].may_pay_at_prepare:
            with _refusing():
                self._simulator.accept(plan_json, true_now())

    def pay(self, payment: PaymentRow, *, amount_minor: int, is_elsewhere: bool, even_if_over: bool) -> None:
        number, now = payment.payment_id, true_now()
        try:
            self._simulator.pay(number, now, amount_minor=amount_minor)
        except (ValueError, LookupError) as error:
            if not even_if_over or not isinstance(self._simulator, LateMoney):
                raise NotPossible(str(error)) from None
            with _refusing():
                self._simulator.pay_late(number, now, amount_minor=amount_minor)

    def begin_paying(self, payment: PaymentRow) -> None:
        """Whoever has entered has begun."""

    def decline(self, payment: PaymentRow) -> None:
        with _refusing():
            self._simulator.decline(payment.payment_id, true_now())

    def stop_paying(self, payment: PaymentRow) -> None:
        """Nothing comes of it."""

    def buy(self, payment: PaymentRow, product: str, plan_json: str, *, amount_minor: int) -> str:
        """Buy by a plan, once. The store announces it, and the phone keeps the evidence until somebody wants it."""
        store, now = self._simulator, true_now()
        if not plan_json or payment.payment_id in self.sold or not isinstance(store, Storefront):
            raise NotPossible("there is nothing to buy")
        with _refusing():
            evidence = store.purchase(plan_json, now, amount_minor=amount_minor)
        self.sold[payment.payment_id] = payment.token
        self._evidence[payment.payment_id] = evidence
        store.announce_sale(payment.token, now)
        return evidence

    def hands_in_after(self, dice: random.Random) -> Sequence[float]:
        """At once, or when the phone is started again, or both, or never."""
        late = dice.uniform(*STARTS_AGAIN)
        return dice.choice([(0.0,), (0.0, late), (late,), (late, late + 60), ()])

    def unfinished(self) -> Mapping[str, str]:
        return self._evidence

    # ------------------------------------------------------------------------------------ clerks

    def left_minor(self, payment: PaymentRow) -> int:
        if isinstance(self._simulator, Storefront) and self._methods[payment.method].price is Price.STORE:
            sale = self._simulator.sale(payment.token)
            return 0 if sale is None or payment.token in self.given_back else sale.paid_minor
        seen = self._simulator.trade(payment.payment_id)
        if seen is None or self._methods[payment.method].may_pay_at_prepare:
            return 0  # what a till was paid may have no notices; a refund of it that nobody asked for is the statement's to tell
        promised = max(seen.returned_minor, sum(self._simulator.refunds(payment.payment_id).values()))
        return seen.paid_minor - promised

    def refund_in_console(self, payment: PaymentRow, amount_minor: int) -> None:
        if isinstance(self._simulator, Storefront) and self._methods[payment.method].price is Price.STORE:
            self._simulator.give_back(payment.token, true_now())
            self.given_back[payment.token] = None
            return
        with _refusing():
            self._simulator.refund_in_console(payment.payment_id, true_now(), amount_minor=amount_minor)

    def may_bounce(self, payments: Sequence[PaymentRow]) -> str:
        tokens = (payment.token for payment in payments if payment.token)
        return next((one for one in tokens if one in self.given_back and one not in self.taken_back), "")

    def bounce(self, number: str) -> None:
        if isinstance(self._simulator, Storefront):
            self._simulator.take_back(number, true_now())
            self.taken_back[number] = None
