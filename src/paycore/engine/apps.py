"""The businesses that call us, as they were a moment ago."""

from paycore.core.refusals import Reason, Refused
from paycore.core.terms import SECOND
from paycore.engine.clock import Clock
from paycore.engine.memory import Memory
from paycore.store import App

FRESH = 2 * SECOND


class Apps:
    """Looks apps up, and remembers them for two seconds: limits that an operator changes take hold by themselves."""

    def __init__(self, memory: Memory, clock: Clock) -> None:
        self._memory = memory
        self._clock = clock
        self._known: dict[str, tuple[int, App]] = {}

    async def get(self, app_id: str) -> App:
        """The app of this id. Raises Refused."""
        looks_at = self._clock.steady()
        seen_at, app = self._known.get(app_id, (None, None))
        if app is not None and seen_at is not None and looks_at - seen_at < FRESH:
            return app
        found = await self._memory.read(lambda unit: unit.get_app(app_id))
        if found is None:
            raise Refused(Reason.CREDENTIALS_INVALID, "The credentials do not hold.")
        self._known[app_id] = (looks_at, found)
        return found

    def forget(self) -> None:
        """Look every app up anew from now on."""
        self._known.clear()
