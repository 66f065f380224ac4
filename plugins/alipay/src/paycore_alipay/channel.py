"""The channel of one account: each verb is a conversation of one question, two where the first answer leaves a doubt."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey

from paycore.channel import (
    AccountKeys,
    Closed,
    Conversation,
    Declined,
    Environment,
    Forged,
    KeyVersion,
    NotFound,
    Notice,
    NoticeReply,
    Paid,
    PayerPaying,
    PaymentAsk,
    PaymentFinding,
    RawNotice,
    Ready,
    RefundAsk,
    RefundFinding,
    Request,
    Secret,
    StatementAsk,
    StatementFinding,
    StatementNotReady,
    Unknown,
    Waiting,
)
from paycore_alipay import bills, plans, reading, signing, wire
from paycore_alipay.wire import Answer, Unreadable
from paycore_bridge import BadStep, Plan

ACKNOWLEDGE = NoticeReply(200, {"content-type": "text/plain"}, b"success")
"""Alipay wants exactly these seven characters ("异步通知"); anything else makes it send the notice again."""

MAX_NOTICE_BYTES = 64 * 1024
CODE_MINUTES = 120
"""How long a code of alipay.trade.precreate lives at most."""

GATEWAYS = {
    Environment.PRODUCTION: "https://openapi.alipay.com/gateway.do",
    Environment.SANDBOX: "https://openapi-sandbox.dl.alipaydev.com/gateway.do",
}

_BUYER_ID = re.compile(r"2088[0-9]{12}", re.ASCII)
_MINUTE = 60 * wire.SECOND
_PRODUCTS = {
    "app": "QUICK_MSECURITY_PAY",
    "wap": "QUICK_WAP_WAY",
    "page": "FAST_INSTANT_TRADE_PAY",
    "qr": "FACE_TO_FACE_PAYMENT",
    "barcode": "FACE_TO_FACE_PAYMENT",
    "jsapi": "JSAPI_PAY",
    "mini_program": "JSAPI_PAY",
}


@dataclass(frozen=True, slots=True, repr=False)
class Keys:
    """One key version, its keys parsed. Never printed."""

    app_id: str
    seller_id: str
    gateway: str
    private: RSAPrivateKey
    alipay: RSAPublicKey
    certificates: Mapping[str, str]
    """The SNs that certificate mode sends along; empty in key mode."""
    alipay_cert_sn: str
    scheme: str
    universal_link: str
    mini_program_app_id: str

    @classmethod
    def parse(cls, version: KeyVersion, environment: Environment) -> Keys:
        """Read the settings of a version. Raises ValueError with a sentence that repeats no setting."""
        settings = version.settings
        secret = settings.get("app_private_key", "")
        app_id = _plain(settings, "app_id")
        certificates, cert_sn, alipay = _trust(settings)
        return cls(
            app_id=app_id,
            seller_id=_plain(settings, "seller_id"),
            gateway=_plain_or(settings, "gateway", GATEWAYS[environment]),
            private=signing.read_private_key(secret if isinstance(secret, Secret) else Secret(secret)),
            alipay=alipay,
            certificates=certificates,
            alipay_cert_sn=cert_sn,
            scheme=_plain_or(settings, "ios_scheme", f"ap{app_id}"),
            universal_link=_plain_or(settings, "ios_universal_link", ""),
            mini_program_app_id=_plain_or(settings, "mini_program_app_id", app_id),
        )

    @property
    def merchant(self) -> str:
        """Who is paid: the application and the seller behind it, both."""
        return merchant_name(self.app_id, self.seller_id)


_CERTIFICATES = ("app_cert", "alipay_cert", "alipay_root_cert")


def _trust(settings: Mapping[str, str | Secret]) -> tuple[Mapping[str, str], str, RSAPublicKey]:
    """What makes us believe Alipay: its public key, or its certificate together with the SNs that go along."""
    given = [name for name in _CERTIFICATES if settings.get(name)]
    if settings.get("alipay_public_key"):
        if given:
            raise ValueError("give Alipay's public key or the three certificates, not both")
        return {}, "", signing.read_public_key(_plain(settings, "alipay_public_key"))
    if len(given) != len(_CERTIFICATES):
        raise ValueError("give Alipay's public key, or all of app_cert, alipay_cert and alipay_root_cert")
    from paycore_alipay import certificates

    app, alipay, root = (_plain(settings, name) for name in _CERTIFICATES)
    certificates.check_issued(alipay, root)
    cert_sn, key = certificates.alipay_cert(alipay)
    sns = {"app_cert_sn": certificates.app_cert_sn(app), "alipay_root_cert_sn": certificates.root_cert_sn(root)}
    return sns, cert_sn, key


def _plain(settings: Mapping[str, str | Secret], name: str) -> str:
    value = settings.get(name)
    if not isinstance(value, str) or not value:
        raise ValueError(f"setting {name} is missing")
    return value


def _plain_or(settings: Mapping[str, str | Secret], name: str, default: str) -> str:
    value = settings.get(name)
    return value if isinstance(value, str) and value else default


def merchant_name(app_id: str, seller_id: str) -> str:
    """How a receiver of money is called in findings."""
    return f"{app_id}/{seller_id}"


class AlipayChannel:
    """An account at Alipay: one application of one seller."""

    def __init__(self, account: AccountKeys) -> None:
        parsed = {version.version: Keys.parse(version, account.environment) for version in account.versions}
        self._verifying = tuple(parsed[version.version] for version in account.versions)
        self._signing = None if account.signing is None else parsed[account.signing.version]
        self._is_sandbox = account.environment is Environment.SANDBOX
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
            case "wap" | "page":
                return self._page(ask)
            case "qr":
                return (yield from self._precreate(ask))
            case "jsapi" | "mini_program":
                return (yield from self._create(ask))
            case "barcode":
                return (yield from self._pay(ask))
        return Declined(reading.failure("channel_refused", "METHOD_UNKNOWN"))

    def _app(self, ask: PaymentAsk) -> PaymentFinding:
        """Only a signature (alipay.trade.app.pay): the trade begins when the payer logs in at Alipay."""
        keys = self._active()
        order_str = wire.write_form(
            self._signed("alipay.trade.app.pay", self._order(ask), ask.now, notify_url=ask.notify_url)
        )
        plan = plans.app_plan(
            order_str,
            target=ask.target,
            is_sandbox=self._is_sandbox,
            scheme=keys.scheme,
            universal_link=keys.universal_link,
            expires_at=ask.expires_at,
        )
        return _ready(plan)

    def _page(self, ask: PaymentAsk) -> PaymentFinding:
        """Only a signature (alipay.trade.wap.pay, alipay.trade.page.pay): the payer's browser brings it to Alipay."""
        biz = self._order(ask)
        if ask.method == "wap" and ask.return_url:
            biz["quit_url"] = ask.return_url
        parameters = self._signed(
            f"alipay.trade.{ask.method}.pay", biz, ask.now, notify_url=ask.notify_url, return_url=ask.return_url
        )
        plan_for = plans.wap_plan if ask.method == "wap" else plans.page_plan
        return _ready(plan_for(self._active().gateway, parameters, expires_at=ask.expires_at))

    def _precreate(self, ask: PaymentAsk) -> Conversation[PaymentFinding]:
        """A code (alipay.trade.precreate). The same number and content again is the same order, so it may be repeated."""
        minutes = max(1, min(CODE_MINUTES, (ask.expires_at - ask.created_at) // _MINUTE))
        biz = self._order(ask) | {"qr_code_timeout_express": f"{minutes}m"}

        def read(answer: Answer) -> PaymentFinding:
            code = plans.scannable(wire.text_of(answer.document, "qr_code"), self._active().gateway)
            expires_at = ask.now + minutes * _MINUTE
            return _ready(plans.qr_plan(code, code_expires_at=expires_at, expires_at=ask.expires_at))

        return (yield from self._prepare_by("alipay.trade.precreate", biz, ask, read))

    def _create(self, ask: PaymentAsk) -> Conversation[PaymentFinding]:
        """A trade for a payer inside Alipay (alipay.trade.create): its container or a mini program."""
        keys, buyer = self._active(), ask.inputs.get("buyer_open_id", "")
        name = "buyer_id" if _BUYER_ID.fullmatch(buyer) else "buyer_open_id"
        app_id = keys.mini_program_app_id if ask.method == "mini_program" else keys.app_id
        biz = self._order(ask) | {name: buyer, "op_app_id": app_id}

        def read(answer: Answer) -> PaymentFinding:
            trade_no = wire.number_of(answer.document, "trade_no")
            plan_for = plans.mini_program_plan if ask.method == "mini_program" else plans.container_plan
            return _ready(plan_for(trade_no, expires_at=ask.expires_at), channel_trade_no=trade_no)

        return (yield from self._prepare_by("alipay.trade.create", biz, ask, read))

    def _pay(self, ask: PaymentAsk) -> Conversation[PaymentFinding]:
        """Take the money of a payer whose code was scanned (alipay.trade.pay). Sent once: never repeated after silence."""
        biz = self._order(ask) | {"scene": "bar_code", "auth_code": ask.inputs.get("auth_code", "")}

        def read(answer: Answer) -> PaymentFinding:
            trade = reading.trade_of(answer.document, merchant=self._named(answer.document))
            if trade.paid_at is None:
                return Unknown("Alipay took the code and names no time of payment", authenticated=True)
            return reading.paid(trade)

        return (yield from self._prepare_by("alipay.trade.pay", biz, ask, read))

    def _prepare_by(
        self, method: str, biz: dict[str, Any], ask: PaymentAsk, read: Callable[[Answer], PaymentFinding]
    ) -> Conversation[PaymentFinding]:
        try:
            answer = yield from self._call(method, biz, ask.now, notify_url=ask.notify_url)
            if answer.code == "10003" and answer.is_signed:  # alipay.trade.pay: the payer has to confirm
                _expect(answer, "out_trade_no", ask.payment_id)
                trade_no = wire.number_of(answer.document, "trade_no")
                return _ready(plans.barcode_plan(expires_at=ask.expires_at), channel_trade_no=trade_no)
            if not answer.is_done:
                return reading.prepare_refusal(answer)
            _expect(answer, "out_trade_no", ask.payment_id)
            return read(answer)
        except Unreadable as error:
            return Unknown(str(error))

    def query(self, ask: PaymentAsk) -> Conversation[PaymentFinding]:
        try:
            answer = yield from self._call("alipay.trade.query", {"out_trade_no": ask.payment_id}, ask.now)
            if not answer.is_done:
                return reading.query_refusal(answer)
            _expect(answer, "out_trade_no", ask.payment_id)
            return reading.trade_finding(reading.trade_of(answer.document, merchant=self._named(answer.document)))
        except Unreadable as error:
            return Unknown(str(error))

    def close(self, ask: PaymentAsk) -> Conversation[PaymentFinding]:
        """Close an unpaid trade (alipay.trade.close); take a scanned payer's payment back (alipay.trade.cancel)."""
        if ask.method == "barcode":
            return (yield from self._cancel(ask))
        return (yield from self._close(ask))

    def _close(self, ask: PaymentAsk) -> Conversation[PaymentFinding]:
        try:
            answer = yield from self._call("alipay.trade.close", {"out_trade_no": ask.payment_id}, ask.now)
            if answer.is_done:
                _expect(answer, "out_trade_no", ask.payment_id)
                return Closed()
            refusal = reading.close_refusal(answer)
        except Unreadable as error:
            return Unknown(str(error))
        if refusal is not None:
            return refusal
        found = yield from self.query(ask)
        return PayerPaying() if isinstance(found, Waiting) else found

    def _cancel(self, ask: PaymentAsk) -> Conversation[PaymentFinding]:
        """A cancel returns the money of a payment that was taken; so nothing that is known to be paid is cancelled."""
        found = yield from self.query(ask)
        if not isinstance(found, Waiting | NotFound):
            return found
        try:
            answer = yield from self._call("alipay.trade.cancel", {"out_trade_no": ask.payment_id}, ask.now)
            if answer.is_done:
                _expect(answer, "out_trade_no", ask.payment_id)
        except Unreadable as error:
            return Unknown(str(error))
        if reading.is_too_late_to_cancel(answer):
            return (yield from self._close(ask))
        return reading.cancel_finding(answer)

    # ------------------------------------------------------------------------------------ refunds

    def refund(self, ask: RefundAsk) -> Conversation[RefundFinding]:
        """Send the refund (alipay.trade.refund), whole or in part, under its one number."""
        biz = {
            "out_trade_no": ask.payment.payment_id,
            "out_request_no": ask.refund_id,
            "refund_amount": wire.money(ask.amount_minor),
            **({"refund_reason": _plain_text(ask.reason, 256)} if ask.reason else {}),
        }
        try:
            answer = yield from self._call("alipay.trade.refund", biz, ask.now)
            if answer.is_done:
                _expect(answer, "out_trade_no", ask.payment.payment_id)
            return reading.refund_finding(answer)
        except Unreadable as error:
            return Unknown(str(error))

    def query_refund(self, ask: RefundAsk) -> Conversation[RefundFinding]:
        """Ask after the refund (alipay.trade.fastpay.refund.query). One that was begun at Alipay has Alipay's number."""
        number = ask.channel_refund_no or ask.refund_id
        biz = {
            "out_trade_no": ask.payment.payment_id,
            "out_request_no": number,
            "query_options": ["gmt_refund_pay"],
        }
        try:
            answer = yield from self._call("alipay.trade.fastpay.refund.query", biz, ask.now)
            if answer.is_done and wire.text_of(answer.document, "refund_status"):
                _expect(answer, "out_trade_no", ask.payment.payment_id)
                _expect(answer, "out_request_no", number)
            return reading.refund_query_finding(answer)
        except Unreadable as error:
            return Unknown(str(error))

    # ------------------------------------------------------------------------------------ bills

    def statement(self, ask: StatementAsk) -> Conversation[StatementFinding]:
        """Fetch a day's bill (alipay.data.dataservice.bill.downloadurl.query; the address lives for 30 seconds)."""
        biz = {"bill_type": bills.BILL_TYPES[ask.statement], "bill_date": ask.day}
        try:
            answer = yield from self._call("alipay.data.dataservice.bill.downloadurl.query", biz, ask.now)
            if not answer.is_done:
                return self._no_bill(answer, ask)
            url = bills.download_url(wire.text_of(answer.document, "bill_download_url"), self._active().gateway)
            reply = yield Request("GET", url, timeout_seconds=30.0, max_reply_bytes=bills.MAX_FILE_BYTES)
            if reply.status != 200:
                return Unknown(f"Alipay's bill server answered {reply.status}")
            return bills.read(reply.body, ask, merchant=self.merchant)
        except Unreadable as error:
            return Unknown(str(error))

    def _no_bill(self, answer: Answer, ask: StatementAsk) -> StatementFinding:
        if not answer.is_signed or answer.sub_code not in bills.NO_BILL:
            return reading.unknown(answer)
        if ask.now < bills.ready_at(ask.day):
            return StatementNotReady("Alipay has not made the bill of this day yet")
        return bills.empty(ask, merchant=self.merchant)

    # ------------------------------------------------------------------------------------ what comes to us

    def read_notice(self, notice: RawNotice, now: int) -> Notice:
        if notice.method != "POST" or len(notice.body) > MAX_NOTICE_BYTES:
            raise Forged("not a notice of Alipay's")
        try:
            pairs = wire.read_form(notice.body)
            self._verify_notice(pairs)
            return self._notice(wire.texts(pairs))
        except Unreadable as error:
            raise Forged(str(error)) from error

    def _verify_notice(self, pairs: list[tuple[bytes, bytes]]) -> None:
        """Verify the bytes before anybody reads them. The algorithm is ours to say; a message that names another is forged."""
        given = dict(pairs)
        if given.get(b"sign_type") != signing.SIGN_TYPE.encode():
            raise Forged("the notice is not signed with RSA2")
        signature = given.get(b"sign", b"").decode("latin-1")
        if not signing.verify(self._alipay_keys(), signature, signing.notice_bytes(pairs)):
            raise Forged("the notice does not verify")

    def _notice(self, parameters: Mapping[str, str]) -> Notice:
        findings = reading.notice_findings(parameters, merchant=self._named(parameters))
        notice_id = wire.number_of(parameters, "notify_id")
        is_anothers = self._named(parameters) != self.merchant
        if is_anothers and not all(isinstance(about.finding, Paid) for about in findings):
            raise Forged("the notice is about another merchant")  # a success names its merchant itself
        return Notice(findings, acknowledge=ACKNOWLEDGE, notice_id=notice_id)

    # ------------------------------------------------------------------------------------ speaking

    def _active(self) -> Keys:
        if self._signing is None:
            raise ValueError("this account has no key version that signs")
        return self._signing

    def _alipay_keys(self) -> tuple[RSAPublicKey, ...]:
        return tuple(keys.alipay for keys in self._verifying)

    def _named(self, document: Mapping[str, Any]) -> str:
        """The receiver that a document names. What it does not name is ours: Alipay answers us by a key of our own."""
        ours = self._verifying[0]
        app_id = wire.number_of(document, "app_id") or ours.app_id
        return merchant_name(app_id, wire.number_of(document, "seller_id") or ours.seller_id)

    def _order(self, ask: PaymentAsk) -> dict[str, Any]:
        """What every way of paying sends: never a relative time, always the instant at which nobody may pay any more."""
        body = _plain_text(ask.description, 128)
        return {
            "out_trade_no": ask.payment_id,
            "total_amount": wire.money(ask.amount_minor),
            "subject": _plain_text(ask.subject, 256) or ask.payment_id,
            "product_code": _PRODUCTS[ask.method],
            "time_expire": wire.time(ask.expires_at),
            **({"body": body} if body else {}),
        }

    def _signed(
        self, method: str, biz: Mapping[str, Any], now: int, *, notify_url: str = "", return_url: str = ""
    ) -> dict[str, str]:
        """The parameters of a call, signed ("公共请求参数"). None of them is empty."""
        keys = self._active()
        parameters = {
            "app_id": keys.app_id,
            "method": method,
            "format": "JSON",
            "charset": wire.CHARSET,
            "sign_type": signing.SIGN_TYPE,
            "timestamp": wire.time(now),
            "version": "1.0",
            **({"notify_url": notify_url} if notify_url else {}),
            **({"return_url": return_url} if return_url else {}),
            **keys.certificates,
            "biz_content": wire.write_json(biz),
        }
        content = signing.request_text(parameters).encode(wire.CHARSET)
        return parameters | {"sign": signing.sign(keys.private, content)}

    def _call(self, method: str, biz: Mapping[str, Any], now: int, *, notify_url: str = "") -> Conversation[Answer]:
        """Ask one question and return the answer, with whether Alipay vouches for it. Raises Unreadable for rubbish.

        The name of the call stands in the address, for whoever reads a trace; the signature never does.
        """
        parameters = self._signed(method, biz, now, notify_url=notify_url)
        in_address = {name: parameters.pop(name) for name in ("charset", "method")}
        reply = yield Request(
            "POST",
            f"{self._active().gateway}?{wire.write_form(in_address)}",
            headers={"content-type": f"application/x-www-form-urlencoded;charset={wire.CHARSET}"},
            body=wire.write_form(parameters).encode(),
            redact=frozenset({"sign", "biz_content"} if "auth_code" in biz else {"sign"}),
        )
        if reply.status != 200:
            raise Unreadable(f"the gateway answered {reply.status}")
        return self._read(reply.body, method)

    def _read(self, body: bytes, method: str) -> Answer:
        """Verify the exact text of the answer, then believe it. Without a signature it is a hint at best."""
        envelope = wire.open_envelope(body, method)
        if not envelope.signature:
            return wire.answer_of(envelope, is_signed=False)
        keys = [one.alipay for one in self._verifying if one.alipay_cert_sn in ("", envelope.cert_sn)]
        if not keys:
            raise Unreadable("the answer is signed under a certificate that this account does not know")
        if not signing.verify(keys, envelope.signature, envelope.content.encode(wire.CHARSET)):
            raise Unreadable("the answer does not verify")
        return wire.answer_of(envelope, is_signed=True)


def _ready(plan: Plan, *, channel_trade_no: str = "") -> PaymentFinding:
    """Ready with a plan that every shell can run; a plan that none could is not handed out."""
    try:
        plan.check(plans.STEP_SCHEMAS)
    except BadStep as error:
        return Unknown(f"no usable plan: {error}")
    return Ready(plan_json=plan.to_json(), expires_at=plan.expires_at, channel_trade_no=channel_trade_no)


_SPECIAL = str.maketrans({"/": "／", "=": "＝", "&": "＆"})


def _plain_text(text: str, most: int) -> str:
    """A text for a payer's eyes as Alipay takes it: no control characters, none of the marks that it forbids, not longer."""
    shown = "".join(mark if mark.isprintable() else " " for mark in text)
    return shown.translate(_SPECIAL)[:most].strip()


def _expect(answer: Answer, name: str, asked: str) -> None:
    """An answer about something else is no answer."""
    if wire.text_of(answer.document, name) != asked:
        raise Unreadable(f"the answer names another {name}")
