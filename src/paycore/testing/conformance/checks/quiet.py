"""Verbs think: no I/O, no clock, no dice; the same question twice is the same request."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from paycore.channel import (
    ChannelVerb,
    EvidenceAsk,
    OperationAsk,
    RefreshAsk,
    Request,
    StatementAsk,
)
from paycore.testing.conformance.stand import Stand, raw_notice
from paycore.testing.conformance.watching import Watch

Begin = Callable[[], Any]


def conversations(stand: Stand) -> Iterator[tuple[str, Begin]]:
    """A way to begin every verb that the kind declares, with every method; beginning twice asks the same question."""
    channel, kind, nonce = stand.channel, stand.kind, f"{7:032x}"
    for method in kind.methods:
        ask = stand.payment(method)
        refund = stand.refund(ask, ask.amount_minor)
        asks = {
            ChannelVerb.PREPARE: ask,
            ChannelVerb.QUERY: ask,
            ChannelVerb.CLOSE: ask,
            ChannelVerb.REFUND: refund,
            ChannelVerb.QUERY_REFUND: refund,
        }
        for verb, about in asks.items():
            if stand.has(verb):
                yield f"{verb} by {method.name}", partial(getattr(channel, verb), about)
    for statement in kind.statements:
        wanted = StatementAsk(statement.name, "2026-11-18", stand.now, nonce)
        yield f"statement {statement.name}", partial(channel.statement, wanted)
    if stand.has(ChannelVerb.REFRESH):
        yield "refresh", partial(channel.refresh, RefreshAsk(None, stand.now, nonce))
    for operation in kind.operations:
        inputs = {one.name: "1" for one in operation.inputs}
        errand = OperationAsk(operation.name, stand.payment(), inputs, stand.now, nonce)
        yield f"operation {operation.name}", partial(channel.operate, errand)
    if stand.has(ChannelVerb.CONFIRM):
        yield "confirm", partial(channel.confirm, EvidenceAsk("not evidence", None, stand.now, nonce))


class Quiet:
    """No I/O in verbs."""

    def test_every_verb_is_a_conversation(self, stand: Stand) -> None:
        for name, begin in conversations(stand):
            conversation = begin()
            assert inspect.isgenerator(conversation), f"{name} returns a {type(conversation).__name__}"
            conversation.close()

    def test_no_verb_does_anything_but_think(self, stand: Stand) -> None:
        for name, begin in conversations(stand):
            stand.listen(begin())  # what is imported at first use is imported now
            with Watch() as watch:
                stand.listen(begin())
            seen = [one for one in watch.seen if one]
            assert _of_plugin(stand, begin, seen) == [], f"{name} does what only the engine may do"

    def test_reading_a_notice_is_only_thinking(self, stand: Stand) -> None:
        if not stand.has(ChannelVerb.READ_NOTICE) or stand.main_method is None:
            return  # a store's notice is about a purchase, which its own tests begin
        _, request = stand.payment_notice()
        notice = raw_notice(request)
        with Watch() as watch:
            stand.channel.read_notice(notice, stand.now)
        assert watch.seen == []

    def test_the_same_question_is_the_same_request(self, stand: Stand) -> None:
        for name, begin in conversations(stand):
            assert _first(begin) == _first(begin), f"{name} asks something else when it is asked the same"


def _of_plugin(stand: Stand, begin: Begin, seen: list[str]) -> list[str]:
    """What was seen while only the plugin's own code ran: its simulator, which answers in between, may do as it likes."""
    if not seen:
        return []
    conversation, found = begin(), list[str]()
    reply: Any = None
    try:
        while True:
            with Watch() as watch:
                try:
                    request = conversation.send(reply)
                finally:
                    found += watch.seen
            reply = stand.simulator.handle(request, stand.now)
            if reply is None:
                break
    except StopIteration:
        pass
    except Exception:  # noqa: BLE001 - how it ends is another check's concern
        return found
    return found


def _first(begin: Begin) -> Any:
    """The first request without what it says may differ; what the verb concludes if it makes none."""
    conversation = begin()
    try:
        request = next(conversation)
    except StopIteration as stop:
        return stop.value
    except Exception as error:  # noqa: BLE001 - the same both times is what counts
        return type(error)
    conversation.close()
    return _steady(request)


def _steady(request: Request) -> tuple[str, str, dict[str, str], bytes]:
    hidden = {name.lower() for name in request.redact}
    headers = {name: value for name, value in request.headers.items() if name.lower() not in hidden}
    return request.method, request.url, headers, request.body
