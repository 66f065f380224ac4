"""Plugins that are wrong in one respect each: the sandbox's own, with one thing spoilt."""

from __future__ import annotations

import random
import socket
import time
from collections.abc import Callable, Mapping
from dataclasses import fields, replace
from typing import Any

from paycore.channel import (
    AboutPayment,
    AccountKeys,
    AlreadyPaid,
    ChannelKind,
    ChannelRefund,
    ChannelVerb,
    Closed,
    Confirmed,
    Conversation,
    Declined,
    EvidenceAsk,
    Failure,
    Forged,
    Method,
    NotFound,
    Notice,
    NoticeReply,
    OperationAsk,
    OperationDone,
    OperationFinding,
    Paid,
    PaymentAsk,
    PaymentFinding,
    RawNotice,
    Ready,
    RefreshAsk,
    Refreshed,
    RefreshFinding,
    RefundAsk,
    Refunded,
    RefundFailed,
    RefundFinding,
    RefundNotFound,
    Reply,
    Request,
    Secret,
    Statement,
    StatementAsk,
    StatementFinding,
    Text,
    Unknown,
    Waiting,
)
from paycore.core.terms import Terms
from paycore.testing.conformance import Case
from paycore_bridge import Plan, canonical_json
from paycore_sandbox import SANDBOX, SandboxChannel, SandboxSimulator, reading, signing, wire
from paycore_sandbox.channel import Answer

GATE = "https://channel.example/gate"
HOUR = 3600 * 1_000_000


def plant(kind: Mapping[str, Any] | None = None, /, **parts: Any) -> Case:
    """The sandbox with these parts of its channel replaced, and these words of its kind."""
    channel: Any = type("Planted", (SandboxChannel,), {"__module__": "paycore_sandbox.channel", **parts})
    return Case(kind=replace(SANDBOX, open=channel, **(kind or {})), simulator=SandboxSimulator)


def described(**changes: Any) -> Case:
    """The sandbox with another description."""
    return Case(kind=replace(SANDBOX, **changes), simulator=SandboxSimulator)


def played(simulator: type[SandboxSimulator]) -> Case:
    """The sandbox with another simulator."""
    return Case(kind=SANDBOX, simulator=simulator)


def without(*verbs: ChannelVerb) -> dict[str, Any]:
    return {"verbs": SANDBOX.verbs - set(verbs)}


def methods(**changes: Any) -> dict[str, Any]:
    """Every method with these changes."""
    return {"methods": tuple(replace(method, **changes) for method in SANDBOX.methods)}


# ---------------------------------------------------------------------------------------------- identity


def undeclared_verb() -> Case:
    return described(**without(ChannelVerb.CONFIRM))


def missing_verb() -> Case:
    return plant(query_refund=None)


def nameless() -> Case:
    return described(title=Text("", "Sandbox"))


def unversioned() -> Case:
    return described(version="0")


def foreign_words() -> Case:
    return described(**methods(faces=("phone",)))


def open_secret() -> Case:
    return described(settings=tuple(replace(setting, secret=False) for setting in SANDBOX.settings))


def one_for_all() -> Case:
    return plant(merchant=property(lambda self: "SANDBOX"))


def named_after_its_key() -> Case:
    return plant(merchant=property(lambda self: self._verifying[0].private.public_key().public_bytes_raw().hex()))


def needs_a_signer() -> Case:
    def init(self: Any, account: AccountKeys) -> None:
        if account.signing is None:
            raise ValueError("nobody signs")
        SandboxChannel.__init__(self, account)

    return plant(__init__=init)


def crashes_on_a_bad_key() -> Case:
    def init(self: Any, account: AccountKeys) -> None:
        try:
            SandboxChannel.__init__(self, account)
        except ValueError:
            raise KeyError("private_key") from None

    loose = tuple(replace(setting, pattern="") for setting in SANDBOX.settings)
    return plant({"settings": loose}, __init__=init)


# ---------------------------------------------------------------------------------------------- quiet


def no_conversation() -> Case:
    return plant(query=lambda self, ask: reading.QUERY_REFUSALS["TRADE_NOT_FOUND"])


def opens_a_socket() -> Case:
    def query(self: Any, ask: PaymentAsk) -> Conversation[PaymentFinding]:
        socket.socket().close()
        return (yield from SandboxChannel.query(self, ask))

    return plant(query=query)


def looks_at_the_clock() -> Case:
    def query(self: Any, ask: PaymentAsk) -> Conversation[PaymentFinding]:
        time.time()
        return (yield from SandboxChannel.query(self, ask))

    return plant(query=query)


def naps() -> Case:
    def close(self: Any, ask: PaymentAsk) -> Conversation[PaymentFinding]:
        time.sleep(0.001)
        return (yield from SandboxChannel.close(self, ask))

    return plant(close=close)


def throws_dice() -> Case:
    def prepare(self: Any, ask: PaymentAsk) -> Conversation[PaymentFinding]:
        nonce = f"{random.getrandbits(128):032x}"
        return (yield from SandboxChannel.prepare(self, replace(ask, nonce=nonce)))

    return plant(prepare=prepare)


def counts_its_calls() -> Case:
    calls: list[None] = []

    def query(self: Any, ask: PaymentAsk) -> Conversation[PaymentFinding]:
        calls.append(None)
        return (yield from SandboxChannel.query(self, replace(ask, nonce=f"{len(calls):032x}")))

    return plant(query=query)


def reads_notices_by_the_hosts_clock() -> Case:
    def read_notice(self: Any, notice: RawNotice, now: int) -> Notice:
        time.time_ns()
        return SandboxChannel.read_notice(self, notice, now)

    return plant(read_notice=read_notice)


# ---------------------------------------------------------------------------------------------- money


def _asked_as(change: Callable[[PaymentAsk], PaymentAsk]) -> Case:
    def prepare(self: Any, ask: PaymentAsk) -> Conversation[PaymentFinding]:
        return (yield from SandboxChannel.prepare(self, change(ask)))

    return plant(prepare=prepare)


def rounds_to_ten() -> Case:
    return _asked_as(lambda ask: replace(ask, amount_minor=max(1, ask.amount_minor // 10 * 10)))


def counts_every_currency_in_cents() -> Case:
    """Yen have no cents, and dinars have a thousand: right for two digits only."""

    def money(amount_minor: int, currency: str) -> dict[str, str]:
        return {"amount": f"{amount_minor / 100:.2f}", "currency": currency}

    def trade_request(self: Any, ask: PaymentAsk) -> dict[str, Any]:
        return SandboxChannel._trade_request(self, ask) | money(ask.amount_minor, ask.currency)

    return plant(_trade_request=trade_request)


def writes_floats() -> Case:
    def trade_request(self: Any, ask: PaymentAsk) -> dict[str, Any]:
        return SandboxChannel._trade_request(self, ask) | {"subject": repr(ask.amount_minor * 1.1e-10)}

    return plant(_trade_request=trade_request)


def loses_cents_of_what_was_paid() -> Case:
    return _reads_as(lambda found: replace(found, amount_minor=max(1, found.amount_minor // 100 * 100)))


def _reads_as(change: Callable[[Paid], PaymentFinding]) -> Case:
    def query(self: Any, ask: PaymentAsk) -> Conversation[PaymentFinding]:
        found = yield from SandboxChannel.query(self, ask)
        return change(found) if isinstance(found, Paid) else found

    return plant(query=query)


def gives_all_back() -> Case:
    def refund(self: Any, ask: RefundAsk) -> Conversation[RefundFinding]:
        return (yield from SandboxChannel.refund(self, replace(ask, amount_minor=ask.captured_minor)))

    return plant(refund=refund)


def forgets_the_token() -> Case:
    return _asked_as(lambda ask: replace(ask, token="0" * 36) if ask.token else ask)


# ---------------------------------------------------------------------------------------------- sameness


def a_number_for_each_try() -> Case:
    return _asked_as(lambda ask: replace(ask, payment_id=f"{ask.payment_id[:20]}{ask.nonce[-8:]}"))


def the_expiry_moves() -> Case:
    """Counted from now: the same number sent again has other content, and the channel refuses it."""
    return _asked_as(lambda ask: replace(ask, expires_at=ask.now + HOUR))


def no_expiry() -> Case:
    return _asked_as(lambda ask: replace(ask, expires_at=ask.created_at + 1000 * HOUR))


# ---------------------------------------------------------------------------------------------- replies


def _unverified(self: Any, reply: Reply, *, nonce: str, now: int) -> Answer:
    """Believes whatever can be parsed."""
    document = wire.read(reply.body)
    return Answer("OK" if reply.status < 300 else wire.text(document, "code"), document)


def believes_unsigned_answers() -> Case:
    return plant(_read=_unverified)


def paid_unless_told_otherwise() -> Case:
    def query(self: Any, ask: PaymentAsk) -> Conversation[PaymentFinding]:
        found = yield from SandboxChannel.query(self, ask)
        return found if found.authenticated else Paid(ask.amount_minor, ask.currency, self.merchant)

    return plant(query=query)


def refunded_by_the_way() -> Case:
    return _reads_as(lambda found: replace(found, refunds=(ChannelRefund(1, "SR1"),)))


def a_mere_hint() -> Case:
    return _reads_as(lambda found: replace(found, authenticated=False))


def paid_before_it_is() -> Case:
    def query(self: Any, ask: PaymentAsk) -> Conversation[PaymentFinding]:
        found = yield from SandboxChannel.query(self, ask)
        return Paid(ask.amount_minor, ask.currency, self.merchant) if isinstance(found, Waiting) else found

    return plant(query=query)


def closed_when_not_found() -> Case:
    def query(self: Any, ask: PaymentAsk) -> Conversation[PaymentFinding]:
        found = yield from SandboxChannel.query(self, ask)
        return Closed() if isinstance(found, NotFound) else found

    return plant(query=query)


def any_200_is_a_refund() -> Case:
    def refund(self: Any, ask: RefundAsk) -> Conversation[RefundFinding]:
        conversation = SandboxChannel.refund(self, ask)
        request = next(conversation)
        reply = yield request
        if reply.status == 200:
            return Refunded()
        try:
            conversation.send(reply)
        except StopIteration as stop:
            finding: RefundFinding = stop.value
            return finding
        raise AssertionError("it asks once")

    return plant(refund=refund)


def a_server_error_is_a_failure() -> Case:
    """The classic: the answer was 500, so the payment is declared dead, while its money moves."""

    def query(self: Any, ask: PaymentAsk) -> Conversation[PaymentFinding]:
        conversation = SandboxChannel.query(self, ask)
        reply = yield next(conversation)
        if reply.status >= 500:
            return Closed()
        try:
            conversation.send(reply)
        except StopIteration as stop:
            finding: PaymentFinding = stop.value
            return finding
        raise AssertionError("it asks once")

    return plant(query=query)


def whoever_is_answered_about() -> Case:
    """Signature good, subject unread: the answer about another payment is believed."""

    def read(self: Any, reply: Reply, *, nonce: str, now: int) -> Answer:
        document = wire.read(reply.body)
        if not signing.is_fresh(reply.headers.get(signing.TIMESTAMP, ""), now):
            raise wire.Unreadable("stale")
        return Answer("OK" if reply.status == 200 else wire.text(document, "code"), document)

    def query(self: Any, ask: PaymentAsk) -> Conversation[PaymentFinding]:
        try:
            answer = yield from self._call("/v1/trades/query", {"out_trade_no": ask.payment_id}, ask)
            if answer.code != "OK":
                return reading.QUERY_REFUSALS[answer.code]
            return reading.trade_finding(wire.read_trade(answer.document))
        except (wire.Unreadable, KeyError) as error:
            return Unknown(str(error))

    return plant({"signed_replies": False}, _read=read, query=query)


def declines_without_a_word() -> Case:
    def query(self: Any, ask: PaymentAsk) -> Conversation[PaymentFinding]:
        found = yield from SandboxChannel.query(self, ask)
        if isinstance(found, Declined):
            return Declined(Failure("payer_declined"))
        return found

    return plant(query=query)


def _fills_in(name: str) -> Case:
    """What the channel said is thrown away for what was asked."""

    def query(self: Any, ask: PaymentAsk) -> Conversation[PaymentFinding]:
        found = yield from SandboxChannel.query(self, ask)
        asked = {"amount_minor": ask.amount_minor, "currency": ask.currency, "merchant": self.merchant}
        return replace(found, **{name: asked[name]}) if isinstance(found, Paid) else found

    return plant(query=query)


# ---------------------------------------------------------------------------------------------- notices


def _reads_notices(read: Callable[[Any, RawNotice, int], Notice], **kind: Any) -> Case:
    return plant(kind, read_notice=read)


def _parsed(notice: RawNotice) -> Notice:
    """What a notice says, whoever wrote it."""
    document = wire.read(notice.body)
    findings: tuple[Any, ...] = ()
    if document["event"] == "trade":
        findings = (reading.about_trade(wire.read_trade(document["data"])),)
    if document["event"] == "refund":
        findings = (reading.about_refund(wire.read_refund(document["data"])),)
    return Notice(findings, NoticeReply(200, {}, b'{"ack":"ok"}'), notice.headers.get(signing.NONCE, ""))


def verifies_no_notice() -> Case:
    def read(self: Any, notice: RawNotice, now: int) -> Notice:
        try:
            return _parsed(notice)
        except (wire.Unreadable, KeyError) as error:
            raise Forged("unreadable") from error

    return _reads_notices(read)


def crashes_on_rubbish() -> Case:
    def read(self: Any, notice: RawNotice, now: int) -> Notice:
        wire_text = notice.body.decode()
        if not wire_text.startswith("{"):
            raise IndexError("no object")
        return SandboxChannel.read_notice(self, notice, now)

    return _reads_notices(read)


def verifies_what_it_parsed() -> Case:
    """Signs and verifies the document, not the bytes: what a parser drops (a doubled name, a space) is not covered."""

    def read(self: Any, notice: RawNotice, now: int) -> Notice:
        import json

        try:
            document = json.loads(notice.body)
            again = canonical_json(document).encode()
        except (ValueError, RecursionError) as error:
            raise Forged("unreadable") from error
        return SandboxChannel.read_notice(self, replace(notice, body=again), now)

    return _reads_notices(read)


def ignores_the_time() -> Case:
    def read(self: Any, notice: RawNotice, now: int) -> Notice:
        timestamp = notice.headers.get(signing.TIMESTAMP, "")
        at = int(timestamp) * 1_000_000 if timestamp.isdecimal() else now
        return SandboxChannel.read_notice(self, notice, at)

    return _reads_notices(read)


def a_lax_signature() -> Case:
    """Takes a signature in other spellings of its base64: what one signs has one text."""
    import base64

    def read(self: Any, notice: RawNotice, now: int) -> Notice:
        text = notice.headers.get(signing.SIGNATURE, "")
        try:
            tidy = base64.b64encode(base64.b64decode(text)).decode()
        except ValueError as error:
            raise Forged("no signature") from error
        return SandboxChannel.read_notice(
            self, replace(notice, headers={**notice.headers, signing.SIGNATURE: tidy}), now
        )

    return _reads_notices(read)


def any_key_will_do() -> Case:
    """Tries every key that it can think of, the merchant's own among them."""

    def read(self: Any, notice: RawNotice, now: int) -> Notice:
        try:
            return SandboxChannel.read_notice(self, notice, now)
        except Forged:
            head = notice.headers
            words = (
                "sandbox-notice",
                *(head.get(name, "") for name in (signing.MERCHANT, signing.TIMESTAMP, signing.NONCE)),
            )
            own = self._active().private.public_key()
            if signing.verify(own, head.get(signing.SIGNATURE, ""), *words, body=notice.body):
                return _parsed(notice)
            raise

    return _reads_notices(read)


def only_the_newest_key() -> Case:
    def init(self: Any, account: AccountKeys) -> None:
        SandboxChannel.__init__(self, account)
        self._verifying = self._verifying[:1]

    return plant(__init__=init)


def only_the_oldest_key() -> Case:
    def init(self: Any, account: AccountKeys) -> None:
        SandboxChannel.__init__(self, account)
        self._verifying = self._verifying[-1:]

    return plant(__init__=init)


def thanks_in_its_own_words() -> Case:
    def read(self: Any, notice: RawNotice, now: int) -> Notice:
        return replace(SandboxChannel.read_notice(self, notice, now), acknowledge=NoticeReply(200, {}, b"thanks"))

    return _reads_notices(read)


def refuses_politely() -> Case:
    """Answers a forgery with the words of an acknowledgement: the channel never sends the genuine one again."""
    yes = NoticeReply(200, {"content-type": "application/json"}, b'{"ack":"ok"}')
    return described(refusals=dict.fromkeys(SANDBOX.refusals, yes))


def never_says_the_same_twice() -> Case:
    seen: list[None] = []

    def read(self: Any, notice: RawNotice, now: int) -> Notice:
        seen.append(None)
        return replace(SandboxChannel.read_notice(self, notice, now), notice_id=str(len(seen)))

    return _reads_notices(read)


def _notices_fill_in(name: str) -> Case:
    """Notices tell what we hoped for: a fixed amount, our own merchant number."""

    def read(self: Any, notice: RawNotice, now: int) -> Notice:
        read = SandboxChannel.read_notice(self, notice, now)
        hoped = {"amount_minor": 12_807, "currency": "CNY", "merchant": self.merchant}
        findings = tuple(
            replace(about, finding=replace(about.finding, **{name: hoped[name]}))
            if isinstance(about, AboutPayment) and isinstance(about.finding, Paid)
            else about
            for about in read.findings
        )
        return replace(read, findings=findings)

    return _reads_notices(read)


def takes_anybodys_notice_for_its_own() -> Case:
    return _notices_fill_in("merchant")


def one_key_for_every_world() -> Case:
    return played(type("Same", (SandboxSimulator,), {"__init__": lambda self: SandboxSimulator.__init__(self, "same")}))


def forges_nothing() -> Case:
    return played(type("Honest", (SandboxSimulator,), {"forgeries": lambda self, genuine, now: {}}))


def a_free_header_that_is_not() -> Case:
    return replace(described(), free_headers=frozenset({signing.NONCE}))


# ---------------------------------------------------------------------------------------------- closing


def closes_nothing() -> Case:
    def close(self: Any, ask: PaymentAsk) -> Conversation[PaymentFinding]:
        yield from ()
        return Closed()

    return plant(close=close)


def forgets_that_it_closed() -> Case:
    def query(self: Any, ask: PaymentAsk) -> Conversation[PaymentFinding]:
        found = yield from SandboxChannel.query(self, ask)
        return Waiting() if isinstance(found, Closed) else found

    return plant(query=query)


def closed_though_paid() -> Case:
    def close(self: Any, ask: PaymentAsk) -> Conversation[PaymentFinding]:
        found = yield from SandboxChannel.close(self, ask)
        return Closed() if isinstance(found, AlreadyPaid) else found

    return plant(close=close)


def gives_back_when_it_closes() -> Case:
    """Its close is a cancel that gives money back, and the method does not say so."""

    class Cancelling(SandboxSimulator):
        def handle(self, request: Request, now: int) -> Reply | None:
            if request.url.endswith("/trades/close"):
                number = wire.text(wire.read(request.body), "out_trade_no")
                seen = self.trade(number)
                if seen is not None and seen.paid_minor > seen.returned_minor:
                    self.refund_in_console(number, now, amount_minor=seen.paid_minor)
            return super().handle(request, now)

    return played(Cancelling)


# ---------------------------------------------------------------------------------------------- refunds


def a_refund_for_each_try() -> Case:
    def refund(self: Any, ask: RefundAsk) -> Conversation[RefundFinding]:
        return (
            yield from SandboxChannel.refund(self, replace(ask, refund_id=f"{ask.refund_id[:20]}{ask.nonce[-7:]}X"))
        )

    return plant(refund=refund)


def refunds_fail_at_once() -> Case:
    def refund(self: Any, ask: RefundAsk) -> Conversation[RefundFinding]:
        found = yield from SandboxChannel.refund(self, ask)
        return found if isinstance(found, Refunded) else RefundFailed(reading.failure("refund_failed", "X"))

    return plant(refund=refund)


def tells_the_sum_of_refunds() -> Case:
    """Alipay's refund_fee is the sum over the trade: read as this refund's amount it is wrong from the second on."""
    sums: dict[str, int] = {}

    def refund(self: Any, ask: RefundAsk) -> Conversation[RefundFinding]:
        found = yield from SandboxChannel.refund(self, ask)
        if isinstance(found, Refunded):
            number = ask.payment.payment_id
            sums[number] = sums.get(number, 0) + ask.amount_minor
            return replace(found, amount_minor=sums[number])
        return found

    return plant(refund=refund)


def refunded_is_closed() -> Case:
    return _reads_as(lambda found: Closed() if found.refunds else found)


def hides_the_consoles_refunds() -> Case:
    def read(self: Any, notice: RawNotice, now: int) -> Notice:
        read = SandboxChannel.read_notice(self, notice, now)
        ours = tuple(about for about in read.findings if isinstance(about, AboutPayment))
        return replace(read, findings=ours)

    def query(self: Any, ask: PaymentAsk) -> Conversation[PaymentFinding]:
        found = yield from SandboxChannel.query(self, ask)
        return replace(found, refunds=()) if isinstance(found, Paid) else found

    return plant(read_notice=read, query=query)


def always_refunded() -> Case:
    def refund(self: Any, ask: RefundAsk) -> Conversation[RefundFinding]:
        yield from SandboxChannel.refund(self, ask)
        return Refunded(ask.amount_minor)

    return plant(refund=refund)


def never_heard_is_refunded() -> Case:
    def query_refund(self: Any, ask: RefundAsk) -> Conversation[RefundFinding]:
        found = yield from SandboxChannel.query_refund(self, ask)
        return Refunded() if isinstance(found, RefundNotFound) else found

    return plant(query_refund=query_refund)


# ---------------------------------------------------------------------------------------------- secrets


def prints_its_key() -> Case:
    def init(self: Any, account: AccountKeys) -> None:
        SandboxChannel.__init__(self, account)
        self._kept = {"private_key": account.versions[0].settings["private_key"].reveal()}  # type: ignore[union-attr]

    return plant(__init__=init)


def logs_its_key() -> Case:
    import logging

    def init(self: Any, account: AccountKeys) -> None:
        SandboxChannel.__init__(self, account)
        self._settings = account.versions[0].settings

    def query(self: Any, ask: PaymentAsk) -> Conversation[PaymentFinding]:
        logging.getLogger("planted").debug("signing with %s", self._settings["private_key"].reveal())
        return (yield from SandboxChannel.query(self, ask))

    return plant(__init__=init, query=query)


def sends_its_key() -> Case:
    def init(self: Any, account: AccountKeys) -> None:
        SandboxChannel.__init__(self, account)
        self._settings = account.versions[0].settings

    def query(self: Any, ask: PaymentAsk) -> Conversation[PaymentFinding]:
        conversation = SandboxChannel.query(self, ask)
        request = next(conversation)
        key = self._settings["private_key"].reveal()
        reply = yield replace(request, headers={**request.headers, "x-api-key": key})
        try:
            conversation.send(reply)
        except StopIteration as stop:
            finding: PaymentFinding = stop.value
            return finding
        raise AssertionError("it asks once")

    return plant(__init__=init, query=query)


def repeats_settings_in_errors() -> Case:
    def init(self: Any, account: AccountKeys) -> None:
        key = account.versions[0].settings["private_key"]
        merchant = account.versions[0].settings["merchant"]
        if not str(merchant).startswith("SANDBOX") or str(merchant).endswith("!"):
            raise ValueError(f"no merchant {merchant} has the key {key.reveal()}")  # type: ignore[union-attr]
        SandboxChannel.__init__(self, account)

    loose = tuple(replace(setting, pattern="") for setting in SANDBOX.settings)
    return plant({"settings": loose}, __init__=init)


# ---------------------------------------------------------------------------------------------- actions


def _plans_as(change: Callable[[PaymentAsk, Ready], Ready]) -> Case:
    def prepare(self: Any, ask: PaymentAsk) -> Conversation[PaymentFinding]:
        found = yield from SandboxChannel.prepare(self, ask)
        return change(ask, found) if isinstance(found, Ready) else found

    return plant(prepare=prepare)


def wrong_types_for_the_sdk() -> Case:
    return _plans_as(
        lambda ask, ready: replace(
            ready, plan_json=ready.plan_json.replace('\\"showLoading\\":true', '\\"showLoading\\":\\"1\\"')
        )
    )


def undeclared_steps() -> Case:
    return described(**methods(step_kinds=("qr",)))


def nothing_for_the_target() -> Case:
    def only_the_phone(ask: PaymentAsk, ready: Ready) -> Ready:
        plan = Plan.from_json(ready.plan_json)
        steps = tuple(step for step in plan.steps if step.target.value == "android") or plan.steps
        return replace(ready, plan_json=replace(plan, steps=steps).to_json())

    def prepare(self: Any, ask: PaymentAsk) -> Conversation[PaymentFinding]:
        target = "android" if ask.target else ""
        found = yield from SandboxChannel.prepare(self, replace(ask, target=target))
        return only_the_phone(ask, found) if isinstance(found, Ready) else found

    return plant(prepare=prepare)


def outlives_its_payment() -> Case:
    return _plans_as(lambda ask, ready: replace(ready, expires_at=ask.expires_at + HOUR))


def unsigned_orders() -> Case:
    def broken(ask: PaymentAsk, ready: Ready) -> Ready:
        if ask.method != "app":
            return ready
        sealed = Plan.from_json(ready.plan_json).steps[0].params["arguments"]["orderString"]
        return replace(ready, plan_json=ready.plan_json.replace(sealed, f"{sealed[:-2]}AA"))

    return _plans_as(broken)


def undescribed_sdk() -> Case:
    channel: Any = type("Planted", (SandboxChannel,), {"__module__": "tests.conformance.planted"})
    return Case(kind=replace(SANDBOX, open=channel), simulator=SandboxSimulator)


# ---------------------------------------------------------------------------------------------- extras


def statements_of_nothing() -> Case:
    def statement(self: Any, ask: StatementAsk) -> Conversation[StatementFinding]:
        yield from SandboxChannel.statement(self, ask)
        return Statement(ask.statement, ask.day, self.merchant, ())

    return plant(statement=statement)


def statements_without_signs() -> Case:
    def statement(self: Any, ask: StatementAsk) -> Conversation[StatementFinding]:
        found = yield from SandboxChannel.statement(self, ask)
        if not isinstance(found, Statement):
            return found
        lines = tuple(
            replace(line, amount=replace(line.amount, digits=abs(line.amount.digits))) for line in found.lines
        )
        return replace(found, lines=lines)

    return plant(statement=statement)


def cries_wolf_on_empty_days() -> Case:
    def statement(self: Any, ask: StatementAsk) -> Conversation[StatementFinding]:
        found = yield from SandboxChannel.statement(self, ask)
        return Unknown("nothing there") if isinstance(found, Statement) and not found.lines else found

    return plant(statement=statement)


def operations_always_work() -> Case:
    def operate(self: Any, ask: OperationAsk) -> Conversation[OperationFinding]:
        yield from SandboxChannel.operate(self, ask)
        return OperationDone()

    return plant(operate=operate)


def confirms_anything() -> Case:
    def confirm(self: Any, ask: EvidenceAsk) -> Conversation[Confirmed]:
        yield from ()
        head = ask.evidence.partition(".")[0]
        import base64

        try:
            document = wire.read(base64.urlsafe_b64decode(head + "=" * (-len(head) % 4)))
            return Confirmed((reading.about_purchase(wire.read_purchase(document)),), may_finish=True)
        except (wire.Unreadable, ValueError) as error:
            raise Forged("unreadable") from error

    return plant(confirm=confirm)


def _told_as(confirmed: Confirmed, **changes: Any) -> Confirmed:
    """The same purchase, told otherwise."""
    [about] = confirmed.findings
    assert isinstance(about, AboutPayment)
    assert isinstance(about.finding, Paid)
    return replace(confirmed, findings=(replace(about, finding=replace(about.finding, **changes)),))


def confirms_for_whoever_asks() -> Case:
    def confirm(self: Any, ask: EvidenceAsk) -> Conversation[Confirmed]:
        confirmed = yield from SandboxChannel.confirm(self, ask)
        return _told_as(confirmed, merchant=self.merchant)

    return plant(confirm=confirm)


def a_purchase_without_its_transaction() -> Case:
    def confirm(self: Any, ask: EvidenceAsk) -> Conversation[Confirmed]:
        confirmed = yield from SandboxChannel.confirm(self, ask)
        return _told_as(confirmed, references=())

    return plant(confirm=confirm)


REFRESHING: dict[str, Any] = {"verbs": frozenset(ChannelVerb), "refresh_seconds": 3600}


def _refresh(self: Any, ask: RefreshAsk) -> Conversation[RefreshFinding]:
    """Fetches an empty day's statement, for want of something better: a signed answer is what counts."""
    about = StatementAsk("trades", "2026-01-01", ask.now, ask.nonce)
    found = yield from SandboxChannel.statement(self, about)
    return Refreshed(Secret("fetched")) if isinstance(found, Statement) else Unknown("not fetched")


def refreshing() -> Case:
    """A sandbox that fetches something, and does so well."""
    return plant(REFRESHING, refresh=_refresh)


def refreshed_by_rubbish() -> Case:
    def refresh(self: Any, ask: RefreshAsk) -> Conversation[RefreshFinding]:
        yield from _refresh(self, ask)
        return Refreshed(Secret("whatever came"))

    return plant(REFRESHING, refresh=refresh)


def does_not_open_with_what_it_fetched() -> Case:
    def init(self: Any, account: AccountKeys) -> None:
        if account.blob is not None:
            raise ValueError("what is that?")
        SandboxChannel.__init__(self, account)

    return plant(REFRESHING, refresh=_refresh, __init__=init)


# ---------------------------------------------------------------------------------------------- through the engine


def is_never_told_that_it_was_paid() -> Case:
    """Neither by notice nor by query: the money is taken, and the order waits for ever."""

    def read(self: Any, notice: RawNotice, now: int) -> Notice:
        return replace(SandboxChannel.read_notice(self, notice, now), findings=())

    def query(self: Any, ask: PaymentAsk) -> Conversation[PaymentFinding]:
        found = yield from SandboxChannel.query(self, ask)
        return Unknown("later") if isinstance(found, Paid) else found

    return plant(read_notice=read, query=query)


def never_in_time() -> Case:
    """Wants more time than an order has: it can be declared and never chosen."""
    return described(**methods(expiry_min_seconds=14 * 24 * 3600))


class Boasting(ChannelKind):
    """Says of its payments what its verbs do not hold."""

    def terms(self, method: Method) -> Terms:
        return Terms()


def boasts() -> Case:
    plain = modest().kind
    kind = Boasting(**{one.name: getattr(plain, one.name) for one in fields(plain)})
    return Case(kind=kind, simulator=SandboxSimulator)


def loses_money_in_a_storm() -> Case:
    """Silence after a prepare is called a refusal: what was sent and not answered is given up, and paid all the same."""

    def query(self: Any, ask: PaymentAsk) -> Conversation[PaymentFinding]:
        found = yield from SandboxChannel.query(self, ask)
        return Closed() if isinstance(found, Paid) else found

    def read(self: Any, notice: RawNotice, now: int) -> Notice:
        return replace(SandboxChannel.read_notice(self, notice, now), findings=())

    return plant(query=query, read_notice=read)


def lies_about(name: str) -> Case:
    return _fills_in(name)


def notices_lie_about(name: str) -> Case:
    return _notices_fill_in(name)


def modest() -> Case:
    """A good plugin that can only be paid and asked: no close, no refunds, no notices, no store."""
    words = {
        "verbs": frozenset({ChannelVerb.PREPARE, ChannelVerb.QUERY}),
        "methods": tuple(method for method in SANDBOX.methods if method.name != "store"),
        "statements": (),
        "operations": (),
        "refusals": {},
    }
    absent = ("close", "refund", "query_refund", "read_notice", "confirm", "statement", "operate")
    return plant(words, **dict.fromkeys(absent))
