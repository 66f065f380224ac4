"""Runs one seed: fences it in, listens to it, and says what became of it."""

import logging
import random
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from paycore.engine import accounts, clock_work, hub
from paycore.testing.simulation.counterparts import maker_of
from paycore.testing.simulation.keys import parsing_once
from paycore.testing.simulation.loop import SimDeadlock, SimLoop, SimRunaway
from paycore.testing.simulation.options import Options, draw
from paycore.testing.simulation.timing import SECOND
from paycore.testing.simulation.world import Violated, World


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one seed."""

    options: Options
    violation: str
    """The first rule that was broken and how; empty when none was."""
    rule: str
    digest: str
    steps: int
    commits: int
    promises: int
    virtual_seconds: float
    struck: Counter[str] = field(default_factory=Counter)
    trace: list[str] = field(default_factory=list)


def run_seed(seed: int, options: Options | None = None, *, channel: str = "sandbox") -> Outcome:
    """Run the world of one seed to its end, or to the first rule that is broken."""
    options = options or draw(seed, channel)
    options = maker_of(options.channel).fitted(options)
    loop = SimLoop(seed, shuffle=options.shuffle)
    error: BaseException | None = None
    world: World | None = None
    with _quiet(loop), _unhurried(), _chance(seed), parsing_once():
        try:
            world = World(options, loop)
            loop.run_until_complete(world.live())
        except (Violated, SimDeadlock, SimRunaway) as caught:
            error = caught
        except Exception as caught:  # noqa: BLE001 - whatever it is, it is told with the seed that showed it
            error = caught
            loop.note(f"{type(caught).__name__}: {caught}")
        outcome = _outcome(options, loop, world, error)
        loop.close()
    return outcome


def _outcome(options: Options, loop: SimLoop, world: World | None, error: BaseException | None) -> Outcome:
    rule = error.rule if isinstance(error, Violated) else type(error).__name__ if error else ""
    return Outcome(
        options=options,
        violation=f"{type(error).__name__}: {error}" if error else "",
        rule=rule,
        digest=loop.trace.digest,
        steps=loop.steps,
        commits=world.ledger.commits if world else 0,
        promises=world.promises.answers + world.promises.acknowledgements + world.promises.sends if world else 0,
        virtual_seconds=loop.time(),
        struck=world.weather.struck if world else Counter(),
        trace=loop.trace.last(),
    )


@contextmanager
def _chance(seed: int) -> Iterator[None]:
    """The machine's own dice, which product code throws for jitter, falls the same for the same seed."""
    before = random.getstate()
    random.seed(f"chance {seed}")
    try:
        yield
    finally:
        random.setstate(before)


@contextmanager
def _unhurried() -> Iterator[None]:
    """The floors below which nothing waits are laid lower: a simulation pays for every look, and hears by itself."""
    before = clock_work.FLOOR, hub.POLL, accounts.FRESH
    clock_work.FLOOR, hub.POLL, accounts.FRESH = 15 * SECOND, 15 * SECOND, 600 * SECOND
    try:
        yield
    finally:
        clock_work.FLOOR, hub.POLL, accounts.FRESH = before


@contextmanager
def _quiet(loop: SimLoop) -> Iterator[None]:
    """What the product logs goes into the trace, not to the terminal."""
    log = logging.getLogger("paycore")
    listener = _Listener(loop)
    before = log.propagate, log.level
    log.addHandler(listener)
    log.propagate, log.level = False, logging.WARNING
    try:
        yield
    finally:
        log.removeHandler(listener)
        log.propagate, log.level = before


class _Listener(logging.Handler):
    def __init__(self, loop: SimLoop) -> None:
        super().__init__(logging.WARNING)
        self._loop = loop

    def emit(self, record: logging.LogRecord) -> None:
        if self._loop.is_running():
            error = record.exc_info[1] if record.exc_info else None
            self._loop.note(f"log: {record.msg}" + (f" [{type(error).__name__}: {error}]" if error else ""))
