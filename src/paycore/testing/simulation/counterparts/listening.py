"""Listens to a plugin's verbs, so that a world knows of each request what it is for, whatever the channel's protocol is like."""

from collections.abc import Callable, Generator, Mapping
from typing import Any

from paycore.channel import AboutPayment, AboutRefund, AccountKeys, ChannelVerb, Notice, RawNotice, Request, Silence
from paycore.testing.simulation.counterpart import Call

ABOUT_PAYMENTS = (ChannelVerb.PREPARE, ChannelVerb.QUERY, ChannelVerb.CLOSE)
ABOUT_REFUNDS = (ChannelVerb.REFUND, ChannelVerb.QUERY_REFUND)
OTHERS = (ChannelVerb.CONFIRM, ChannelVerb.STATEMENT, ChannelVerb.REFRESH, ChannelVerb.OPERATE)
ASKING = frozenset({ChannelVerb.QUERY, ChannelVerb.QUERY_REFUND})
LASTING: Mapping[ChannelVerb, tuple[str, ...]] = {
    ChannelVerb.PREPARE: (
        "method",
        "amount_minor",
        "currency",
        "subject",
        "expires_at",
        "notify_url",
        "inputs",
        "token",
    ),
    ChannelVerb.REFUND: ("amount_minor", "currency", "notify_url"),
}
"""What every send of the same payment or refund says."""


class Listener:
    """What was heard in one world."""

    def __init__(self) -> None:
        self.merchant = ""
        """Whom the shop's account belongs to."""
        self.payment_ids: dict[str, None] = {}
        """Every payment that a verb was ever asked about, in order."""
        self._calls: dict[int, tuple[Request, Call]] = {}
        self._findings: dict[bytes, tuple[AboutPayment | AboutRefund, ...]] = {}

    def around(self, open_channel: Callable[[AccountKeys], Any]) -> Callable[[AccountKeys], Any]:
        """The way to open a channel whose verbs are listened to."""
        return lambda keys: Heard(open_channel(keys), self)

    def understand(self, request: Request) -> Call:
        """What a request is for. Every request that is carried was heard."""
        return self._calls[id(request)][1]

    def findings(self, body: bytes) -> tuple[AboutPayment | AboutRefund, ...]:
        """What the plugin has found in a notice with this body; nothing if it took it for none of the channel's."""
        return self._findings.get(body, ())

    def hear(self, verb: ChannelVerb, ask: Any, conversation: Any) -> Generator[Any, Any, Any]:
        """A conversation as it goes, each of its requests understood. Only the first one counts as a send."""
        call = _call(verb, ask)
        self._remember(ask)
        step: Callable[[], Any] = lambda: next(conversation)  # noqa: E731 - what comes next differs each time
        while True:
            try:
                request = step()
            except StopIteration as stop:
                return stop.value
            self._calls[id(request)] = request, call
            call = _again(call)
            try:
                reply = yield request
            except Silence as silence:
                step = _throwing(conversation, silence)
            else:
                step = _sending(conversation, reply)

    def _remember(self, ask: Any) -> None:
        payment = getattr(ask, "payment", ask)
        payment_id = getattr(payment, "payment_id", "")
        if payment_id:
            self.payment_ids[payment_id] = None

    def read(self, notice: RawNotice, found: Notice) -> None:
        """A notice was read, and this was in it."""
        self._findings[notice.body] = found.findings


class Heard:
    """A channel with another one's verbs, which is listened to."""

    def __init__(self, channel: Any, listener: Listener) -> None:
        self._channel = channel
        self._listener = listener
        listener.merchant = channel.merchant

    def __getattr__(self, name: str) -> Any:
        given = getattr(self._channel, name)
        if name in (*ABOUT_PAYMENTS, *ABOUT_REFUNDS, *OTHERS):
            return lambda ask: self._listener.hear(ChannelVerb(name), ask, given(ask))
        return given

    def read_notice(self, notice: RawNotice, now: int) -> Notice:
        """What the plugin reads in a notice."""
        found: Notice = self._channel.read_notice(notice, now)
        self._listener.read(notice, found)
        return found


def _call(verb: ChannelVerb, ask: Any) -> Call:
    row_id = None
    if verb in ABOUT_PAYMENTS:
        row_id = ask.payment_id
    elif verb in ABOUT_REFUNDS:
        row_id = ask.refund_id
    lasting = {name: getattr(ask, name) for name in LASTING.get(verb, ())}
    return Call(verb.value, row_id or "", row_id, asks=verb in ASKING, makes=bool(lasting), lasting=lasting)


def _again(call: Call) -> Call:
    """What the later requests of the same conversation are: no send of their own."""
    return Call(call.name, call.subject, call.row_id, asks=call.asks, makes=False, lasting=call.lasting)


def _throwing(conversation: Any, silence: Silence) -> Callable[[], Any]:
    return lambda: conversation.throw(silence)


def _sending(conversation: Any, reply: Any) -> Callable[[], Any]:
    return lambda: conversation.send(reply)
