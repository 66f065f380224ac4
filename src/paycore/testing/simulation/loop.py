"""An event loop with a time of its own and a dice: which ready step comes next is a seed's choice.

Time moves only when nothing is ready, and then straight to the next timer. There is no thread, no socket and no real
second in here: whatever needs one raises OutOfBounds. The same seed and the same program give the same steps, always.
"""

import asyncio
import functools
import heapq
import random
import sys
from asyncio import events
from collections.abc import AsyncGenerator, Callable, Coroutine, Generator, Iterator
from contextlib import contextmanager
from contextvars import Context, copy_context
from typing import TYPE_CHECKING, Any, TypeVar, TypeVarTuple

from paycore.testing.simulation.fence import OutOfBounds, fenced
from paycore.testing.simulation.processes import OWNER, Process
from paycore.testing.simulation.trace import Trace

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

MOST_STEPS = 3_000_000
BURIAL_STEPS = 200_000


class SimDeadlock(AssertionError):
    """Nothing is ready, no timer is set, and the work is not done."""


class SimRunaway(AssertionError):
    """More steps than any honest run takes: something goes round in a circle."""


if TYPE_CHECKING:
    Loop = asyncio.BaseEventLoop  # to the type checker, who cannot see that the rest is forbidden below
else:
    Loop = asyncio.AbstractEventLoop


class Step(asyncio.Handle):
    """Something to run, and whose it is."""

    def __init__(self, callback: Callable[..., object], args: Any, loop: "SimLoop", context: Context | None) -> None:
        self.context = context if context is not None else copy_context()
        super().__init__(callback, args, loop, self.context)
        self.owner: Process | None = self.context.get(OWNER)
        self.work = callback, args

    def take(self) -> None:
        """Run it."""
        callback, args = self.work
        self.context.run(callback, *args)


class Timer(Step, asyncio.TimerHandle):
    """Something to run later."""

    def __init__(
        self, when: float, callback: Callable[..., object], args: Any, loop: "SimLoop", context: Context | None
    ) -> None:
        self.context = context if context is not None else copy_context()
        asyncio.TimerHandle.__init__(self, when, callback, args, loop, self.context)
        self.owner = self.context.get(OWNER)
        self.work = callback, args


class SimLoop(Loop):
    """An event loop that a seed drives.

    `shuffle` is how often the dice decides; otherwise the step that became ready first comes first, as in a real loop.
    """

    def __init__(self, seed: object, *, shuffle: float = 1.0, most_steps: int = MOST_STEPS) -> None:
        self._dice = random.Random(f"loop {seed}")  # noqa: S311 - the same again is what is wanted
        self._shuffle = shuffle
        self._most_steps = most_steps
        self._now = 0.0
        self._ready: list[Step] = []
        self._timers: list[tuple[float, int, Timer]] = []
        self._untaken: list[Step] = []
        """Steps of the dead. They are taken in the burial, or their tasks could not be ended."""
        self._numbers = 0
        self._tasks: list[asyncio.Task[Any]] = []
        self._is_closed = False
        self._is_burying = False
        self._interrupted: BaseException | None = None
        self.steps = 0
        self.leapt = 0.0
        """How much time has passed in leaps."""
        self.trace = Trace()
        self.complaints: list[dict[str, Any]] = []
        """What was handed to the exception handler: an exception in a callback, one that nobody looked at."""

    # ------------------------------------------------------------------------------------ time

    def time(self) -> float:
        return self._now

    def leap(self, seconds: float) -> None:
        """Let so much time pass at once. Timers that it passes ring late, as after a laptop's sleep."""
        self._now += max(seconds, 0.0)
        self.leapt += max(seconds, 0.0)

    def note(self, line: str) -> None:
        """Write a line into the trace, in the name of whoever's step this is."""
        owner = OWNER.get()
        self.trace.note(self._now, owner.name if owner else "world", line)

    # ------------------------------------------------------------------------------------ what is to run

    def call_soon(
        self, callback: Callable[[*Ts], object], *args: *Ts, context: Context | None = None
    ) -> asyncio.Handle:
        handle = Step(callback, args, self, context)
        self._ready.append(handle)
        return handle

    def call_later(
        self, delay: float, callback: Callable[[*Ts], object], *args: *Ts, context: Context | None = None
    ) -> asyncio.TimerHandle:
        return self.call_at(self._now + delay, callback, *args, context=context)

    def call_at(
        self, when: float, callback: Callable[[*Ts], object], *args: *Ts, context: Context | None = None
    ) -> asyncio.TimerHandle:
        handle = Timer(when, callback, args, self, context)
        self._numbers += 1
        heapq.heappush(self._timers, (when, self._numbers, handle))
        return handle

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        """A cancelled timer stays where it is and is passed over."""

    def create_future(self) -> asyncio.Future[Any]:
        return asyncio.Future(loop=self)

    def create_task(  # later Pythons hand over more keywords
        self,
        coro: Coroutine[Any, Any, T] | Generator[Any, None, T],
        *,
        name: object = None,
        context: Context | None = None,
        **more: Any,
    ) -> asyncio.Task[T]:
        called = str(name or getattr(coro, "__qualname__", "task"))
        task: asyncio.Task[T] = asyncio.Task(coro, loop=self, name=called, context=context, **more)
        self._tasks.append(task)
        return task

    # ------------------------------------------------------------------------------------ running

    def run_until_complete(self, future: Any) -> Any:
        """Run until this is done, and return what it gives. Raises SimDeadlock, SimRunaway."""
        with fenced(), _current(self):
            main: asyncio.Future[Any] = asyncio.ensure_future(future, loop=self)
            while not main.done():
                self._turn()
                if self._interrupted is not None:
                    raise self._interrupted
            return main.result()

    def interrupt(self, error: BaseException) -> None:
        """Have the run end with this after the present step."""
        self._interrupted = self._interrupted or error

    def _turn(self) -> None:
        """Take one step, or move on to the next timer."""
        if not self._ready and not self._pass_time():
            raise SimDeadlock("; ".join(task.get_name() for task in self._tasks if not task.done()) or "no task")
        step = self._draw()
        if step.cancelled():
            return
        if not self._may_be_taken(step.owner):
            self._untaken.append(step)
            return
        self.steps += 1
        if self.steps > self._most_steps:
            raise SimRunaway(f"{self.steps} steps")
        callback, _ = step.work
        self.trace.step(f"{self._now:.6f} {step.owner.name if step.owner else ''} {_word(callback)}\n")
        try:
            step.take()
        except (SystemExit, KeyboardInterrupt):
            raise
        except BaseException as error:  # noqa: BLE001 - as any loop: told to the handler, and on it goes
            self.call_exception_handler({"message": f"in {_word(callback)}", "exception": error})

    def _may_be_taken(self, owner: Process | None) -> bool:
        """Whether whoever's step this is lives to take it. Each step of a process burns its fuse."""
        if owner is None or self._is_burying:
            return True
        if owner.is_alive and owner.fuse is not None:
            owner.fuse -= 1
            if owner.fuse < 0:
                self.trace.note(self._now, owner.name, "killed")
                owner.die()
        return owner.is_alive

    def _draw(self) -> Step:
        if len(self._ready) > 1 and self._shuffle and self._dice.random() < self._shuffle:
            return self._ready.pop(int(self._dice.random() * len(self._ready)))
        return self._ready.pop(0)

    def _pass_time(self) -> bool:
        """Move to the next timer and make ready whatever is due by then. False when there is none."""
        while self._timers and not self._ready:
            self._now = max(self._now, self._timers[0][0])
            while self._timers and self._timers[0][0] <= self._now:
                timer = heapq.heappop(self._timers)[2]
                if not timer.cancelled() and (timer.owner is None or timer.owner.is_alive):
                    self._ready.append(timer)
        return bool(self._ready)

    # ------------------------------------------------------------------------------------ the end

    def bury(self) -> None:
        """End every task that is left, those of dead processes too. Their ports let nothing out any more."""
        self._is_burying = True
        last = self.steps + BURIAL_STEPS
        with fenced(), _current(self):
            self._ready += self._untaken
            for _ in range(3):
                for task in self._tasks:
                    if not task.done():
                        task.cancel()
                while self._ready and self.steps < last:
                    self._turn()
            for task in self._tasks:
                task._log_destroy_pending = False  # type: ignore[attr-defined] # noqa: SLF001
                if task.done() and not task.cancelled():
                    task.exception()

    def close(self) -> None:
        """End every task and forget every timer."""
        if not self._is_closed:
            self.bury()
            self._is_closed = True
            self._ready.clear()
            self._timers.clear()
            self._tasks.clear()

    # ------------------------------------------------------------------------------------ what asyncio asks of a loop

    def is_running(self) -> bool:
        return events._get_running_loop() is self  # noqa: SLF001

    def is_closed(self) -> bool:
        return self._is_closed

    def get_debug(self) -> bool:
        return False

    def set_debug(self, enabled: bool) -> None:
        """There is nothing to debug that the trace does not show."""

    def get_task_factory(self) -> None:
        return None

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        """Keep what went wrong where nobody waits for it."""
        if not self._is_burying:
            self.complaints.append(context)

    async def shutdown_asyncgens(self) -> None:
        """Async generators end with the tasks that hold them."""

    async def shutdown_default_executor(self, timeout: float | None = None) -> None:  # noqa: ASYNC109
        """There is none."""

    def finalize(self, generator: AsyncGenerator[Any, Any]) -> None:
        """An async generator that nobody holds any more ends by itself, as in a real loop."""
        if not self._is_closed and not self._is_burying:
            self.call_soon(self.create_task, _closing(generator))


async def _closing(generator: AsyncGenerator[Any, Any]) -> None:
    await generator.aclose()


@contextmanager
def _current(loop: SimLoop) -> Iterator[None]:
    """Makes a loop the running one of this thread, by the calls that asyncio keeps for makers of loops."""
    if events._get_running_loop() is not None:  # noqa: SLF001
        raise RuntimeError("another loop runs in this thread")
    hooks = sys.get_asyncgen_hooks()
    sys.set_asyncgen_hooks(firstiter=None, finalizer=loop.finalize)
    events._set_running_loop(loop)  # noqa: SLF001
    try:
        yield
    finally:
        events._set_running_loop(None)  # noqa: SLF001
        sys.set_asyncgen_hooks(*hooks)


def _word(callback: Any) -> str:
    """What a step is called: its task's name, or its function's."""
    owner = getattr(callback, "__self__", None)
    if isinstance(owner, asyncio.Task):
        return owner.get_name()
    if isinstance(callback, functools.partial):
        return _word(callback.func)
    return getattr(callback, "__qualname__", type(callback).__name__)


def _out_of_bounds(name: str) -> Callable[..., Any]:
    def refuse(self: SimLoop, *arguments: Any, **more: Any) -> Any:
        raise OutOfBounds(f"loop.{name} does not exist in a simulation")

    return refuse


for _name in (
    "run_in_executor",
    "call_soon_threadsafe",
    "getaddrinfo",
    "getnameinfo",
    "create_connection",
    "create_server",
    "create_datagram_endpoint",
    "create_unix_connection",
    "create_unix_server",
    "subprocess_exec",
    "subprocess_shell",
    "add_reader",
    "add_writer",
    "sock_connect",
    "sock_accept",
    "sock_recv",
    "sock_sendall",
    "connect_read_pipe",
    "connect_write_pipe",
    "add_signal_handler",
    "run_forever",
    "stop",
):
    setattr(SimLoop, _name, _out_of_bounds(_name))
SimLoop.__abstractmethods__ = frozenset()  # type: ignore[attr-defined]
