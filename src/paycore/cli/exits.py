"""How a command ends: its exit code, and one sentence when it could not do what was asked."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from enum import IntEnum
from typing import Any


class ExitCode(IntEnum):
    """What a script learns from a command."""

    OK = 0
    REFUSED = 1
    """What was asked is refused, does not exist, or a check found a violation."""
    USAGE = 2
    """The command line itself is wrong."""
    UNAVAILABLE = 3
    """The database, the server or a port cannot be reached now; the same command may work later."""
    NOT_READY = 4
    """The installation is not ready: the schema is old, the master key is missing, a setting is wrong."""
    BUG = 70
    """Something that should not happen; PAYCORE_DEBUG=1 shows where."""
    INTERRUPTED = 130


class Sorry(Exception):
    """A command cannot do what it was asked. The text is one sentence without a secret."""

    def __init__(self, text: str, code: ExitCode = ExitCode.REFUSED, *, reason: str = "") -> None:
        super().__init__(text)
        self.text = text
        self.code = code
        self.reason = reason or code.name


@dataclass(frozen=True, slots=True)
class _Known:
    """A kind of error that commands meet, named so that nothing is imported only to be compared with."""

    module: str
    name: str
    code: ExitCode
    text: str = ""
    """What to say instead of the error's own words; empty when those are ours and hold no secret."""


_KNOWN = (
    _Known("paycore.core.refusals", "Refused", ExitCode.REFUSED),
    _Known("paycore.client.errors", "Unavailable", ExitCode.UNAVAILABLE),
    _Known("paycore.client.errors", "PaycoreError", ExitCode.REFUSED),
    _Known("paycore.store.errors", "StoreUnavailable", ExitCode.UNAVAILABLE, "The database cannot be reached."),
    _Known("paycore.store.errors", "StaleSchema", ExitCode.NOT_READY),
    _Known("paycore.store.errors", "WeakDurability", ExitCode.NOT_READY),
    _Known("paycore.store.errors", "Conflict", ExitCode.REFUSED, "Somebody else changed the same thing; try again."),
    _Known(
        "paycore.store.errors", "StoreBroken", ExitCode.NOT_READY, "The database does not hold what paycore expects."
    ),
    _Known("paycore.engine.host", "PluginRequired", ExitCode.NOT_READY),
    _Known("paycore.engine.accounts", "BadSettings", ExitCode.REFUSED),
    _Known("paycore.engine.accounts", "WouldStrand", ExitCode.REFUSED),
    _Known("paycore.engine.accounts", "AccountUnusableNow", ExitCode.REFUSED),
    _Known("paycore.engine.keyring", "NoMasterKey", ExitCode.NOT_READY),
    _Known(
        "paycore.engine.keyring",
        "CannotUnseal",
        ExitCode.NOT_READY,
        "The settings of an account do not open with this master key; give the key that sealed them.",
    ),
)


def know(error: BaseException) -> Sorry | None:
    """The error as a sentence and an exit code, or None when nobody expected it."""
    if isinstance(error, Sorry):
        return error
    for known in _KNOWN:
        kind = getattr(sys.modules.get(known.module), known.name, None)
        if kind is not None and isinstance(error, kind):
            return Sorry(known.text or _words(error), known.code, reason=_reason(error))
    return None


def _words(error: Any) -> str:
    """The error's own words, with the variable parts that a refusal keeps apart and the fields that are wrong."""
    details = getattr(error, "details", None) or getattr(error, "metadata", None)
    parts = [f"{name} {value}" for name, value in details.items()] if isinstance(details, dict) else []
    parts += [f"{wrong.field} {wrong.reason or wrong.text}" for wrong in getattr(error, "violations", ())]
    text = str(getattr(error, "text", "") or error)
    reason = _reason(error)
    told = f"{reason}: {text}" if reason else text
    return f"{told} ({', '.join(parts)})" if parts else told


def _reason(error: Any) -> str:
    reason = getattr(error, "reason", "")
    return str(getattr(reason, "value", reason))
