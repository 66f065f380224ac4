"""Sees what a plugin's code does beside thinking: I/O, looks at the clock, throws of dice.

Python tells of both: audit events of files, sockets, processes and sleep; and every call of a built-in, to a profiler.
"""

from __future__ import annotations

import datetime as dt
import sys
from functools import cache
from types import FrameType, TracebackType
from typing import Any

_IO = (
    "socket.",
    "subprocess.",
    "shutil.",
    "sqlite3.",
    "urllib.",
    "http.",
    "ftplib.",
    "smtplib.",
    "os.",
    "glob.",
    "pty.",
)
_IO_EVENTS = frozenset({"open", "time.sleep", "webbrowser.open"})
_HARMLESS = frozenset({"os.putenv", "os.unsetenv"})
_CLOCKS = frozenset(
    {
        "time",
        "time_ns",
        "monotonic",
        "monotonic_ns",
        "perf_counter",
        "perf_counter_ns",
        "process_time",
        "localtime",
        "sleep",
    }
)
_DICE = frozenset({"urandom", "getrandom", "getrandbits", "random", "randbytes"})
_NOWS = frozenset({"now", "utcnow", "today"})
_MAY_LOOK = ("logging", "warnings", "_pytest", "pluggy")
"""Code that looks at the clock for its own sake: a line of a log has its time."""

_watching: list[Watch] = []


class Watch:
    """While it is entered, what this thread's code does is seen. One at a time."""

    def __init__(self) -> None:
        self.seen: list[str] = []
        self._before: Any = None

    def __enter__(self) -> Watch:
        _hook()
        self._before = sys.getprofile()
        _watching.append(self)
        sys.setprofile(self._profile)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        sys.setprofile(self._before)
        _watching.remove(self)

    def audit(self, event: str) -> None:
        """Note an event if it is I/O."""
        if event not in _HARMLESS and (event in _IO_EVENTS or event.startswith(_IO)):
            self.seen.append(event)

    def _profile(self, frame: FrameType, event: str, called: Any) -> None:
        if event != "c_call" or str(frame.f_globals.get("__name__", "")).startswith(_MAY_LOOK):
            return
        name = getattr(called, "__name__", "")
        owner = getattr(called, "__self__", None)
        module = getattr(called, "__module__", None) or getattr(owner, "__name__", "")
        if module == "time" and name in _CLOCKS:
            self.seen.append(f"time.{name}()")
        elif name in _NOWS and owner in (dt.datetime, dt.date):
            self.seen.append(f"datetime.{name}()")
        elif name in _DICE and (
            module in ("posix", "nt", "_random") or type(owner).__module__ in ("_random", "random")
        ):
            self.seen.append(f"{name}()")


@cache
def _hook() -> None:
    """Audit hooks are for ever, so there is one, which tells whoever watches."""
    sys.addaudithook(_audit)


def _audit(event: str, arguments: tuple[Any, ...]) -> None:
    for watch in _watching:
        watch.audit(event)
