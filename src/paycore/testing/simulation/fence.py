"""A fence around a simulation: what would leave it (threads, sockets, processes, real sleep) raises instead of running."""

import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

FORBIDDEN: tuple[tuple[Any, str], ...] = (
    (threading.Thread, "start"),
    (socket.socket, "connect"),
    (socket.socket, "bind"),
    (socket, "getaddrinfo"),
    (subprocess.Popen, "__init__"),
    (time, "sleep"),
)


class OutOfBounds(AssertionError):
    """Simulated code tried to leave the simulation."""


@contextmanager
def fenced() -> Iterator[None]:
    """While this lasts, this thread can neither start threads or processes, nor speak to a network, nor really sleep.

    Other threads (a test runner's own) go on as before.
    """
    mine = threading.get_ident()
    with ExitStack() as stack:
        for owner, name in FORBIDDEN:
            given = getattr(owner, name)
            setattr(owner, name, _guarded(given, f"{getattr(owner, '__name__', owner)}.{name}", mine))
            stack.callback(setattr, owner, name, given)
        yield


def _guarded(given: Callable[..., Any], name: str, mine: int) -> Callable[..., Any]:
    def guard(*arguments: Any, **more: Any) -> Any:
        if threading.get_ident() == mine:
            raise OutOfBounds(f"{name} does not exist in a simulation")
        return given(*arguments, **more)

    return guard
