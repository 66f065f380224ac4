"""A plugin that now and then raises, talks nonsense, or says what nobody vouches for. It never lies with a straight face:
a plugin that says "paid" in the channel's name cannot be told from the channel."""

from collections.abc import Callable, Generator, Iterator
from typing import Any

from paycore.channel import AccountKeys, Closed, Declined, Failure, Paid, RefundFailed, RefundNotFound, Unknown
from paycore.testing.simulation.weather import Weather

ASKING = ("query", "close")
REFUNDING = ("refund", "query_refund")
NOBODY = Failure("channel_refused", "NOBODY")


def mischievous(open_channel: Callable[[AccountKeys], Any], weather: Weather) -> Callable[[AccountKeys], Any]:
    """The way to open a channel whose verbs behave only most of the time."""
    return lambda keys: Mischief(open_channel(keys), weather)


class Mischief:
    """A channel with another one's verbs, and moods."""

    def __init__(self, channel: Any, weather: Weather) -> None:
        self._channel = channel
        self._weather = weather

    def __getattr__(self, name: str) -> Any:
        verb = getattr(self._channel, name)
        return self._moody(name, verb) if name in (*ASKING, *REFUNDING, "prepare") else verb

    def _moody(self, name: str, verb: Callable[[Any], Any]) -> Callable[[Any], Any]:
        def begin(ask: Any) -> Any:
            if not self._weather.strikes("plugin: misbehaves", self._weather.options.mischief):
                return verb(ask)
            return self._misbehave(name, verb, ask)

        return begin

    def _misbehave(self, name: str, verb: Callable[[Any], Any], ask: Any) -> Any:
        mood = self._weather.dice.choice(["raises", "raises late", "returns junk", "yields junk", "hearsay"])
        if mood == "raises":
            raise RuntimeError("a bug in the plugin")
        if mood == "raises late":
            return _fails_after(verb(ask))
        if mood == "yields junk":
            return iter_of("this is no request")
        if mood == "returns junk":
            return conclude({"state": "PAID"})
        return conclude(self._hearsay(name, ask))

    def _hearsay(self, name: str, ask: Any) -> Any:
        """What would matter if anybody vouched for it."""
        if name in REFUNDING:
            return self._weather.dice.choice(
                [RefundFailed(NOBODY, authenticated=False), RefundNotFound(authenticated=False)]
            )
        if name == "prepare":
            return Unknown("hearsay")
        paid = Paid(ask.amount_minor, ask.currency, self._channel.merchant, authenticated=False)
        return self._weather.dice.choice([paid, Closed(authenticated=False), Declined(NOBODY, authenticated=False)])


def conclude(answer: Any) -> Generator[Any, Any, Any]:
    """A conversation that says this at once."""
    yield from ()
    return answer


def iter_of(thing: Any) -> Iterator[Any]:
    """A conversation whose request is this."""
    yield thing


def _fails_after(conversation: Any) -> Iterator[Any]:
    """A conversation that asks as it should and then fails on the answer."""
    yield next(conversation)
    raise RuntimeError("a bug in the plugin")
