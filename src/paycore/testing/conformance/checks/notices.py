"""Notices: a genuine one is read, every other is refused, and the channel reads the exact bytes that it wants."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from urllib.parse import parse_qsl

from paycore.channel import (
    AboutPayment,
    ChannelVerb,
    Forged,
    KeyState,
    Lie,
    NoticeCase,
    Paid,
    PaymentAsk,
    RawNotice,
)
from paycore.engine.soundness import check_notice
from paycore.testing.conformance.stand import HOUR, SECOND, Stand, raw_notice
from paycore.testing.mutate import every_byte, every_letter

TRANSPORT = frozenset(
    {"accept", "accept-encoding", "connection", "content-length", "content-type", "date", "host", "user-agent"}
)
"""Headers that are the transport's: proxies write them, and no channel signs them."""


class Notices:
    """Notices, and forgeries of them."""

    def test_a_genuine_notice_says_what_was_paid(self, stand: Stand) -> None:
        if not _reads(stand):
            return
        ask, request = stand.payment_notice()
        notice = check_notice(stand.channel.read_notice(raw_notice(request), stand.now))
        [paid] = _payments(notice.findings, ask)
        assert (paid.amount_minor, paid.currency, paid.merchant) == (
            ask.amount_minor,
            ask.currency,
            stand.channel.merchant,
        )

    def test_the_same_notice_again_says_the_same(self, stand: Stand) -> None:
        if not _reads(stand):
            return
        _, request = stand.payment_notice()
        raw = raw_notice(request)
        first = stand.channel.read_notice(raw, stand.now)
        assert stand.channel.read_notice(raw, stand.now) == first
        assert stand.channel.read_notice(raw, stand.now + 30 * SECOND) == first

    def test_the_acknowledgement_is_what_the_channel_wants_to_read(self, stand: Stand) -> None:
        if not _reads(stand):
            return
        stand.collect()
        stand.paid()
        collected = stand.collect()
        assert collected, "the channel announces nothing"
        for notice in collected:
            reply = stand.channel.read_notice(raw_notice(notice.request), stand.now).acknowledge
            stand.simulator.answered(notice.key, reply, stand.now)
        stand.now += 30 * HOUR
        keys = {notice.key for notice in collected}
        assert not keys & {notice.key for notice in stand.collect()}, (
            "the channel goes on sending what was acknowledged"
        )

    def test_a_refusal_is_never_taken_for_an_acknowledgement(self, stand: Stand) -> None:
        if not _reads(stand):
            return
        for case in NoticeCase:
            stand.now += 48 * HOUR
            stand.collect()
            stand.paid()
            for notice in stand.collect():
                stand.simulator.answered(notice.key, stand.kind.refusals[case], stand.now)
            next_due = stand.simulator.next_due()
            assert next_due is not None, f"the refusal {case} stops the channel from sending again"

    # ------------------------------------------------------------------------------------ forgeries

    def test_every_byte_of_the_body_counts(self, stand: Stand) -> None:
        if not _reads(stand):
            return
        _, request = stand.payment_notice()
        genuine = raw_notice(request)
        for place, body in enumerate(every_byte(genuine.body)):
            _is_refused(stand, replace(genuine, body=body), f"byte {place} of the body was changed")
        letters = genuine.body.decode("latin-1")
        for place, text in enumerate(every_letter(letters)):
            _is_refused(stand, replace(genuine, body=text.encode("latin-1")), f"letter {place} of the body was changed")

    def test_every_character_of_signature_and_timestamp_counts(self, stand: Stand) -> None:
        """Every header that is not the transport's, and that the case does not name as free, is covered."""
        if not _reads(stand):
            return
        _, request = stand.payment_notice()
        genuine = raw_notice(request)
        for name in sorted(genuine.headers.keys() - TRANSPORT - stand.case.free_headers):
            for text in _spoilt_texts(genuine.headers[name]):
                forged = replace(genuine, headers={**genuine.headers, name: text})
                _is_refused(stand, forged, f"the header {name} was changed")
            bare = {key: value for key, value in genuine.headers.items() if key != name}
            _is_refused(stand, replace(genuine, headers=bare), f"the header {name} was left out")

    def test_a_free_header_changes_nothing(self, stand: Stand) -> None:
        if not _reads(stand):
            return
        _, request = stand.payment_notice()
        genuine = raw_notice(request)
        said = stand.channel.read_notice(genuine, stand.now)
        for name in stand.case.free_headers:
            forged = replace(genuine, headers={**genuine.headers, name: "anything"})
            assert stand.channel.read_notice(forged, stand.now) == said, f"{name} is not free: it changes what is read"
        bare = {name: value for name, value in genuine.headers.items() if name in TRANSPORT | stand.case.free_headers}
        if bare != dict(genuine.headers):
            _is_refused(stand, replace(genuine, headers=bare), "only free headers are left")

    def test_cut_doubled_and_empty_bodies_are_refused(self, stand: Stand) -> None:
        if not _reads(stand):
            return
        _, request = stand.payment_notice()
        genuine = raw_notice(request)
        body = genuine.body
        for name, forged in {
            "empty": b"",
            "cut": body[: len(body) // 2],
            "its last byte lost": body[:-1],
            "doubled": body * 2,
            "prolonged": body + b"A",
            "begun with another byte": b" " + body,
            "not text": bytes(range(256)),
            "nested deeply": b"[" * 20_000,
        }.items():
            _is_refused(stand, replace(genuine, body=forged), f"the body is {name}")
        _is_refused(stand, replace(genuine, headers={}, body=b""), "there is nothing at all")

    def test_duplicated_parameters_are_refused(self, stand: Stand) -> None:
        """Two values under one name: whoever verifies one and believes the other is robbed."""
        if not _reads(stand):
            return
        _, request = stand.payment_notice()
        genuine = raw_notice(request)
        for name, body in _doubled(genuine):
            _is_refused(stand, replace(genuine, body=body), f"{name} is there twice")

    def test_another_merchants_notice_is_refused_or_told_as_anothers(self, stand: Stand) -> None:
        if not _reads(stand):
            return
        mine = stand.channel
        stand.channel = stand.open(stand.simulator.other_settings(stand.case.base_url))
        ask, request = stand.payment_notice()
        theirs = stand.channel.merchant
        try:
            notice = mine.read_notice(raw_notice(request), stand.now)
        except Forged:
            return
        assert [paid.merchant for paid in _payments(notice.findings, ask)] == [theirs], (
            "it would be taken for our money"
        )

    def test_a_notice_of_another_environment_is_refused(self, stand: Stand) -> None:
        """Another world of the same channel, whose keys are its own."""
        if not _reads(stand):
            return
        elsewhere = Stand(stand.case)
        _, request = elsewhere.payment_notice()
        assert elsewhere.settings != stand.settings, "the simulator makes the same keys each time; it must not"
        _is_refused(stand, raw_notice(request), "it is from another environment", now=elsewhere.now)

    def test_whoever_knows_the_protocol_can_forge_nothing(self, stand: Stand) -> None:
        """Wrong keys, weaker algorithms, old times: what the simulator can make of a genuine notice."""
        if not _reads(stand):
            return
        _, request = stand.payment_notice()
        forgeries = dict(stand.simulator.forgeries(request, stand.now))
        assert "key" in forgeries, "the simulator forges nothing by another key"
        if stand.kind.notice_window_seconds is not None:
            assert "stale" in forgeries, "the kind has a notice window and the simulator tries no stale notice"
        for name, forged in forgeries.items():
            _is_refused(stand, raw_notice(forged), f"it is forged: {name}")

    def test_an_old_notice_is_refused_where_there_is_a_window(self, stand: Stand) -> None:
        if not _reads(stand):
            return
        ask, request = stand.payment_notice()
        raw, window = raw_notice(request), stand.kind.notice_window_seconds
        if window is None:
            notice = stand.channel.read_notice(raw, stand.now + 25 * HOUR)
            assert _payments(notice.findings, ask), "without a window a notice is good however late it comes"
            return
        for shift in ((window + 1) * SECOND, -(window + 1) * SECOND):
            _is_refused(stand, raw, "it is outside of the window", now=stand.now + shift)

    # ------------------------------------------------------------------------------------ genuine and wrong

    def test_a_notice_that_tells_something_else_says_so(self, stand: Stand) -> None:
        """The core compares amount, currency and merchant; the plugin hides no difference from it."""
        if not _reads(stand):
            return
        for lie in Lie:
            stand.collect()
            ask = stand.paid()
            stand.collect()
            if not stand.simulator.misreport(ask.payment_id, lie, stand.now):
                continue
            told = [self._reading(stand, raw_notice(notice.request), ask) for notice in stand.collect()]
            assert told, f"the channel announces no other {lie}"
            as_asked = Paid(ask.amount_minor, ask.currency, stand.channel.merchant)
            for paid in (one for read in told for one in read):
                said = (paid.amount_minor, paid.currency, paid.merchant)
                assert said != (as_asked.amount_minor, as_asked.currency, as_asked.merchant), f"{lie} is hidden"

    def _reading(self, stand: Stand, notice: RawNotice, ask: PaymentAsk) -> list[Paid]:
        try:
            return _payments(stand.channel.read_notice(notice, stand.now).findings, ask)
        except Forged:
            return []

    # ------------------------------------------------------------------------------------ key versions

    def test_old_notices_verify_after_a_rotation(self, stand: Stand) -> None:
        """What was signed for the keys before: the versions are tried in order, and the old ones still verify."""
        if not _reads(stand):
            return
        ask, before = stand.payment_notice()
        fresh = stand.simulator.next_settings(stand.case.base_url)
        for states in ((KeyState.ACTIVE, KeyState.VERIFY_ONLY), (KeyState.ACTIVE, KeyState.DRAINING)):
            rotated = stand.open_keys(stand.keys((fresh, states[0]), (stand.settings, states[1])))
            assert _payments(rotated.read_notice(raw_notice(before), stand.now).findings, ask), states
        only_old = stand.open_keys(stand.keys((stand.settings, KeyState.VERIFY_ONLY)))
        assert _payments(only_old.read_notice(raw_notice(before), stand.now).findings, ask), "it can still be read"

    def test_new_notices_verify_after_a_rotation(self, stand: Stand) -> None:
        if not _reads(stand):
            return
        fresh = stand.simulator.next_settings(stand.case.base_url)
        stand.channel = stand.open_keys(stand.keys((fresh, KeyState.ACTIVE), (stand.settings, KeyState.VERIFY_ONLY)))
        ask, request = stand.payment_notice()
        assert _payments(stand.channel.read_notice(raw_notice(request), stand.now).findings, ask)


def _reads(stand: Stand) -> bool:
    """Whether there are notices of payments that the merchant asked for."""
    return stand.has(ChannelVerb.READ_NOTICE) and stand.main_method is not None


def _payments(findings: object, ask: PaymentAsk) -> list[Paid]:
    """What the findings say of this payment, where they say that it is paid."""
    assert isinstance(findings, tuple)
    return [
        about.finding
        for about in findings
        if isinstance(about, AboutPayment) and about.payment_id == ask.payment_id and isinstance(about.finding, Paid)
    ]


def _is_refused(stand: Stand, notice: RawNotice, why: str, *, now: int | None = None) -> None:
    try:
        read = stand.channel.read_notice(notice, stand.now if now is None else now)
    except Forged:
        return
    raise AssertionError(f"a notice was believed though {why}: {read.findings}")


def _spoilt_texts(text: str) -> Iterator[str]:
    yield from every_letter(text)
    yield ""
    yield f"{text}A"
    yield f"{text}, {text}"
    yield text[:-1]


def _doubled(notice: RawNotice) -> Iterator[tuple[str, bytes]]:
    """The body with one of its parameters there twice: first its own value again, then another; at both ends."""
    kind = notice.headers.get("content-type", "")
    body = notice.body
    if "form" in kind:
        for name, _ in parse_qsl(body.decode("latin-1"), keep_blank_values=True):
            extra = f"{name}=1".encode("latin-1")
            yield name, body + b"&" + extra
            yield name, extra + b"&" + body
        for pair in body.split(b"&"):
            yield pair.partition(b"=")[0].decode("latin-1"), body + b"&" + pair
    elif body.lstrip().startswith(b"{"):
        for name in json.loads(body):
            extra = f"{json.dumps(name)}:1".encode()
            yield name, body.rstrip()[:-1] + b"," + extra + b"}"
            yield name, b"{" + extra + b"," + body.lstrip()[1:]
