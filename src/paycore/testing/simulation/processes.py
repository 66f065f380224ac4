"""A simulated process: a group of tasks that dies as a whole, between any two of their steps, and leaves nothing behind.

Whose task a step belongs to stands in its context. The loop takes no step of a dead process: not even its `finally`
blocks run, as after SIGKILL. What it held open towards others (calls, streams) is told to break.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from contextvars import Context, ContextVar
from typing import Any, TypeVar

T = TypeVar("T")

OWNER: ContextVar[Process | None] = ContextVar("OWNER", default=None)
"""Whose step this is; None for the world around the processes."""


class Died(BaseException):  # not an Exception: nothing that a dead process catches may keep it alive
    """A dead process reached for the store, the channel or a caller."""


class Process:
    """One incarnation. It is born alive and dies once; who comes after it is another one."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.is_alive = True
        self.fuse: int | None = None
        """How many more of its steps are taken before it dies; None: it is not to die."""
        self.breaks: dict[object, Callable[[], None]] = {}
        """What others are told when it dies, by whatever they hold."""
        self._context = Context()
        self._context.run(OWNER.set, self)

    def spawn(self, work: Coroutine[Any, Any, T], *, name: str = "") -> asyncio.Task[T]:
        """A task of this process."""
        return asyncio.get_running_loop().create_task(work, name=name or None, context=self._context.copy())

    def must_live(self) -> None:
        """Raise Died for a dead process: every port asks this first."""
        if not self.is_alive:
            raise Died(self.name)

    def die(self) -> None:
        """Take no step any more, from now on."""
        if not self.is_alive:
            return
        self.is_alive = False
        broken, self.breaks = self.breaks, {}
        for tell in broken.values():
            tell()


def outside() -> Context:
    """A context that belongs to no process: for what goes on whoever dies."""
    return Context()
