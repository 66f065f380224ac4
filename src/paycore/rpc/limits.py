"""How much one caller, one order and this process may ask for at once."""

import asyncio
import time
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass

from paycore.core.refusals import Reason, Refused

MOST_BUCKETS = 20_000


@dataclass(frozen=True, slots=True)
class Allowance:
    """The figures. Rates are calls in a second; a burst is what may come at once after a quiet time."""

    app_rate: float = 5_000.0
    app_burst: float = 20_000.0
    session_rate: float = 10.0
    session_burst: float = 60.0
    failed_rate: float = 5.0
    failed_burst: float = 100.0
    calls_at_once: int = 4_000
    streams_at_once: int = 20_000
    streams_of_app: int = 15_000
    streams_of_session: int = 10
    streams_of_order: int = 100


class Bucket:
    """A token bucket: it fills at a rate up to a burst; taking from an empty one says how long to wait."""

    __slots__ = ("burst", "filled_at", "rate", "tokens")

    def __init__(self, rate: float, burst: float, now: float) -> None:
        self.rate = rate
        self.burst = burst
        self.tokens = burst
        self.filled_at = now

    def wait(self, now: float) -> float:
        """Seconds until one token is there; 0 when it is there now."""
        self.tokens = min(self.burst, self.tokens + (now - self.filled_at) * self.rate)
        self.filled_at = now
        return 0.0 if self.tokens >= 1 else (1 - self.tokens) / self.rate

    def take(self, now: float) -> float:
        """Take a token, or return the seconds until there is one."""
        wait = self.wait(now)
        if not wait:
            self.tokens -= 1
        return wait


class Limits:
    """Counts what is going on in this process and refuses what would be too much."""

    def __init__(self, allowance: Allowance | None = None, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self.allowance = allowance or Allowance()
        self._monotonic = monotonic
        self._buckets: OrderedDict[str, Bucket] = OrderedDict()
        self._streams: Counter[str] = Counter()
        self._quiet = asyncio.Event()
        self._quiet.set()
        self._call = _Call(self)
        self.calls = 0
        self.streams = 0

    async def quiet(self) -> None:
        """Wait until no call and no stream is at work."""
        await self._quiet.wait()

    def pace_app(self, app_id: str, rate: float | None) -> None:
        """One more call of this app, at the app's own rate if it has one."""
        rate, burst = (rate, max(rate * 4, 10.0)) if rate else (self.allowance.app_rate, self.allowance.app_burst)
        self._pace(f"app {app_id}", rate, burst)

    def pace_session(self, session_id: str) -> None:
        """One more call of this cashier session."""
        self._pace(f"session {session_id}", self.allowance.session_rate, self.allowance.session_burst)

    def may_try(self, address: str) -> None:
        """Refuse an address that showed too many wrong credentials of late."""
        bucket = self._buckets.get(f"address {address}")
        wait = bucket.wait(self._monotonic()) if bucket else 0.0
        if wait:
            raise _too_often(wait)

    def failed(self, address: str) -> None:
        """Remember that this address showed wrong credentials."""
        self._bucket(f"address {address}", self.allowance.failed_rate, self.allowance.failed_burst).take(
            self._monotonic()
        )

    def call(self) -> AbstractContextManager[None]:
        """One unary call at work; refused when too many are."""
        return self._call

    def begin_call(self) -> None:
        """One more call at work; refused when too many are."""
        if self.calls >= self.allowance.calls_at_once:
            raise _too_often(0.5)
        self.calls += 1
        self._quiet.clear()

    def end_call(self) -> None:
        """One call less at work."""
        self.calls -= 1
        self._hush()

    @contextmanager
    def stream(self, app_id: str, session_id: str = "") -> Iterator[None]:
        """One open stream of this app, and of this session if it has one."""
        if self.streams >= self.allowance.streams_at_once:
            raise _too_many_streams("process")
        self.streams += 1
        self._quiet.clear()
        try:
            with self._one_of(f"app {app_id}", self.allowance.streams_of_app, "app"):
                if not session_id:
                    yield
                else:
                    with self._one_of(f"session {session_id}", self.allowance.streams_of_session, "session"):
                        yield
        finally:
            self.streams -= 1
            self._hush()

    @contextmanager
    def stream_of_order(self, order_id: str) -> Iterator[None]:
        """One open stream that watches this order."""
        with self._one_of(f"order {order_id}", self.allowance.streams_of_order, "order"):
            yield

    @contextmanager
    def _one_of(self, whose: str, most: int, kind: str) -> Iterator[None]:
        if self._streams[whose] >= most:
            raise _too_many_streams(kind)
        self._streams[whose] += 1
        try:
            yield
        finally:
            self._streams[whose] -= 1
            if not self._streams[whose]:
                del self._streams[whose]

    def _hush(self) -> None:
        if not self.calls and not self.streams:
            self._quiet.set()

    def _pace(self, whose: str, rate: float, burst: float) -> None:
        wait = self._bucket(whose, rate, burst).take(self._monotonic())
        if wait:
            raise _too_often(wait)

    def _bucket(self, whose: str, rate: float, burst: float) -> Bucket:
        bucket = self._buckets.get(whose)
        if bucket is None or bucket.rate != rate:
            bucket = self._buckets[whose] = Bucket(rate, burst, self._monotonic())
            if len(self._buckets) > MOST_BUCKETS:
                self._buckets.popitem(last=False)
        else:
            self._buckets.move_to_end(whose)
        return bucket


class _Call(AbstractContextManager[None]):
    """A call at work. It has nothing of its own, so that one does for all of them: every call passes here."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits

    def __enter__(self) -> None:
        self._limits.begin_call()

    def __exit__(self, *_error: object) -> None:
        self._limits.end_call()


def _too_often(wait: float) -> Refused:
    return Refused(Reason.RATE_LIMITED, "Too many calls; ask again later.", retry_after_seconds=max(wait, 0.05))


def _too_many_streams(kind: str) -> Refused:
    return Refused(Reason.TOO_MANY_STREAMS, "Too many streams are open.", limit=kind)
