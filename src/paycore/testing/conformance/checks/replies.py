"""What the channel answers, and everything that an answer may be instead: only a genuine one is believed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from typing import Any

from paycore.channel import (
    AlreadyPaid,
    ChannelVerb,
    Closed,
    Declined,
    Lie,
    Method,
    NotFound,
    Paid,
    PayerPaying,
    PaymentAsk,
    Ready,
    Refunded,
    RefundFailed,
    RefundNotFound,
    RefundProcessing,
    Reply,
    Request,
    Reversed,
    Unknown,
    Waiting,
)
from paycore.testing.conformance.stand import Spoil, Stand

CUTS = 24
"""How many places an answer is cut at."""
_PROXY = b"<html><body><h1>Sorry</h1></body></html>"


def _always(make: Callable[[Reply], Reply]) -> Spoil:
    """The same spoiling of every answer."""
    return lambda request, reply: None if reply is None else make(reply)


def _silence(request: Request, reply: Reply | None) -> None:
    return None


def _page(status: int, body: bytes, kind: str = "text/html") -> Spoil:
    """An answer that has nothing of the channel's."""
    return _always(lambda reply: Reply(status, {"content-type": kind}, body))


def _restated(status: int) -> Spoil:
    """The channel's own body under another status."""
    return _always(lambda reply: replace(reply, status=status))


def _rebodied(body: bytes) -> Spoil:
    """Another body under the channel's own headers."""
    return _always(lambda reply: replace(reply, body=body))


def _cut(place: int) -> Spoil:
    return _always(lambda reply: replace(reply, body=reply.body[: len(reply.body) * place // CUTS]))


def rubbish() -> Iterator[tuple[str, Spoil]]:
    """Answers that nobody at the channel gave: proxies, cut lines, empty pages. Nothing of them may be believed."""
    yield "silence", _silence
    for status in (301, 302, 400, 401, 403, 404, 409, 429, 500, 502, 503, 504):
        yield f"{status} from a proxy", _page(status, _PROXY)
        yield f"{status} without a body", _page(status, b"")
    for status in (500, 502, 503, 504):
        yield f"{status} around a genuine body", _restated(status)
    for body in (b"", b" ", b"{}", b"[]", b"null", b"true", b"0", b"{", b"\xff\xfe", b"[" * 5000, b"ok", b"success"):
        named = f"200 with {body[:9]!r}"
        yield named, _page(200, body, "application/json")
        yield f"{named} under genuine headers", _rebodied(body)


def cuts() -> Iterator[tuple[str, Spoil]]:
    """A genuine answer that ends too early."""
    for place in range(CUTS):
        yield f"cut at {place}/{CUTS}", _cut(place)
    yield "its last byte lost", _always(lambda reply: replace(reply, body=reply.body[:-1]))


def forged_replies(genuine: Reply) -> Iterator[tuple[str, Reply]]:
    """A genuine answer with one byte of its body changed, at many places."""
    step = max(1, len(genuine.body) // 160)
    for place in range(0, len(genuine.body), step):
        body = genuine.body[:place] + bytes([genuine.body[place] ^ 1]) + genuine.body[place + 1 :]
        yield f"byte {place} changed", replace(genuine, body=body)


def believes_nothing(finding: Any) -> bool:
    """Whether a finding leaves everything open: Unknown, or a mere hint that is no success."""
    if isinstance(finding, Unknown):
        return True
    return not finding.authenticated and not isinstance(
        finding, Paid | Ready | Refunded | RefundProcessing | Closed | Reversed
    )


class Replies:
    """The reply matrix."""

    # ------------------------------------------------------------------------------------ what is genuine

    def test_money_that_was_taken_is_found(self, stand: Stand) -> None:
        if not stand.has(ChannelVerb.QUERY):
            return
        for method in stand.exact_methods:
            ask = stand.paid(method)
            found = stand.query(ask)
            assert isinstance(found, Paid), f"{method.name}: {found}"
            assert found.authenticated
            assert (found.amount_minor, found.currency) == (ask.amount_minor, ask.currency)
            assert found.merchant == stand.channel.merchant
            assert found.refunds == ()

    def test_what_nobody_paid_waits(self, stand: Stand) -> None:
        method = stand.main_method
        if method is None or method.may_pay_at_prepare or not stand.has(ChannelVerb.QUERY):
            return
        found = stand.query(stand.begin(method).ask)
        assert isinstance(found, Waiting | PayerPaying), found
        assert found.authenticated

    def test_what_the_bank_refused_is_declined_or_goes_on_waiting(self, stand: Stand) -> None:
        method = stand.main_method
        if method is None or method.may_pay_at_prepare or not stand.has(ChannelVerb.QUERY):
            return
        begun = stand.begin(method)
        is_final = stand.simulator.decline(begun.payment_id, stand.now)
        found = stand.query(begun.ask)
        if is_final:
            assert isinstance(found, Declined), found
            assert found.failure.reason
            assert found.failure.message_zh, "a payer reads why, in Chinese"
            assert found.failure.message_en, "and in English"
        else:
            assert isinstance(found, Waiting | PayerPaying | NotFound), found

    # ------------------------------------------------------------------------------------ what it does not know

    def test_a_number_that_it_never_heard_is_not_found_and_nothing_more(self, stand: Stand) -> None:
        """Not found is not closed, not declined: before the expiry it may still be opened and paid."""
        if not stand.has(ChannelVerb.QUERY) or stand.main_method is None:
            return
        found = stand.query(stand.payment())
        assert isinstance(found, NotFound), found
        assert found.authenticated

    def test_a_refund_that_it_never_heard_of_is_not_found(self, stand: Stand) -> None:
        if not stand.has(ChannelVerb.QUERY_REFUND) or stand.main_method is None:
            return
        ask = stand.refund(stand.paid(), 1)
        found = stand.hold(stand.channel.query_refund(ask))
        assert isinstance(found, RefundNotFound), found
        assert found.authenticated

    # ------------------------------------------------------------------------------------ what is no answer

    def test_rubbish_is_never_believed(self, stand: Stand) -> None:
        for name, spoil in (*rubbish(), *cuts()):
            for what, begin in _questions(stand):
                heard = stand.listen(begin(), spoil)
                if heard.requests:
                    assert believes_nothing(heard.finding), f"{what}, {name}: {heard.finding}"

    def test_an_answer_that_was_tampered_with_is_never_believed(self, stand: Stand) -> None:
        if not stand.kind.signed_replies:
            return
        for what, begin in _questions(stand):
            genuine = stand.listen(begin())
            for place, reply in enumerate(genuine.replies):
                for name, forged in forged_replies(reply):
                    finding = stand.hold(begin(), _at(place, forged))
                    is_harmless = (
                        finding == genuine.finding
                    )  # the byte lies outside of what is signed and is not believed
                    assert believes_nothing(finding) or is_harmless, f"{what}, answer {place}, {name}: {finding}"

    def test_an_answer_without_its_signature_is_never_believed(self, stand: Stand) -> None:
        """What is left of a genuine answer when everything that could be a signature in its head is taken away."""
        if not stand.kind.signed_replies:
            return
        for what, begin in _questions(stand):
            genuine = stand.listen(begin())
            for place, reply in enumerate(genuine.replies):
                if set(reply.headers) <= {"content-type", "content-length", "date", "server"}:
                    continue  # the signature is in the body, and the body was changed above
                bare = replace(reply, headers={"content-type": reply.headers.get("content-type", "")})
                finding = stand.hold(begin(), _at(place, bare))
                assert believes_nothing(finding), f"{what}, answer {place} without its headers: {finding}"

    def test_an_answer_about_another_payment_is_never_believed(self, stand: Stand) -> None:
        """A genuine answer to another question, replayed: its signature may be good, its subject is not."""
        if stand.has(ChannelVerb.QUERY) and stand.main_method is not None:
            other = stand.listen(stand.channel.query(stand.paid()))
            mine = stand.begin().ask
            finding = stand.query(mine, _instead(other.replies))
            assert not isinstance(finding, Paid | Closed | Reversed | Declined), finding
        if stand.has(ChannelVerb.REFUND) and stand.main_method is not None:
            other = stand.listen(stand.channel.refund(stand.refund(stand.paid(), 1)))
            ask = stand.refund(stand.paid(), 1)
            for verb in (ChannelVerb.REFUND, ChannelVerb.QUERY_REFUND):
                if stand.has(verb):
                    finding = stand.hold(getattr(stand.channel, verb)(ask), _instead(other.replies))
                    assert not isinstance(finding, Refunded | RefundFailed), f"{verb}: {finding}"

    # ------------------------------------------------------------------------------------ what is genuine and wrong

    def test_a_wrong_amount_is_told_as_it_is(self, stand: Stand) -> None:
        """The core compares. A plugin that fills in what was asked for would hide the difference from it."""
        self._is_told(stand, Lie.AMOUNT)

    def test_a_wrong_currency_is_told_as_it_is(self, stand: Stand) -> None:
        self._is_told(stand, Lie.CURRENCY)

    def test_a_wrong_merchant_is_told_as_it_is(self, stand: Stand) -> None:
        self._is_told(stand, Lie.MERCHANT)

    def _is_told(self, stand: Stand, lie: Lie) -> None:
        if not stand.has(ChannelVerb.QUERY) or stand.main_method is None:
            return
        ask = stand.paid()
        is_named = stand.simulator.misreport(ask.payment_id, lie, stand.now)
        if lie is Lie.AMOUNT:
            assert is_named, "every channel names the amount"
        if lie is Lie.CURRENCY and len({code for method in stand.kind.methods for code in method.limits}) > 1:
            assert is_named, "a channel that takes several currencies names which"
        if is_named:
            found = stand.query(ask)
            assert not _is_as_asked(stand, ask, found), f"the channel told another {lie}, and the finding hides it"


def _is_as_asked(stand: Stand, ask: PaymentAsk, found: Any) -> bool:
    """Whether a finding says "paid, as asked" in every respect that the core compares."""
    if isinstance(found, AlreadyPaid):
        return False  # it carries no amount, so the core asks on
    return isinstance(found, Paid) and (found.amount_minor, found.currency, found.merchant) == (
        ask.amount_minor,
        ask.currency,
        stand.channel.merchant,
    )


def _questions(stand: Stand) -> list[tuple[str, Callable[[], Any]]]:
    """Every question whose true answer is good news, asked anew each time."""
    if stand.main_method is None:
        return []
    channel, paid = stand.channel, stand.paid()
    questions: list[tuple[str, Callable[[], Any]]] = [
        (f"prepare by {method.name}", partial(_prepared, stand, method)) for method in stand.exact_methods
    ]
    if stand.has(ChannelVerb.QUERY):
        questions.append(("query", lambda: channel.query(stand.again(paid))))
    if stand.has(ChannelVerb.CLOSE) and not stand.main_method.may_pay_at_prepare:
        waiting = stand.begin().ask
        questions.append(("close", lambda: channel.close(stand.again(waiting))))
    if stand.has(ChannelVerb.REFUND):
        refund = stand.refund(paid, 1 if stand.kind.partial_refunds else paid.amount_minor)
        stand.hold(channel.refund(refund))
        questions.append(("refund", lambda: channel.refund(stand.refund_again(refund))))
        if stand.has(ChannelVerb.QUERY_REFUND):
            questions.append(("query_refund", lambda: channel.query_refund(stand.refund_again(refund))))
    return questions


def _prepared(stand: Stand, method: Method) -> Any:
    """A fresh payment each time: what was prepared once may be answered otherwise the next time."""
    return stand.channel.prepare(stand.payment(method))


def _at(place: int, instead: Reply) -> Spoil:
    """Another answer in the place of one of a conversation's."""
    seen = 0

    def spoiling(request: Request, reply: Reply | None) -> Reply | None:
        nonlocal seen
        seen += 1
        return instead if seen == place + 1 else reply

    return spoiling


def _instead(replies: list[Reply]) -> Spoil:
    """These answers, in order, whatever was asked."""
    left = list(replies)
    return lambda request, reply: left.pop(0) if left else None
