"""A process's own clock, which may be wrong, and its ids, which are the same in every run."""

import asyncio
import random

from paycore.core.ids import Prefix, make_id

BEGINNING = 1_795_000_000_000_000
SECOND = 1_000_000


def true_now() -> int:
    """The instant that nobody's clock is wrong about: the channel's."""
    return BEGINNING + round(asyncio.get_running_loop().time() * SECOND)


class SimClock:
    """The loop's time as one machine believes it to be. When it is set, sleepers sleep on as they were."""

    def __init__(self, offset_seconds: float = 0.0) -> None:
        self._offset = round(offset_seconds * SECOND)

    def now(self) -> int:
        return true_now() + self._offset

    def steady(self) -> int:
        return true_now() - BEGINNING

    def set_off(self, offset_seconds: float) -> None:
        """Be wrong by so much from now on."""
        self._offset = round(offset_seconds * SECOND)

    async def sleep_until(self, at: int | None, wake: asyncio.Event) -> None:
        seconds = None if at is None else max(at - self.now(), 0) / SECOND
        try:
            async with asyncio.timeout(seconds):
                await wake.wait()
        except TimeoutError:
            return


class SimIds:
    """Ids and nonces from a seed."""

    def __init__(self, clock: SimClock, seed: str) -> None:
        self._clock = clock
        self._dice = random.Random(seed)  # noqa: S311 - the same again is what is wanted

    def mint(self, prefix: Prefix) -> str:
        return make_id(prefix, self._clock.now(), self._dice.getrandbits(80))

    def nonce(self) -> str:
        return f"{self._dice.getrandbits(128):032x}"
