"""The one pure function that says what a fact means: `decide(order, fact, now) -> Decision`."""

from dataclasses import dataclass

from paycore.core.events import Event
from paycore.core.facts import Fact
from paycore.core.order import Order
from paycore.core.refusals import Refused


@dataclass(frozen=True, slots=True)
class ReferenceClaim:
    """A reference at a channel that may belong to one payment only. A claim that is lost refuses the fact."""

    channel: str
    environment: str
    kind: str
    value: str
    payment_id: str


Claim = ReferenceClaim


@dataclass(frozen=True, slots=True)
class Decision:
    """What a fact means: the order afterwards, what is announced, and what must hold outside the order.

    `subject_id` is the row that the fact turned out to be about: an order asked for twice or a payment that already
    waits keeps its first id. `refusal` is set when something had to be stored and the teller is to be refused all the
    same (a notice that names another merchant).
    """

    order: Order
    events: tuple[Event, ...] = ()
    claims: tuple[Claim, ...] = ()
    subject_id: str = ""
    refusal: Refused | None = None


def decide(order: Order | None, fact: Fact, now: int) -> Decision:
    """Say what a fact means for an order. Raises Refused when the order's state forbids what is asked."""
    raise NotImplementedError
