"""Runs a few transactions on a real PostgreSQL in every order of their statements.

Each player is a thread with a store of its own, and does what a server would do: nothing of the product knows of this
harness. The driver's cursors and SQLAlchemy's commits wait at a gate, and one player at a time is let through: to its
next statement, or to its end. A statement that waits for another's lock does not come back; PostgreSQL is asked whether
it is so (a slow machine is not taken for a blocked one), and that player's turn is over until the other lets go.

`every_order` walks the tree of all choices. An order that gives a turn to a player that is blocked is the same as one
that does not, so the tree holds all C(n+m, n) orders of two transactions and runs each that differs once.
"""

from __future__ import annotations

import contextlib
import random
import re
import threading
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Self

import psycopg
from psycopg.pq import TransactionStatus
from sqlalchemy import Connection, Engine, event, make_url

from paycore.store import Store
from tests.support import postgres

SOON = 0.001
"""How long a statement may take before PostgreSQL is asked whether it waits for a lock."""
STUCK_SECONDS = 30.0
"""After this nobody is waited for any more: something is wrong with the harness or with the server."""
MANY = 60
"""The most turns of one order; a player that needs more never ends."""

Work = Callable[[], Any]
Choose = Callable[[Sequence[str]], str]


class Stuck(Exception):
    """A player neither came back nor waits for a lock, or two runs of the same choices differed."""


class _Abandoned(BaseException):
    """Ends a player's thread when its run is given up."""


class _State(Enum):
    RUNNING = "runs"
    WAITS = "waits for its turn"
    BLOCKED = "waits for another's lock"
    ENDED = "ended"


# ---------------------------------------------------------------------------------------------- one player


class Player:
    """One transaction's thread. It moves only when it is let go on, to its next statement."""

    def __init__(self, name: str, work: Work, alone: Collection[str]) -> None:
        self.name = name
        self.outcome: Any = None
        """What the work gave, or the exception that it ended with."""
        self.state = _State.RUNNING
        self.next_step = ""
        self.steps: list[str] = []
        self.backend = 0
        self._work = work
        self._alone = alone
        self._changed = threading.Condition()
        self._may_go = threading.Semaphore(0)
        self._is_abandoned = False
        self._thread = threading.Thread(target=self._play, name=f"player {name}", daemon=True)

    def start(self) -> None:
        self._thread.start()

    @property
    def is_blocked(self) -> bool:
        """Whether it stood in front of somebody's lock when it was last looked at."""
        return self.state is _State.BLOCKED

    def _play(self) -> None:
        _here.player = self
        try:
            self.outcome = self._work()
        except _Abandoned:
            pass
        except Exception as error:
            self.outcome = error
        self._become(_State.ENDED)

    def wait_at_gate(self, step: str, backend: int) -> None:
        """Called in the player's own thread before each statement and each commit."""
        if self._is_abandoned or step in self._alone:  # (one that is abandoned rolls back; nobody counts that)
            return
        self.next_step, self.backend = step, backend
        self._become(_State.WAITS)
        self._may_go.acquire()
        if self._is_abandoned:
            raise _Abandoned

    def go_on(self) -> str:
        """Let the player through its gate; what it does now."""
        self.steps.append(self.next_step)
        self.state = _State.RUNNING
        self._may_go.release()
        return self.next_step

    def settle(self, is_blocked: Callable[[int], bool]) -> None:
        """Return when the player stands again: at its next gate, at its end, or in front of somebody's lock."""
        until = time.monotonic() + STUCK_SECONDS
        wait = SOON
        with self._changed:
            self.state = _State.RUNNING if self.state is _State.BLOCKED else self.state
            while self.state is _State.RUNNING:
                if self._changed.wait(wait):
                    continue
                if is_blocked(self.backend) and self.state is _State.RUNNING:
                    self.state = _State.BLOCKED
                elif time.monotonic() > until:
                    raise Stuck(f"{self.name} does not come back from: {self.steps[-1:]}")
                wait = min(wait * 2, 0.05)

    def abandon(self) -> None:
        """Let the thread end wherever it stands."""
        self._is_abandoned = True
        self._may_go.release()
        self._thread.join(STUCK_SECONDS)

    def _become(self, state: _State) -> None:
        with self._changed:
            self.state = state
            self._changed.notify_all()


_here = threading.local()


def _gate(step: str, backend: int) -> None:
    """Where a statement of a player waits for its turn. Threads that are no players pass."""
    player: Player | None = getattr(_here, "player", None)
    if player is not None:
        player.wait_at_gate(step, backend)


@contextlib.contextmanager
def at_one_go() -> Iterator[None]:
    """What a player does in here, after its turn came, is one step: it touches no row that another player does."""
    player: Player | None = getattr(_here, "player", None)
    if player is not None:
        player.wait_at_gate("at one go", player.backend)
    _here.player = None
    try:
        yield
    finally:
        _here.player = player


# ---------------------------------------------------------------------------------------------- gates in the store


class _GatedCursor(psycopg.Cursor[Any]):
    """Every statement of a writer is a step. A reader sees one moment, so only its first statement is one."""

    def execute(self, query: Any, params: Any = None, **more: Any) -> Self:
        connection = self.connection
        if not connection.read_only or connection.info.transaction_status is TransactionStatus.IDLE:
            _gate(in_short(str(query)), connection.info.backend_pid)
        return super().execute(query, params, **more)


def _gate_cursors(connection: psycopg.Connection[Any], _record: object) -> None:
    connection.cursor_factory = _GatedCursor


def _gate_ends(writer: Engine) -> None:
    def end(word: str) -> Callable[[Connection], None]:
        def wait(connection: Connection) -> None:
            driver: Any = connection.connection.dbapi_connection
            _gate(word, driver.info.backend_pid)

        return wait

    event.listen(writer, "commit", end("COMMIT"))
    event.listen(writer, "rollback", end("ROLLBACK"))


ENDS = ("COMMIT", "ROLLBACK")
_WORDS = re.compile(r"^\s*(?:WITH .*?)?(SELECT|INSERT INTO|UPDATE|DELETE FROM)\b", re.IGNORECASE | re.DOTALL)
_TABLE = re.compile(r"\b(?:FROM|INTO|UPDATE|JOIN)\s+(?!jsonb_)([a-z_]+)", re.IGNORECASE)


def in_short(statement: str) -> str:
    """A statement as a few words: what it does, to which table, and whether it locks."""
    verb, table = _WORDS.match(statement), _TABLE.search(statement)
    words = [verb[1].upper() if verb else statement.split(maxsplit=1)[0].upper(), table[1] if table else ""]
    if "FOR UPDATE" in statement:
        words.append("FOR UPDATE")
    return " ".join(word for word in words if word)


# ---------------------------------------------------------------------------------------------- one order


@dataclass
class Played:
    """One order of statements, and what it came to."""

    outcomes: dict[str, Any]
    choices: tuple[str, ...]
    options: tuple[tuple[str, ...], ...]
    """For each choice, who could have been chosen."""
    steps: dict[str, list[str]]
    trace: list[str]
    deadlocks: int = 0
    about: Any = None
    """What the scene says the run was about: the orders that it made."""

    def __str__(self) -> str:
        return "\n".join([*self.trace, *(f"{name} = {outcome!r:.200}" for name, outcome in self.outcomes.items())])


class Loom:
    """A few stores on one database, as a few processes would have, with gates in them."""

    def __init__(self, url: str, players: int = 3) -> None:
        self.url = postgres.plain(make_url(url))
        self.stores = [self._gated(url, number) for number in range(players)]
        self._watch = psycopg.connect(self.url, autocommit=True)

    def _gated(self, url: str, number: int) -> Store:
        store = Store.open(url, pool_size=2, check_durability=False, name=f"weave {number}")
        for engine in (store._writer, store._reader):
            event.listen(engine, "connect", _gate_cursors)
        _gate_ends(store._writer)
        for open_unit in (store.write, store.read):  # connect before anybody plays
            with open_unit() as unit:
                unit.versions(["or"])
        return store

    def close(self) -> None:
        self._watch.close()
        for store in self.stores:
            store.close()

    def _is_blocked(self, backend: int) -> bool:
        row = self._watch.execute("SELECT cardinality(pg_blocking_pids(%s)) > 0", (backend,)).fetchone()
        return row is not None and bool(row[0])

    def play(self, works: dict[str, Work], choose: Choose, alone: Collection[str] = ()) -> Played:
        """Run these to their ends, one statement at a time, in the order that `choose` makes of who can go on."""
        players = {name: Player(name, work, alone) for name, work in works.items()}
        try:
            return self._play(players, choose)
        finally:
            for player in players.values():
                if player.state is not _State.ENDED:
                    player.abandon()

    def _play(self, players: dict[str, Player], choose: Choose) -> Played:
        played = Played({}, (), (), {name: player.steps for name, player in players.items()}, [])
        for player in players.values():
            player.start()
            player.settle(self._is_blocked)
        while any(player.state is not _State.ENDED for player in players.values()):
            ready = tuple(name for name, player in players.items() if player.state is _State.WAITS)
            if not ready:
                self._await_victim(list(players.values()), played)
                continue
            self._turn(players, ready, choose(ready), played)
            if len(played.choices) > MANY:
                raise Stuck("this never ends:\n" + "\n".join(played.trace))
        played.outcomes = {name: player.outcome for name, player in players.items()}
        return played

    def _turn(self, players: dict[str, Player], ready: tuple[str, ...], chosen: str, played: Played) -> None:
        """One player's next statement. When it ended a transaction, those whom it held up go on as far as they come."""
        player = players[chosen]
        played.choices += (chosen,)
        played.options += (ready,)
        held_up = [other for other in players.values() if other.is_blocked]
        step = player.go_on()
        player.settle(self._is_blocked)
        played.trace.append(f"{chosen}: {step}{' ... is blocked' if player.is_blocked else ''}")
        if step in ENDS:
            for other in held_up:
                other.settle(self._is_blocked)
                if not other.is_blocked:
                    played.trace.append(f"{other.name}: ... goes on")

    def _await_victim(self, players: list[Player], played: Played) -> None:
        """Everybody waits for everybody: PostgreSQL will end one of them."""
        played.deadlocks += 1
        played.trace.append("deadlock")
        until = time.monotonic() + STUCK_SECONDS
        while time.monotonic() < until:
            for player in players:
                if player.is_blocked:
                    player.settle(self._is_blocked)
                if player.state is _State.WAITS:
                    return
        raise Stuck("nobody goes on:\n" + "\n".join(played.trace))


# ---------------------------------------------------------------------------------------------- all orders


@dataclass
class Scene:
    """What is to be woven: how to set it up anew, each time with ids of its own."""

    begin: Callable[[Loom], tuple[dict[str, Work], Any]]
    """The works of the players by their names, and what the run is about."""
    alone: frozenset[str] = frozenset()
    """Statements that touch rows of their player only: they wait for no turn, because it would make no difference."""


@dataclass
class Count:
    """How many orders there were."""

    run: int = 0
    longest: dict[str, int] = field(default_factory=dict)

    def saw(self, played: Played) -> None:
        self.run += 1
        for name, steps in played.steps.items():
            self.longest[name] = max(self.longest.get(name, 0), len(steps))


def every_order(loom: Loom, scene: Scene, *, most: int | None = None) -> Iterator[Played]:
    """Every order in which the scene's statements can come, each that differs once; at most so many."""
    prefix: tuple[str, ...] = ()
    known: tuple[tuple[str, ...], ...] = ()
    runs = 0
    while most is None or runs < most:
        played = _run(loom, scene, _follow(prefix))
        if played.options[: len(prefix)] != known:
            raise Stuck(f"the same choices led elsewhere: {prefix}\n{played}")
        runs += 1
        yield played
        last = _last_open(played)
        if last is None:
            return
        options, chosen = played.options[last], played.choices[last]
        prefix = (*played.choices[:last], options[options.index(chosen) + 1])
        known = played.options[: last + 1]


def some_orders(loom: Loom, scene: Scene, *, count: int, seed: int) -> Iterator[Played]:
    """So many orders drawn at random, the same ones for the same seed."""
    draw = random.Random(seed)
    for _ in range(count):
        yield _run(loom, scene, draw.choice)


def one_order(loom: Loom, scene: Scene, choices: str) -> Played:
    """The order that a word of players' names spells; when it ends the first who can go on does."""
    return _run(loom, scene, _follow(tuple(choices)))


def _run(loom: Loom, scene: Scene, choose: Choose) -> Played:
    works, about = scene.begin(loom)
    played = loom.play(works, choose, scene.alone)
    played.about = about
    return played


def _follow(prefix: tuple[str, ...]) -> Choose:
    turns = iter(prefix)

    def choose(ready: Sequence[str]) -> str:
        wanted = next(turns, ready[0])
        return wanted if wanted in ready else ready[0]

    return choose


def _last_open(played: Played) -> int | None:
    """The last choice where somebody was not chosen yet."""
    for place in range(len(played.choices) - 1, -1, -1):
        if played.choices[place] != played.options[place][-1]:
            return place
    return None
