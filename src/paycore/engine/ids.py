"""New ids and nonces: the engine's only randomness, given like the time."""

import secrets
from typing import Protocol

from paycore.core.ids import Prefix, make_id
from paycore.engine.clock import Clock


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

    def mint(self, prefix: Prefix) -> str:
        return make_id(prefix, self._clock.now(), secrets.randbits(80))

    def nonce(self) -> str:
        return secrets.token_hex(16)
