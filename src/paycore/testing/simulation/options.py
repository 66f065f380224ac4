"""What one seed's world is like. Each seed draws its own faults: some have many of a few kinds, some have none of most.

Uniform faults hide bugs: what a notice missed a query heals, and the other way round. So a seed may switch a whole road
off, until the very end.
"""

import random
from dataclasses import dataclass, fields
from enum import StrEnum


class Roads(StrEnum):
    """By which ways we may learn of a payment."""

    BOTH = "both"
    NOTICES = "notices only"
    """No query of ours is ever answered."""
    QUERIES = "queries only"
    """No notice ever arrives."""


@dataclass(frozen=True, slots=True)
class Options:
    """One world. Rates are probabilities at each occasion, times are seconds."""

    seed: int
    roads: Roads
    shuffle: float
    """How often the dice decides which ready step comes next; else first come, first served."""
    processes: int
    orders: int
    expiry_seconds: int

    network_faults: float
    slow_calls: float
    """Calls to the channel that take longer than a lease."""
    channel_seconds: float
    stale_reads: float
    store_faults: float
    store_seconds: float
    caller_faults: float
    """Requests that never arrive, and answers that are lost on their way back."""

    kill_every: float | None
    """Mean seconds between deaths of a process; None for never."""
    edge_kills: float
    """Deaths right after a commit, a send or an acknowledgement."""
    away_seconds: float
    """How long a process that died stays away at most."""
    skew_seconds: float
    """How far clocks of processes are off at most."""
    clock_jumps: bool

    notice_loss: float
    notice_twice: float
    notice_late: float
    late_seconds: float
    forged_notices: float

    mischief: float
    """How often the plugin's own code raises, talks nonsense, or says what nobody vouches for."""
    hidden_trades: bool
    """To the merchant a trade does not exist before its payer has entered it."""
    pays_at_the_edge: bool
    pays_in_bursts: bool
    """Whoever pays pays all open attempts of the order in the same instant."""
    pays_when_over: float
    pays_other_amounts: float
    pays_other_merchants: float
    refund_seconds: float | None
    """How long the channel takes to make a refund; None: until somebody ends it."""
    bad_refund_ends: float

    forged_beside: float = 0.0
    """How often a forged notice comes beside a genuine one; `forged_notices` come in its place."""
    rough_seconds: float = 420.0
    """How long people have before the faults stop."""
    channel: str = "sandbox"
    """Whose plugin and simulator it is played with. It changes no draw."""

    @property
    def clocks_are_good(self) -> bool:
        """Whether what a process thinks is past is past at the channel too, give or take less than a margin."""
        return self.skew_seconds <= 10

    def __str__(self) -> str:
        return "\n".join(f"  {one.name:<22} {getattr(self, one.name)}" for one in fields(self))


def draw(seed: int, channel: str = "sandbox") -> Options:
    """The world of a seed, before its channel takes out of it what it does not have."""
    dice = random.Random(f"options {seed}")  # noqa: S311 - the same again is what is wanted
    one = dice.choice
    roads = one([Roads.BOTH, Roads.BOTH, Roads.BOTH, Roads.NOTICES, Roads.QUERIES])
    is_rough = dice.random() < 0.9
    network = one([0.0, 0.05, 0.15, 0.4, 0.8]) if is_rough else 0.0
    has_notices = roads is not Roads.QUERIES
    has_queries = roads is not Roads.NOTICES
    return Options(
        seed=seed,
        roads=roads,
        shuffle=one([0.0, 0.2, 1.0]),
        processes=one([1, 2, 2]),
        orders=one([1, 2, 3]),
        expiry_seconds=one([60, 90, 180, 300]),
        network_faults=network,
        slow_calls=one([0.0, 0.0, 0.05, 0.2]) if is_rough else 0.0,
        channel_seconds=one([0.02, 0.1, 2.0]),
        stale_reads=one([0.0, 0.0, 0.2, 0.8]) if is_rough else 0.0,
        store_faults=one([0.0, 0.01, 0.05]) if is_rough else 0.0,
        store_seconds=one([0.0, 0.001, 0.01, 0.3]),
        caller_faults=one([0.0, 0.05, 0.2]) if is_rough else 0.0,
        kill_every=one([None, 60.0, 15.0]) if is_rough else None,
        edge_kills=one([0.0, 0.0, 0.02, 0.05]) if is_rough else 0.0,
        away_seconds=one([1.0, 10.0, 45.0]),
        skew_seconds=one([0.0, 0.0, 2.0, 90.0, 600.0]),
        clock_jumps=one([False, True]),
        notice_loss=one([0.0, 0.0, 0.15, 0.6]) if has_notices else 1.0,
        notice_twice=one([0.0, 0.2, 0.6]),
        notice_late=one([0.0, 0.0, 0.2, 0.5]),
        late_seconds=one([30.0, 120.0, 4 * 3600.0, 20 * 3600.0]) if has_queries else one([30.0, 120.0]),
        forged_notices=one([0.0, 0.1]) if has_queries else 0.0,
        mischief=one([0.0, 0.0, 0.0, 0.05]) if is_rough else 0.0,
        hidden_trades=one([False, False, True]),
        pays_at_the_edge=one([False, False, True]),
        pays_in_bursts=one([False, False, True]),
        pays_when_over=one([0.0, 0.3, 1.0]),
        pays_other_amounts=one([0.0, 0.0, 0.3]),
        pays_other_merchants=one([0.0, 0.0, 0.0, 0.2]) if has_queries else 0.0,
        refund_seconds=one([0.0, 0.0, 5.0, 60.0, None]),
        bad_refund_ends=one([0.0, 0.0, 0.3]),
        channel=channel,
    )
