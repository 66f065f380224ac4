"""Carries a verb's conversation from its first request to what it concludes.

Whatever the channel or the plugin does, something is concluded, in time. Silence that the verb does not catch is Unknown,
or NotSent when not one byte left this machine. Code that raises, hangs, never ends or returns rubbish is Unknown too,
and is held against the plugin. An answer that is not authenticated stays what the plugin says it is: a hint.
"""

from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from paycore.channel import ChannelVerb, Conversation, Forged, Reply, Request, Silence
from paycore.core.findings import NotSent, Unknown
from paycore.core.terms import SECOND
from paycore.engine.carrier import Carrier
from paycore.engine.clock import Clock
from paycore.engine.host import Host
from paycore.engine.soundness import Unsound
from paycore.engine.workshop import Stuck

T = TypeVar("T")

MAX_REQUESTS = 10
"""How many requests one conversation may make; a verb needs one or two."""
STEP_SECONDS = 5.0
"""How long a plugin may think between a reply and its next request."""
PROVOCABLE = frozenset({ChannelVerb.READ_NOTICE, ChannelVerb.CONFIRM})
"""Verbs whose input comes from strangers; their failures do not put a channel into quarantine."""


@dataclass(frozen=True, slots=True)
class _End(Generic[T]):
    """The verb returned this, and it is what it says it is."""

    answer: T


@dataclass(frozen=True, slots=True)
class Room:
    """What every conversation needs: the plugins, the way out, and the time."""

    host: Host
    carrier: Carrier
    clock: Clock


class Talk(Generic[T]):
    """One verb at work for one question.

    `open` runs it up to its first request without carrying anything, so that a verb that asks nothing can be recognised
    before anything is stored. `answer` carries it to its end.
    """

    def __init__(
        self,
        room: Room,
        channel: str,
        verb: ChannelVerb,
        begin: Callable[[], Conversation[Any]],
        check: Callable[[object], T],
        *,
        step_seconds: float | None = None,
    ) -> None:
        self._room = room
        self._channel = channel
        self._verb = verb
        self._begin = begin
        self._check = check
        self._step_seconds = step_seconds or STEP_SECONDS
        self._conversation: Conversation[Any] | None = None
        self._next: Request | _End[T] | None = None
        self._conclusion: T | Unknown | NotSent | None = None
        self._requests = 0
        self._may_have_sent = False
        self.asked_at = room.clock.now()
        """When the question left us: the clock before the first request."""

    @property
    def conclusion(self) -> T | Unknown | NotSent | None:
        """What it concluded; None while it goes on."""
        return self._conclusion

    @property
    def is_silent(self) -> bool:
        """Whether it was concluded without asking anybody anything."""
        return self._conclusion is not None and self._requests == 0

    async def open(self) -> None:
        """Run the verb up to its first request, or to its end when it makes none. Raises Forged."""
        if self._next is None and self._conclusion is None:
            await self._move(self._start, self._step_seconds)
            self._conclude_if_ended()

    async def answer(self, until: int) -> T | Unknown | NotSent:
        """Carry it to its end, at the latest at `until`, and return what it concludes. Raises Forged."""
        await self.open()
        if not self._requests:
            self.asked_at = self._room.clock.now()
        while self._conclusion is None:
            if not isinstance(self._next, Request):
                self._crashed("it yields something that is no request")
            elif self._requests >= MAX_REQUESTS:
                self._crashed("it makes too many requests")
            else:
                await self._ask(self._next, until)
        return self._conclusion

    # ------------------------------------------------------------------------------------ one step

    async def _ask(self, request: Request, until: int) -> None:
        self._requests += 1
        seconds = (until - self._room.clock.now()) / SECOND
        conversation = self._conversation
        assert conversation is not None
        try:
            reply = await self._carry(request, seconds)
        except Silence as silence:
            thrown = silence
            await self._move(lambda: conversation.throw(thrown), self._step_seconds)
        else:
            await self._move(lambda: conversation.send(reply), self._step_seconds)
        self._conclude_if_ended()

    async def _carry(self, request: Request, seconds: float) -> Reply:
        if seconds <= 0:
            raise Silence("no time is left", was_sent=False)
        try:
            reply = await self._room.carrier.carry(request, seconds=seconds)
        except Silence as silence:
            self._may_have_sent = self._may_have_sent or silence.was_sent
            raise
        self._may_have_sent = True
        return reply

    def _start(self) -> Request:
        begun: object = self._begin()
        if not isinstance(begun, Generator):
            raise Unsound(f"the verb returned a {type(begun).__name__} where a conversation was due")
        conversation: Conversation[Any] = begun
        self._conversation = conversation
        return next(conversation)

    async def _move(self, step: Callable[[], Request], seconds: float) -> None:
        """Let the plugin think once. What it concludes, or how it fails, is kept. Its answer is looked at over there too."""

        def work() -> Request | _End[T]:
            try:
                return step()
            except StopIteration as stop:
                returned = stop.value
            return _End(self._check(returned))

        try:
            self._next = await self._room.host.workshop(self._channel).run(work, seconds=seconds)
        except Silence as silence:
            self._conclusion = self._silence(silence.note)
        except Forged:
            raise
        except Unsound as error:
            self._crashed(str(error))
        except Stuck:
            self._crashed("it does not come back")
        except Exception as error:  # noqa: BLE001 - a stranger's code may raise anything; not knowing is the answer
            self._crashed(f"it raised {type(error).__name__}")

    # ------------------------------------------------------------------------------------ what it concludes

    def _conclude_if_ended(self) -> None:
        if not isinstance(self._next, _End) or self._conclusion is not None:
            return
        answer = self._next.answer
        if self._verb not in PROVOCABLE:
            self._room.host.behaved(self._channel)
        self._conclusion = self._silence(answer.note) if isinstance(answer, Unknown) and self._unsent else answer

    @property
    def _unsent(self) -> bool:
        return self._requests > 0 and not self._may_have_sent

    def _silence(self, note: str) -> Unknown | NotSent:
        """Not knowing; where not one byte left we do know that much."""
        return NotSent(note) if self._unsent else Unknown(note)

    def _crashed(self, problem: str) -> None:
        counts = self._verb not in PROVOCABLE
        self._room.host.crashed(self._channel, self._verb.value, problem, self._room.clock.now(), counts=counts)
        self._conclusion = Unknown(f"plugin error: {problem}")
