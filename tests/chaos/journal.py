"""What callers asked and what they were told, written down before they go on: the promises that must have been kept."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from pathlib import Path
from types import TracebackType
from typing import Any, Self


class What(StrEnum):
    ASKED = "asked"
    ANSWERED = "answered"
    REFUSED = "refused"
    """The server said no, and why: nothing came of the request."""


@dataclass(frozen=True, slots=True)
class Line:
    """One line. `number` is the request's; a request that is asked again keeps its own."""

    number: int
    what: What
    call: str
    request_id: str
    told: Mapping[str, Any] = field(default_factory=dict)
    """What was asked for, or what the answer said."""


class Journal:
    """A file of lines. A line is on the disk when its call returns: `asked` before it is sent, the rest before it counts."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = path.open("a", encoding="utf-8")
        self._requests = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    async def asked(self, call: str, request_id: str, content: Mapping[str, Any]) -> int:
        """A request is about to be sent; its number."""
        self._requests += 1
        number = self._requests
        await self._write(Line(number, What.ASKED, call, request_id, content))
        return number

    async def answered(self, number: int, call: str, request_id: str, told: Mapping[str, Any]) -> None:
        await self._write(Line(number, What.ANSWERED, call, request_id, told))

    async def refused(self, number: int, call: str, request_id: str, reason: str) -> None:
        await self._write(Line(number, What.REFUSED, call, request_id, {"reason": reason}))

    async def _write(self, line: Line) -> None:
        self._file.write(json.dumps(asdict(line), ensure_ascii=False) + "\n")
        self._file.flush()
        await asyncio.to_thread(os.fsync, self._file.fileno())


def read(path: Path) -> list[Line]:
    """Every line of a journal."""
    lines = (json.loads(text) for text in path.read_text(encoding="utf-8").splitlines())
    return [Line(**{**line, "what": What(line["what"])}) for line in lines]


def unanswered(lines: list[Line]) -> list[Line]:
    """The requests that were sent, and nobody knows what came of them."""
    done = {line.number for line in lines if line.what is not What.ASKED}
    return [line for line in lines if line.what is What.ASKED and line.number not in done]
