"""New ids and nonces: the engine's only randomness, given like the time."""

import os
import secrets
from typing import Protocol

from paycore.core.ids import Prefix, make_id
from paycore.engine.clock import Clock

DRAW = 256
"""How many ids' randomness is drawn at once: each call of the system gives up the interpreter's lock and waits for it."""


class Ids(Protocol):
    """Makes what nobody can guess or has used before."""

    def mint(self, prefix: Prefix) -> str:
        """A new id of ours."""

    def nonce(self) -> str:
        """Fresh random text: 32 lower-case hex digits."""


class SystemIds:
    """Ids from the machine's randomness and a clock."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._drawn: list[int] = []
        self._drawn_by = 0

    def mint(self, prefix: Prefix) -> str:
        return make_id(prefix, self._clock.now(), self._draw())

    def nonce(self) -> str:
        return secrets.token_hex(16)

    def _draw(self) -> int:
        """80 random bits that nobody else gets: not another thread, and not a process that was forked from this one."""
        if self._drawn_by != os.getpid():
            self._drawn, self._drawn_by = [], os.getpid()
        try:
            return self._drawn.pop()
        except IndexError:
            block = secrets.token_bytes(10 * DRAW)
            fresh = [int.from_bytes(block[place : place + 10]) for place in range(0, len(block), 10)]
            drawn = fresh.pop()
            self._drawn += fresh
            return drawn
