"""The channel of one account: each verb is a conversation that asks one question at most."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from paycore.channel import (
    AccountKeys,
    AlreadyPaid,
    Confirmed,
    Conversation,
    Declined,
    EvidenceAsk,
    Forged,
    KeyVersion,
    Notice,
    NoticeReply,
    OperationAsk,
    OperationDone,
    OperationFinding,
    OperationRefused,
    Paid,
    PaymentAsk,
    PaymentFinding,
    RawNotice,
    Ready,
    Reference,
    RefundAsk,
    RefundFinding,
    Reply,
    Request,
    Secret,
    StatementAsk,
    StatementFinding,
    StatementNotReady,
    Unknown,
)
from paycore_bridge import BadStep, Plan
from paycore_sandbox import plans, reading, signing, wire
from paycore_sandbox.wire import Unreadable

ACKNOWLEDGE = NoticeReply(200, {"content-type": "application/json"}, b'{"ack":"ok"}')
MAX_NOTICE_BYTES = 64 * 1024
MAX_STATEMENT_BYTES = 16 * 1024 * 1024
TRADES = "trades"
SEND_RECEIPT = "send_receipt"


@dataclass(frozen=True, slots=True, repr=False)
class Keys:
    """One key version, its keys parsed. Never printed."""

    merchant: str
    base_url: str
    private: Ed25519PrivateKey
    channel: Ed25519PublicKey

    @classmethod
    def parse(cls, version: KeyVersion) -> Keys:
        """Read the settings of a version. Raises ValueError with a sentence that repeats no setting."""
        settings = version.settings
        secret = settings["private_key"]
        return cls(
            merchant=_plain(settings, "merchant"),
            base_url=_plain(settings, "base_url").rstrip("/"),
            private=signing.read_private_key(secret if isinstance(secret, Secret) else Secret(secret)),
            channel=signing.read_public_key(_plain(settings, "channel_key")),
        )


def _plain(settings: Mapping[str, str | Secret], name: str) -> str:
    value = settings.get(name)
    if not isinstance(value, str) or not value:
        raise ValueError(f"setting {name} is missing")
    return value


@dataclass(frozen=True, slots=True)
class Answer:
    """A verified reply: a code ("OK" when it was done) and its document."""

    code: str
    document: dict[str, Any]


class SandboxChannel:
    """An account at the sandbox channel."""

    def __init__(self, account: AccountKeys) -> None:
        parsed = {version.version: Keys.parse(version) for version in account.versions}
        self._verifying = tuple(parsed[version.version] for version in account.versions)
        self._signing = None if account.signing is None else parsed[account.signing.version]
        if not self._verifying:
            raise ValueError("an account needs at least one key version")
        if len({keys.merchant for keys in self._verifying}) != 1:
            raise ValueError("the key versions of an account name different merchants")

    @property
    def merchant(self) -> str:
        return self._verifying[0].merchant

    # ------------------------------------------------------------------------------------ payments

    def prepare(self, ask: PaymentAsk) -> Conversation[PaymentFinding]:
        match ask.method:
            case "app":
                return self._app(ask)
            case "store":
                return self._store(ask)
            case "qr" | "redirect":
                return (yield from self._create(ask))
        return Declined(reading.failure("channel_refused", "METHOD_UNKNOWN"))

    def _app(self, ask: PaymentAsk) -> PaymentFinding:
        """Only a signature: the trade begins at the channel when the payer opens it."""
        keys = self._active()
        order = signing.seal(keys.private, "sandbox-order", wire.write(self._trade_request(ask)))
        return _ready(plans.app_plan(order, base_url=keys.base_url, target=ask.target, expires_at=ask.expires_at))

    def _store(self, ask: PaymentAsk) -> PaymentFinding:
        """Nothing to ask: the store learns of it when the payer buys."""
        plan = plans.store_plan(
            product_id=ask.product_id, token=ask.token, quantity=ask.quantity, expires_at=ask.expires_at
        )
        return _ready(plan, references=(Reference(reading.TOKEN, ask.token),))

    def _create(self, ask: PaymentAsk) -> Conversation[PaymentFinding]:
        """Make the trade. The channel takes the same number and content twice as one trade."""
        try:
            answer = yield from self._call("/v1/trades", self._trade_request(ask), ask)
            if answer.code != "OK":
                return reading.PREPARE_REFUSALS.get(answer.code, _unknown(answer))
            _expect(answer.document, "out_trade_no", ask.payment_id)
            return _ready(_created_plan(answer.document, ask), channel_trade_no=wire.text(answer.document, "trade_no"))
        except Unreadable as error:
            return Unknown(str(error))

    def query(self, ask: PaymentAsk) -> Conversation[PaymentFinding]:
        try:
            if ask.method == "store":
                return (yield from self._query_purchase(ask))
            answer = yield from self._call("/v1/trades/query", {"out_trade_no": ask.payment_id}, ask)
            if answer.code != "OK":
                return reading.QUERY_REFUSALS.get(answer.code, _unknown(answer))
            _expect(answer.document, "out_trade_no", ask.payment_id)
            return reading.trade_finding(wire.read_trade(answer.document))
        except Unreadable as error:
            return Unknown(str(error))

    def _query_purchase(self, ask: PaymentAsk) -> Conversation[PaymentFinding]:
        answer = yield from self._call("/v1/purchases/query", {"account_token": ask.token}, ask)
        if answer.code != "OK":
            return reading.QUERY_REFUSALS.get(answer.code, _unknown(answer))
        _expect(answer.document, "account_token", ask.token)
        return reading.purchase_finding(wire.read_purchase(answer.document))

    def close(self, ask: PaymentAsk) -> Conversation[PaymentFinding]:
        try:
            if ask.method == "store":
                finding = yield from self._query_purchase(ask)
                return AlreadyPaid() if isinstance(finding, Paid) else finding
            answer = yield from self._call("/v1/trades/close", {"out_trade_no": ask.payment_id}, ask)
            if answer.code != "OK":
                return reading.CLOSE_REFUSALS.get(answer.code, _unknown(answer))
            _expect(answer.document, "out_trade_no", ask.payment_id)
            return reading.close_finding(wire.read_trade(answer.document))
        except Unreadable as error:
            return Unknown(str(error))

    # ------------------------------------------------------------------------------------ refunds

    def refund(self, ask: RefundAsk) -> Conversation[RefundFinding]:
        request = {
            **self._refund_name(ask),
            **wire.money(ask.amount_minor, ask.currency),
            "reason": ask.reason,
            "notify_url": ask.notify_url,
        }
        return (yield from self._ask_refund("/v1/refunds", request, ask, reading.REFUND_REFUSALS))

    def query_refund(self, ask: RefundAsk) -> Conversation[RefundFinding]:
        request = self._refund_name(ask)
        return (yield from self._ask_refund("/v1/refunds/query", request, ask, reading.QUERY_REFUND_REFUSALS))

    def _refund_name(self, ask: RefundAsk) -> dict[str, Any]:
        named = {"out_refund_no": ask.refund_id, "out_trade_no": ask.payment.payment_id}
        return named | ({"account_token": ask.payment.token} if ask.payment.method == "store" else {})

    def _ask_refund(
        self, path: str, document: dict[str, Any], ask: RefundAsk, refusals: Mapping[str, RefundFinding]
    ) -> Conversation[RefundFinding]:
        try:
            answer = yield from self._call(path, document, ask)
            if answer.code != "OK":
                return refusals.get(answer.code, _unknown(answer))
            _expect(answer.document, "out_refund_no", ask.refund_id)
            return reading.refund_finding(wire.read_refund(answer.document))
        except Unreadable as error:
            return Unknown(str(error))

    # ------------------------------------------------------------------------------------ what comes to us

    def read_notice(self, notice: RawNotice, now: int) -> Notice:
        merchant, timestamp, notice_id, signature = (
            notice.headers.get(name, "")
            for name in (signing.MERCHANT, signing.TIMESTAMP, signing.NONCE, signing.SIGNATURE)
        )
        if notice.method != "POST" or len(notice.body) > MAX_NOTICE_BYTES:
            raise Forged("not a notice of this channel")
        if not signing.is_fresh(timestamp, now):
            raise Forged("the notice's timestamp is missing or too far from now")
        words = ("sandbox-notice", merchant, timestamp, notice_id)
        if not any(signing.verify(keys.channel, signature, *words, body=notice.body) for keys in self._verifying):
            raise Forged("the notice does not verify")
        try:
            return Notice(_notice_findings(wire.read(notice.body)), acknowledge=ACKNOWLEDGE, notice_id=notice_id)
        except Unreadable as error:
            raise Forged(f"a signed notice cannot be read: {error}") from error

    def confirm(self, ask: EvidenceAsk) -> Conversation[Confirmed]:
        yield from ()  # the store's signature says everything; there is nothing to ask
        try:
            purchase = wire.read_purchase(wire.read(self._unsealed(ask.evidence)))
        except Unreadable as error:
            raise Forged(f"a signed purchase cannot be read: {error}") from error
        return Confirmed((reading.about_purchase(purchase),), may_finish=True)

    def _unsealed(self, evidence: str) -> bytes:
        for keys in self._verifying:
            try:
                return signing.unseal(keys.channel, "sandbox-purchase", evidence)
            except Forged:
                continue
        raise Forged("the purchase does not verify")

    # ------------------------------------------------------------------------------------ beside payments

    def statement(self, ask: StatementAsk) -> Conversation[StatementFinding]:
        try:
            answer = yield from self._call("/v1/statements", {"day": ask.day}, ask, most=MAX_STATEMENT_BYTES)
            if answer.code == "STATEMENT_NOT_READY":
                return StatementNotReady("the day is not over yet")
            if answer.code != "OK":
                return Unknown(f"the channel answered {answer.code}")
            _expect(answer.document, "day", ask.day)
            return wire.read_statement(answer.document, ask.statement)
        except Unreadable as error:
            return Unknown(str(error))

    def operate(self, ask: OperationAsk) -> Conversation[OperationFinding]:
        document = {"out_trade_no": ask.payment.payment_id, "email": ask.inputs["email"]}
        try:
            answer = yield from self._call("/v1/receipts", document, ask)
            if answer.code in ("TRADE_NOT_FOUND", "TRADE_NOT_PAID"):
                return OperationRefused(reading.failure("channel_refused", answer.code))
            if answer.code != "OK":
                return Unknown(f"the channel answered {answer.code}")
            _expect(answer.document, "out_trade_no", ask.payment.payment_id)
            return OperationDone({"receipt_no": wire.text(answer.document, "receipt_no")})
        except Unreadable as error:
            return Unknown(str(error))

    # ------------------------------------------------------------------------------------ speaking

    def _active(self) -> Keys:
        if self._signing is None:
            raise ValueError("this account has no key version that signs")
        return self._signing

    def _trade_request(self, ask: PaymentAsk) -> dict[str, Any]:
        return {
            "merchant": self.merchant,
            "method": ask.method,
            "out_trade_no": ask.payment_id,
            **wire.money(ask.amount_minor, ask.currency),
            "subject": ask.subject,
            "expires_at_ms": wire.to_ms(ask.expires_at),
            "notify_url": ask.notify_url,
            "return_url": ask.return_url,
        }

    def _call(
        self,
        path: str,
        document: dict[str, Any],
        ask: PaymentAsk | RefundAsk | StatementAsk | OperationAsk,
        *,
        most: int | None = None,
    ) -> Conversation[Answer]:
        """Ask one question and return the verified answer. Raises Unreadable for a reply that proves nothing."""
        keys = self._active()
        body, timestamp = wire.write(document), str(ask.now // signing.SECOND)
        words = ("sandbox-request", "POST", path, keys.merchant, timestamp, ask.nonce)
        headers = {
            "content-type": "application/json",
            "accept": "application/json",
            signing.MERCHANT: keys.merchant,
            signing.TIMESTAMP: timestamp,
            signing.NONCE: ask.nonce,
            signing.SIGNATURE: signing.sign(keys.private, *words, body=body),
        }
        reply = yield Request(
            "POST",
            f"{keys.base_url}{path}",
            headers=headers,
            body=body,
            redact=frozenset({signing.SIGNATURE, "email"}),
            max_reply_bytes=most,
        )
        return self._read(reply, nonce=ask.nonce, now=ask.now)

    def _read(self, reply: Reply, *, nonce: str, now: int) -> Answer:
        """Verify the bytes, then parse them. A 5xx says nothing, whoever signed it."""
        if reply.status >= 500:
            raise Unreadable(f"the channel answered {reply.status}")
        timestamp, signature = reply.headers.get(signing.TIMESTAMP, ""), reply.headers.get(signing.SIGNATURE, "")
        words = ("sandbox-reply", str(reply.status), nonce, timestamp)
        if not signing.is_fresh(timestamp, now):
            raise Unreadable("the answer's timestamp is missing or too far from now")
        if not any(signing.verify(keys.channel, signature, *words, body=reply.body) for keys in self._verifying):
            raise Unreadable("the answer does not verify")
        document = wire.read(reply.body)
        return Answer("OK" if reply.status == 200 else wire.text(document, "code"), document)


def _created_plan(document: Mapping[str, Any], ask: PaymentAsk) -> Plan:
    """The plan for a trade that the channel has made."""
    if ask.method == "qr":
        return plans.qr_plan(
            wire.text(document, "qr_content"),
            code_expires_at=wire.instant(document, "code_expires_at_ms"),
            expires_at=ask.expires_at,
        )
    return plans.redirect_plan(wire.text(document, "page_url"), expires_at=ask.expires_at)


def _ready(plan: Plan, *, channel_trade_no: str = "", references: tuple[Reference, ...] = ()) -> PaymentFinding:
    """Ready with a plan that every shell can run; a plan that none could is not handed out."""
    try:
        plan.check(plans.STEP_SCHEMAS)
    except BadStep as error:
        return Unknown(f"no usable plan: {error}")
    return Ready(
        plan_json=plan.to_json(),
        expires_at=plan.expires_at,
        channel_trade_no=channel_trade_no,
        references=references,
    )


def _notice_findings(document: Mapping[str, Any]) -> tuple[Any, ...]:
    """What a verified notice tells. An event that we do not know tells nothing, and is acknowledged all the same."""
    body = document.get("data")
    if not isinstance(body, dict):
        raise Unreadable("data is not an object")
    match wire.text(document, "event"):
        case "trade":
            return (reading.about_trade(wire.read_trade(body)),)
        case "refund":
            return (reading.about_refund(wire.read_refund(body)),)
        case "purchase":
            return (reading.about_purchase(wire.read_purchase(body)),)
    return ()


def _expect(document: Mapping[str, Any], name: str, asked: str) -> None:
    """An answer about something else is no answer."""
    if document.get(name) != asked:
        raise Unreadable(f"the answer names another {name}")


def _unknown(answer: Answer) -> Unknown:
    return Unknown(f"the channel answered {answer.code[:64]}", authenticated=True)
