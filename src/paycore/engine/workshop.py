"""Where a plugin's code runs: beside the event loop, in a few threads of its own, so that one that hangs stops only itself."""

import asyncio
import queue
import threading
from collections.abc import Callable
from typing import Protocol, TypeVar

T = TypeVar("T")
THREADS = 4
"""How many pieces of one plugin's work run at once. With every one of them stuck the plugin is stuck; nothing else is."""

IDLE_SECONDS = 5.0


class Stuck(Exception):
    """The plugin's code did not come back in time, or every thread of it is still stuck from before."""


class Escaped(Exception):
    """What a plugin raised is no Exception: left alone it would end the process, or cancel whoever waits."""


class Workshop(Protocol):
    """Runs short pieces of a plugin's code."""

    async def run(self, work: Callable[[], T], *, seconds: float) -> T:
        """Do this piece of work and return what it returns. Raises what it raises, or Stuck after so many seconds.

        SystemExit and its like become Escaped under their own names.
        """


class InlineWorkshop:
    """Runs work where it stands: for simulations, which may have no second thread."""

    async def run(self, work: Callable[[], T], *, seconds: float) -> T:
        """Do it now. Nothing limits the time it takes."""
        try:
            return work()
        except KeyboardInterrupt:
            raise  # somebody wants this process to end
        except BaseException as error:
            raise _contained(error) from error


class ThreadWorkshop:
    """Runs work in daemon threads, so that work which never ends does not keep the process alive."""

    def __init__(self, name: str, threads: int = THREADS) -> None:
        self._name = name
        self._threads = threads
        self._started = 0
        self._busy = 0
        self._lock = threading.Lock()
        self._jobs: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()

    async def run(self, work: Callable[[], T], *, seconds: float) -> T:
        """Do it beside the loop. Work that takes too long goes on, unheard, in its thread."""
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[T] = loop.create_future()

        def job() -> None:
            if answer.cancelled():
                return  # whoever wanted it has given up; the next one's turn comes sooner
            outcome: T | BaseException
            try:
                outcome, failed = work(), False
            except BaseException as error:  # noqa: BLE001 - it is raised where it is waited for
                outcome, failed = _contained(error), True
            try:
                loop.call_soon_threadsafe(_settle, answer, outcome, failed)
            except RuntimeError:
                return  # the loop is closed; nobody waits any more

        self._hand_over(job)
        try:
            async with asyncio.timeout(seconds):
                return await answer
        except TimeoutError:
            if answer.done() and not answer.cancelled():
                raise  # the work itself raised it
            raise Stuck(f"{self._name} did not come back in {seconds:g} s") from None

    def _hand_over(self, job: Callable[[], None]) -> None:
        with self._lock:
            self._busy += 1
            self._jobs.put(job)
            if self._started < min(self._busy, self._threads):
                self._started += 1
                threading.Thread(target=self._work, name=f"plugin-{self._name}", daemon=True).start()

    def _work(self) -> None:
        """Do jobs; go home after a while without any."""
        while True:
            try:
                job = self._jobs.get(timeout=IDLE_SECONDS)
            except queue.Empty:
                with self._lock:
                    if self._jobs.empty():
                        self._started -= 1
                        return
                continue
            job()
            with self._lock:
                self._busy -= 1


def within(seconds: float, work: Callable[[], T]) -> T:
    """Do work that may never end, in a thread that is left behind then. Raises what it raises, or Stuck."""
    done: queue.SimpleQueue[tuple[T | None, Exception | None]] = queue.SimpleQueue()

    def job() -> None:
        try:
            done.put((work(), None))
        except BaseException as error:  # noqa: BLE001 - it is raised where it is waited for
            done.put((None, _contained(error)))

    threading.Thread(target=job, name="plugin-loading", daemon=True).start()
    try:
        answer, error = done.get(timeout=seconds)
    except queue.Empty:
        raise Stuck(f"it did not come back in {seconds:g} s") from None
    if error is not None:
        raise error
    return answer  # type: ignore[return-value]


def _contained(error: BaseException) -> Exception:
    """The error itself, or one of its name that `except Exception` catches."""
    if isinstance(error, Exception):
        return error
    escaped: Exception = type(type(error).__name__, (Escaped,), {})()
    return escaped


def _settle(answer: "asyncio.Future[T]", outcome: T | BaseException, failed: bool) -> None:
    if answer.done():
        return
    if failed:
        assert isinstance(outcome, BaseException)
        answer.set_exception(outcome if not isinstance(outcome, StopIteration) else RuntimeError("StopIteration"))
    else:
        answer.set_result(outcome)  # type: ignore[arg-type]
