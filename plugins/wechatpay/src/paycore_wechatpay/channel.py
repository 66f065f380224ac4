"""The channel of one account at WeChat Pay: each verb is a conversation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote, urlsplit

from paycore.channel import (
    AccountKeys,
    Conversation,
    Declined,
    Notice,
    PaymentAsk,
    PaymentFinding,
    RawNotice,
    Ready,
    RefreshAsk,
    Refreshed,
    RefreshFinding,
    RefundAsk,
    RefundFinding,
    Reply,
    Reversed,
    Secret,
    Statement,
    StatementAsk,
    StatementFinding,
    StatementNotReady,
    Unknown,
)
from paycore_bridge import BadStep, Plan
from paycore_wechatpay import bills, certificates, gateway, notices, plans, reading, wire
from paycore_wechatpay.bills import BadBill
from paycore_wechatpay.gateway import Answer, Question
from paycore_wechatpay.keys import PUBLIC_KEY, Keyring, Keys
from paycore_wechatpay.plans import Prepaid
from paycore_wechatpay.wire import SECOND, Unreadable

DESCRIPTION_BYTES = 127
REASON_BYTES = 80
REVERSIBLE = 15 * SECOND
"""Source: "Reverse an order": not before 15 s after the payment was asked for."""
H5_TYPES = {"ios": "iOS", "android": "Android"}
_BODY = "/v3/pay/transactions"


class WechatPayChannel:
    """An account at WeChat Pay, direct merchant mode."""

    def __init__(self, account: AccountKeys) -> None:
        self._ring = Keyring.of(account)

    @property
    def merchant(self) -> str:
        return self._ring.versions[0].mchid

    # ------------------------------------------------------------------------------------ payments

    def prepare(self, ask: PaymentAsk) -> Conversation[PaymentFinding]:
        match ask.method:
            case "app" | "jsapi" | "mini_program" | "native" | "h5":
                return (yield from self._order(ask))
            case "codepay":
                return (yield from self._charge(ask))
        return Declined(reading.failure("channel_refused", "METHOD_UNKNOWN"))

    def _order(self, ask: PaymentAsk) -> Conversation[PaymentFinding]:
        """Make the order. The same number and content again is the same order with a fresh way to pay it."""
        path = f"{_BODY}/{'jsapi' if ask.method == 'mini_program' else ask.method}"
        if ask.method == "h5" and not ask.client.get("client_ip"):
            return Declined(reading.failure("client_ip_missing", "PARAM_ERROR"))
        try:
            answer = yield from self._ask(gateway.post(path, self._order_of(ask), now=ask.now, nonce=ask.nonce))
            if answer.code:
                return reading.refused(answer, reading.PREPARE_REFUSALS)
            return _ready(self._plan(answer.document, ask))
        except Unreadable as error:
            return Unknown(str(error))

    def _order_of(self, ask: PaymentAsk) -> dict[str, Any]:
        order = {
            **self._named(ask),
            "time_expire": wire.moment(ask.expires_at),
            "notify_url": ask.notify_url,
            "amount": {"total": ask.amount_minor, "currency": ask.currency},
        }
        if ask.method in ("jsapi", "mini_program"):
            return order | {"payer": {"openid": ask.inputs["openid"]}}
        if ask.method == "h5":
            h5_type = H5_TYPES.get(str(ask.client.get("os", "")).lower(), "Wap")
            scene = {"payer_client_ip": str(ask.client["client_ip"]), "h5_info": {"type": h5_type}}
            return order | {"scene_info": scene}
        return order

    def _named(self, ask: PaymentAsk) -> dict[str, Any]:
        """Whose order it is and what it is about."""
        return {
            "appid": self._active().app_id(ask.method),
            "mchid": self.merchant,
            "description": wire.cut(ask.subject, DESCRIPTION_BYTES),
            "out_trade_no": ask.payment_id,
        }

    def _plan(self, document: Mapping[str, Any], ask: PaymentAsk) -> Plan:
        """What the payer's device does with the order that was made."""
        match ask.method:
            case "native":
                code_url = wire.text(document, "code_url")
                if not code_url.startswith(plans.CODE_SCHEMES):
                    raise Unreadable("the code to scan is not one of WeChat Pay's")
                return plans.qr_plan(code_url, now=ask.now, expires_at=ask.expires_at)
            case "h5":
                return self._h5_plan(wire.text(document, "h5_url"), ask)
            case "app":
                return plans.app_plan(self._prepaid(document, ask), target=ask.target)
            case "mini_program":
                return plans.mini_program_plan(self._prepaid(document, ask))
        return plans.jsapi_plan(self._prepaid(document, ask))

    def _h5_plan(self, h5_url: str, ask: PaymentAsk) -> Plan:
        keys = self._active()
        if not h5_url.startswith((*plans.H5_PAGES, *(f"{host}/" for host in keys.hosts))):
            raise Unreadable("the page to pay on is not one of WeChat Pay's")
        referer = keys.settings.get("h5_referer") or _origin(ask.return_url)
        return plans.h5_plan(h5_url, return_url=ask.return_url, referer=referer, now=ask.now, expires_at=ask.expires_at)

    def _prepaid(self, document: Mapping[str, Any], ask: PaymentAsk) -> Prepaid:
        keys = self._active()
        return Prepaid(
            key=keys.private,
            appid=keys.app_id(ask.method),
            mchid=keys.mchid,
            prepay_id=wire.text(document, "prepay_id"),
            nonce=gateway.another_nonce(ask.nonce, "device"),
            now=ask.now,
            expires_at=ask.expires_at,
        )

    def _charge(self, ask: PaymentAsk) -> Conversation[PaymentFinding]:
        """Charge the payer by the code that was scanned. Never asked twice: twice could charge twice."""
        document = {
            **self._named(ask),
            "payer": {"auth_code": ask.inputs["auth_code"]},
            "amount": {"total": ask.amount_minor, "currency": ask.currency},
            "scene_info": {"store_info": {"out_id": self._active().settings.get("store_id") or "0001"}},
        }
        question = gateway.post(f"{_BODY}/codepay", document, now=ask.now, nonce=ask.nonce, is_repeatable=False)
        return (yield from self._ask_trade(question, ask, reading.PREPARE_REFUSALS))

    def query(self, ask: PaymentAsk) -> Conversation[PaymentFinding]:
        return (yield from self._query(ask, ask.nonce))

    def _query(self, ask: PaymentAsk, nonce: str) -> Conversation[PaymentFinding]:
        question = gateway.get(f"{_trade_path(ask)}?mchid={self.merchant}", now=ask.now, nonce=nonce)
        return (yield from self._ask_trade(question, ask, reading.QUERY_REFUSALS))

    def _ask_trade(
        self, question: Question, ask: PaymentAsk, refusals: Mapping[str, PaymentFinding]
    ) -> Conversation[PaymentFinding]:
        try:
            answer = yield from self._ask(question)
            if answer.code:
                return reading.refused(answer, refusals)
            _expect(answer.document, "out_trade_no", ask.payment_id)
            return reading.trade_finding(wire.read_trade(answer.document))
        except Unreadable as error:
            return Unknown(str(error))

    def close(self, ask: PaymentAsk) -> Conversation[PaymentFinding]:
        """Close, and look. A done close answers 204 without a word about which order it was; the query names it."""
        try:
            if ask.method == "codepay":
                return (yield from self._reverse(ask))
            question = gateway.post(f"{_trade_path(ask)}/close", {"mchid": self.merchant}, now=ask.now, nonce=ask.nonce)
            answer = yield from self._ask(question)
            if answer.code:
                return reading.refused(answer, reading.CLOSE_REFUSALS)
            return (yield from self._query(ask, gateway.another_nonce(ask.nonce, "after the close")))
        except Unreadable as error:
            return Unknown(str(error))

    def _reverse(self, ask: PaymentAsk) -> Conversation[PaymentFinding]:
        """Reverse a barcode payment: what was not taken never will be, what was taken goes back whole.

        In its first 15 seconds it may only be asked about.
        """
        if ask.now < ask.created_at + REVERSIBLE:
            return (yield from self._query(ask, ask.nonce))
        document = {"appid": self._active().app_id(ask.method), "mchid": self.merchant}
        answer = yield from self._ask(
            gateway.post(f"{_trade_path(ask)}/reverse", document, now=ask.now, nonce=ask.nonce)
        )
        if answer.code:
            return reading.refused(answer, reading.CLOSE_REFUSALS)
        _expect(answer.document, "out_trade_no", ask.payment_id)
        return Reversed()

    # ------------------------------------------------------------------------------------ refunds

    def refund(self, ask: RefundAsk) -> Conversation[RefundFinding]:
        document = {
            "out_trade_no": ask.payment.payment_id,
            "out_refund_no": ask.refund_id,
            **({"reason": wire.cut(ask.reason, REASON_BYTES)} if ask.reason else {}),
            "notify_url": ask.notify_url,
            "amount": {"refund": ask.amount_minor, "total": ask.captured_minor, "currency": ask.currency},
        }
        try:
            answer = yield from self._ask(
                gateway.post("/v3/refund/domestic/refunds", document, now=ask.now, nonce=ask.nonce)
            )
            if answer.code:
                return reading.refused(answer, reading.REFUND_REFUSALS)
            _expect(answer.document, "out_refund_no", ask.refund_id)
            return reading.accepted_finding(wire.read_refund(answer.document))
        except Unreadable as error:
            return Unknown(str(error))

    def query_refund(self, ask: RefundAsk) -> Conversation[RefundFinding]:
        """Ask how it stands. In its first minute a refund may not be found yet; sending the same number again is harmless.

        Source: "Query a refund": ask from one minute after the application on.
        """
        path = f"/v3/refund/domestic/refunds/{quote(ask.refund_id, safe='')}"
        try:
            answer = yield from self._ask(gateway.get(path, now=ask.now, nonce=ask.nonce))
            if answer.code:
                return reading.refused(answer, reading.QUERY_REFUND_REFUSALS)
            _expect(answer.document, "out_refund_no", ask.refund_id)
            return reading.refund_finding(wire.read_refund(answer.document))
        except Unreadable as error:
            return Unknown(str(error))

    # ------------------------------------------------------------------------------------ what comes to us

    def read_notice(self, notice: RawNotice, now: int) -> Notice:
        return notices.read(self._ring, notice, now)

    # ------------------------------------------------------------------------------------ what an account keeps

    def refresh(self, ask: RefreshAsk) -> Conversation[RefreshFinding]:
        """Fetch the platform certificates. An account in public-key mode has none, and asks nobody."""
        keys = self._active()
        if keys.mode == PUBLIC_KEY:
            return Refreshed(certificates.pack(()))
        try:
            reply = yield from gateway.carry(keys, gateway.get(certificates.PATH, now=ask.now, nonce=ask.nonce))
            return Refreshed(self._certificates(keys, reply, ask))
        except Unreadable as error:
            return Unknown(str(error))

    def _certificates(self, keys: Keys, reply: Reply, ask: RefreshAsk) -> Secret:
        """What to keep. Only who knows the APIv3 key can have sealed them; the answer must be signed by one of them or of ours.

        Source: "Get the platform certificates", "the first download".
        """
        if reply.status != 200:
            raise Unreadable(f"WeChat Pay answered {reply.status}")
        fetched = certificates.opened(wire.read(reply.body), keys.apiv3_bytes)
        if not self._ring.verifiers.with_certificates(fetched).prove(reply.headers, reply.body, ask.now):
            raise Unreadable("the answer does not verify")
        kept = certificates.merged((*self._ring.fetched, *certificates.unpack(ask.blob)), fetched, ask.now)
        if not kept:
            raise Unreadable("every certificate has ended")
        return certificates.pack(kept)

    # ------------------------------------------------------------------------------------ bills

    def statement(self, ask: StatementAsk) -> Conversation[StatementFinding]:
        try:
            path = bills.PATHS[ask.statement].format(day=quote(ask.day, safe="-"))
            answer = yield from self._ask(gateway.get(path, now=ask.now, nonce=ask.nonce))
            if answer.code:
                return self._no_bill(answer, ask)
            plain = yield from self._download(answer.document, ask)
            lines = bills.lines_of(ask.statement, plain)
            return Statement(ask.statement, ask.day, self.merchant, lines)
        except (Unreadable, BadBill) as error:
            return Unknown(str(error))

    def _no_bill(self, answer: Answer, ask: StatementAsk) -> StatementFinding:
        """Without a bill, a day that is over had no movement, if that is certain; else there is none yet.

        Source: "Apply for the trade bill", NO_STATEMENT_EXIST (nothing was paid or refunded that day), STATEMENT_CREATING.
        """
        if answer.code == "STATEMENTCREATING":
            return StatementNotReady("WeChat Pay is still making the bill.")
        if answer.code != "NOSTATEMENTEXIST":
            return Unknown(f"WeChat Pay answered {answer.status} {answer.code}", authenticated=answer.is_signed)
        if answer.is_signed and ask.now >= bills.ready_at(ask.day):
            return Statement(ask.statement, ask.day, self.merchant, ())
        return StatementNotReady("WeChat Pay has no bill of that day: nothing moved, or it is not made yet.")

    def _download(self, document: Mapping[str, Any], ask: StatementAsk) -> Conversation[bytes]:
        """The file behind a signed answer. It is not signed itself: its hash is what proves it."""
        if wire.text(document, "hash_type") != "SHA1":
            raise Unreadable("the bill is announced by a hash that this plugin does not know")
        reply = yield from gateway.carry(
            self._active(),
            Question(
                "GET",
                self._path_below(wire.text(document, "download_url")),
                ask.now,
                gateway.another_nonce(ask.nonce, "file"),
                seconds=gateway.FILE_SECONDS,
                max_reply_bytes=bills.MAX_FILE_BYTES,
            ),
        )
        if reply.status != 200:
            raise Unreadable(f"WeChat Pay answered {reply.status} to the download")
        return bills.unpacked(reply.body, sha1=wire.text(document, "hash_value"))

    def _path_below(self, url: str) -> str:
        """The path of a download. Nothing is fetched from anywhere but the gateway and its backup."""
        for host in self._active().hosts:
            if url.startswith(f"{host}/v3/"):
                return url.removeprefix(host)
        raise Unreadable("the bill lies somewhere else than at the gateway")

    # ------------------------------------------------------------------------------------ speaking

    def _active(self) -> Keys:
        if self._ring.signing is None:
            raise ValueError("this account has no key version that signs")
        return self._ring.signing

    def _ask(self, question: Question) -> Conversation[Answer]:
        return (yield from gateway.ask(self._active(), self._ring.verifiers, question))


def _trade_path(ask: PaymentAsk) -> str:
    return f"{_BODY}/out-trade-no/{quote(ask.payment_id, safe='')}"


def _origin(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}/" if parts.scheme and parts.netloc else ""


def _ready(plan: Plan) -> PaymentFinding:
    """Ready with a plan that every shell can run; a plan that none could is not handed out."""
    try:
        plan.check(plans.STEP_SCHEMAS)
    except BadStep as error:
        return Unknown(f"no usable plan: {error}")
    return Ready(plan_json=plan.to_json(), expires_at=plan.expires_at)


def _expect(document: Mapping[str, Any], name: str, asked: str) -> None:
    """An answer about something else is no answer."""
    if document.get(name) != asked:
        raise Unreadable(f"the answer names another {name}")
