"""Alipay's own side in one object: keys, books, signed answers, notices, pages, faults. No I/O, no clock, no chance of its own."""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from enum import Enum
from typing import Any
from urllib.parse import parse_qs, urlsplit

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

from paycore.channel import (
    Forged,
    Lie,
    NoticeReply,
    OutgoingNotice,
    RefundCourse,
    Reply,
    Request,
    ScanAnswer,
    TradeSeen,
)
from paycore.channel.simulating import Letter, Postbox
from paycore_alipay import plans, signing, wire
from paycore_alipay.simulator import bills, keys, pages
from paycore_alipay.simulator.books import DAY, Books, NotPayable, Refund, Refusal, Trade, amount_in
from paycore_alipay.simulator.faults import BEFORE_EFFECT, Fault, Faults, NoticeFault, RefundEnd
from paycore_alipay.simulator.postbox import LADDER, PATIENCE, Notice
from paycore_alipay.wire import Unreadable
from paycore_bridge import (
    BadStep,
    Form,
    JsapiCall,
    MiniProgramCall,
    Nothing,
    Plan,
    Qr,
    Redirect,
    SdkCall,
    Step,
    Target,
)

ACKNOWLEDGED = b"success"
SHOWN_TRADES = 50
CLOCK_SKEW = 15 * 60 * wire.SECOND
"""How far a call's timestamp may be from our clock: a merchant that writes another zone's time is refused."""
DOWNLOAD_LIFETIME = 30 * wire.SECOND

_PRODUCTS = {
    "alipay.trade.app.pay": {"QUICK_MSECURITY_PAY"},
    "alipay.trade.wap.pay": {"QUICK_WAP_WAY", "QUICK_WAP_PAY"},
    "alipay.trade.page.pay": {"FAST_INSTANT_TRADE_PAY"},
    "alipay.trade.precreate": {"FACE_TO_FACE_PAYMENT", "QR_CODE_OFFLINE"},
    "alipay.trade.create": {"JSAPI_PAY"},
    "alipay.trade.pay": {"FACE_TO_FACE_PAYMENT"},
}
_PAGES = frozenset({"alipay.trade.wap.pay", "alipay.trade.page.pay"})


class CodeAnswer(Enum):
    """What happens when a payer's code is scanned."""

    PAYS = "pays"
    HAS_TO_CONFIRM = "has_to_confirm"
    IS_INVALID = "is_invalid"
    HAS_NO_MONEY = "has_no_money"


@dataclass(frozen=True, slots=True)
class Merchant:
    """An application of a seller."""

    app_id: str
    seller_id: str


_SCANS = {
    ScanAnswer.PAYS: CodeAnswer.PAYS,
    ScanAnswer.HAS_TO_CONFIRM: CodeAnswer.HAS_TO_CONFIRM,
    ScanAnswer.IS_REFUSED: CodeAnswer.HAS_NO_MONEY,
}
_ENDS = {
    RefundCourse.DONE: RefundEnd.SUCCESS,
    RefundCourse.UNDER_WAY: RefundEnd.PROCESSING,
    RefundCourse.FAILED: RefundEnd.FAILED,
}

MERCHANTS = (Merchant("9021000100000001", "2088721000000001"), Merchant("9021000100000002", "2088721000000002"))


@dataclass(frozen=True, slots=True)
class Call:
    """A call as it arrived: for tests that count sends and compare numbers."""

    name: str
    subject: str
    document: Mapping[str, Any]
    at: int


@dataclass(frozen=True, slots=True)
class _Download:
    merchant: Merchant
    bill_type: str
    day: str
    until: int


class AlipaySimulator:
    """Alipay in miniature.

    With a seed its numbers are always the same, so a run can be repeated; its keys are always new, unless it is given a
    `ring` of them. One thread at a time may use it. All times are microseconds UTC and are handed in.
    """

    def __init__(
        self,
        seed: str | None = None,
        *,
        ladder: tuple[int, ...] = LADDER,
        ring: keys.KeyRing | None = None,
        merchants: tuple[Merchant, ...] = MERCHANTS,
    ) -> None:
        seed_bytes = hashlib.sha256((secrets.token_hex(32) if seed is None else seed).encode()).digest()
        self.ring = ring or keys.KeyRing()
        self.merchants = merchants
        self._issued: list[tuple[str, int]] = []
        """Which keys an application has, newest last, by its id and the key's version."""
        self._certified: set[str] = set()
        self._base_url = ""
        self._base_path = ""
        self._noticed = 0
        self._postbox = Postbox[Notice](ladder, patience=PATIENCE)
        self._codes_used: dict[str, str] = {}
        self._downloads: dict[str, _Download] = {}
        self.books = Books(seed_bytes)
        self.faults = Faults()
        self.calls: list[Call] = []
        """Every authentic call that arrived, in order."""
        self.next_codes: list[CodeAnswer] = []
        """What happens to the codes that are scanned from now on; then each one pays."""

    # ------------------------------------------------------------------------------------ keys

    def settings(
        self, base_url: str, merchant: Merchant | None = None, key_version: int = 1, *, by_certificates: bool = False
    ) -> Mapping[str, str]:
        """The account settings of a merchant here, reachable at this URL. The private key is plain text.

        Another key version is what rotation gives: both work until `retire_key`.
        """
        merchant = merchant or self.merchants[0]
        self._base_url = base_url.rstrip("/")
        self._base_path = urlsplit(self._base_url).path
        role = _app_role(merchant.app_id, key_version)
        if (merchant.app_id, key_version) not in self._issued:
            self._issued.append((merchant.app_id, key_version))
        alipay = _alipay_role(merchant.app_id)
        if by_certificates:
            self._certified.add(merchant.app_id)
            trust = {
                "app_cert": self.ring.certificate(role),
                "alipay_cert": self.ring.certificate(alipay),
                "alipay_root_cert": self.ring.root_bundle(),
            }
        else:
            trust = {"alipay_public_key": keys.public_text(self.ring.key(alipay))}
        return {
            "app_id": merchant.app_id,
            "seller_id": merchant.seller_id,
            "app_private_key": keys.private_text(self.ring.key(role)),
            "gateway": f"{self._base_url}/gateway.do",
            **trust,
        }

    def other_settings(self, base_url: str) -> Mapping[str, str]:
        """The account settings of a second merchant."""
        return self.settings(base_url, self.merchants[-1])

    def next_settings(self, base_url: str) -> Mapping[str, str]:
        """The first merchant's settings with a new application key."""
        return self.settings(base_url, key_version=2)

    def retire_key(self, merchant: Merchant | None = None, key_version: int = 1) -> None:
        """Take no more calls signed with this key."""
        self._issued.remove(((merchant or self.merchants[0]).app_id, key_version))

    def _app_roles(self, app_id: str) -> list[str]:
        """The roles of an application's keys that still count, the newest first."""
        return [_app_role(app_id, version) for owner, version in reversed(self._issued) if owner == app_id]

    def _app_keys(self, app_id: str) -> Iterable[RSAPrivateKey]:
        return (self.ring.key(role) for role in self._app_roles(app_id))

    # ------------------------------------------------------------------------------------ the gateway

    def handle(self, request: Request, now: int) -> Reply | None:
        """Answer the merchant's call or a person's browser. None: the caller gets no answer at all."""
        self._settle(now)
        parts = urlsplit(request.url)
        origin = f"{parts.scheme}://{parts.netloc}" if parts.netloc else ""
        self._base_url = self._base_url or origin
        path = parts.path
        if self._base_path and path.startswith(f"{self._base_path}/"):
            path = path.removeprefix(self._base_path)
        if path == "/gateway.do":
            return self._gateway(request, now)
        if path.startswith("/bill/"):
            return self._download(path.removeprefix("/bill/"), now)
        return self._browse(request, path, now)

    def _gateway(self, request: Request, now: int) -> Reply | None:
        try:
            parameters = _parameters(request)
        except Unreadable:
            return _unsigned("error_response", Refusal("isv.invalid-parameter", "40002"))
        method = parameters.get("method", "")
        if method in _PAGES:
            return self._open_page_for(parameters, now)
        try:
            merchant = self._authentic(parameters, now)
            document = _document(parameters)
        except Refusal as refusal:
            return _unsigned(_response_key(method), refusal)
        return self._call(method, merchant, document, parameters, now)

    def _call(
        self, method: str, merchant: Merchant, document: dict[str, Any], parameters: Mapping[str, str], now: int
    ) -> Reply | None:
        call = Call(method, str(document.get("out_trade_no", "")), document, now)
        fault = self.faults.take(call.name, call.subject)
        if fault in BEFORE_EFFECT:
            return self._without_effect(fault, method, merchant)
        self.calls.append(call)
        answer = self._done(method, merchant, document, parameters, now)
        self._settle(now)
        return self._answer(fault, method, merchant, answer)

    def _done(
        self, method: str, merchant: Merchant, document: dict[str, Any], parameters: Mapping[str, str], now: int
    ) -> dict[str, Any]:
        """The document that answers a call, carried out or refused."""
        handler = self._handlers.get(method)
        try:
            if handler is None:
                raise Refusal("isv.invalid-method", "40002")
            return {"code": "10000", "msg": "Success"} | handler(merchant, document, parameters, now)
        except Refusal as refusal:
            return _refused(refusal)
        except Unreadable:
            return _refused(Refusal("ACQ.INVALID_PARAMETER"))

    def _authentic(self, parameters: Mapping[str, str], now: int, *, is_fresh: bool = True) -> Merchant:
        """The merchant that signed these parameters. Raises Refusal."""
        merchant = next((one for one in self.merchants if one.app_id == parameters.get("app_id")), None)
        if merchant is None:
            raise Refusal("isv.invalid-app-id", "40002")
        if parameters.get("sign_type") != signing.SIGN_TYPE:
            raise Refusal("isv.invalid-signature-type", "40002")
        if parameters.get("charset") != wire.CHARSET or parameters.get("version") != "1.0":
            raise Refusal("isv.invalid-parameter", "40002")
        self._check_timestamp(parameters.get("timestamp", ""), now, is_fresh=is_fresh)
        self._check_certificates(merchant, parameters)
        content = signing.request_text(parameters).encode(wire.CHARSET)
        publics = (key.public_key() for key in self._app_keys(merchant.app_id))
        if not signing.verify(publics, parameters.get("sign", ""), content):
            raise Refusal("isv.invalid-signature", "40002")
        return merchant

    def _check_timestamp(self, text: str, now: int, *, is_fresh: bool) -> None:
        try:
            at = wire.read_time(text)
        except Unreadable:
            raise Refusal("isv.invalid-timestamp", "40002") from None
        if at > now + CLOCK_SKEW or (is_fresh and at < now - CLOCK_SKEW):
            raise Refusal("isv.invalid-timestamp", "40002")

    def _check_certificates(self, merchant: Merchant, parameters: Mapping[str, str]) -> None:
        """An application in certificate mode names its certificate and our roots by their SNs."""
        given = (parameters.get("app_cert_sn", ""), parameters.get("alipay_root_cert_sn", ""))
        if given == ("", "") and merchant.app_id not in self._certified:
            return
        known = {self.ring.sn(role) for role in self._app_roles(merchant.app_id)}
        if given[0] not in known or given[1] != self.ring.root_sn():
            raise Refusal("isv.missing-app-cert-sn", "40002")

    # ------------------------------------------------------------------------------------ answering

    def _without_effect(self, fault: Fault | None, method: str, merchant: Merchant) -> Reply | None:
        if fault is Fault.LOST:
            return None
        if fault is Fault.RATE_LIMITED:
            return _unsigned(_response_key(method), Refusal("isv.app-call-limited", "40005"))
        if fault is Fault.SYSTEM_ERROR:
            return self._signed(method, merchant, _refused(Refusal("ACQ.SYSTEM_ERROR")))
        return Reply(502, {"content-type": "text/html"}, b"<h1>502 Bad Gateway</h1>")

    def _answer(self, fault: Fault | None, method: str, merchant: Merchant, answer: dict[str, Any]) -> Reply | None:
        """The answer as it leaves, spoilt if a fault says so."""
        if fault is Fault.EFFECT_THEN_SILENCE:
            return None
        if fault is Fault.EFFECT_THEN_ERROR:
            answer = _refused(Refusal("isp.unknow-error", "20000"))
        if fault is Fault.OTHER_SUBJECT:
            answer = answer | {name: "other" for name in ("out_trade_no", "out_request_no") if name in answer}
        if fault is Fault.STALE:
            answer = _from_before(method, answer)
        if fault is Fault.UNSIGNED:
            return _reply(_response_key(method), _text(answer), {})
        if fault is Fault.SIGNED_WITH_SHA1:
            return self._signed(method, merchant, answer, sign=_sign_sha1)
        reply = self._signed(method, merchant, answer)
        return _SPOIL[fault](reply) if fault in _SPOIL else reply

    def _signed(
        self,
        method: str,
        merchant: Merchant,
        document: Mapping[str, Any],
        *,
        sign: Callable[[RSAPrivateKey, bytes], str] = signing.sign,
    ) -> Reply:
        text = _text(document)
        around = {"sign": sign(self._alipay_key(merchant), text.encode(wire.CHARSET))}
        if merchant.app_id in self._certified:
            around = {"alipay_cert_sn": self.ring.sn(_alipay_role(merchant.app_id)), **around}
        return _reply(_response_key(method), text, around)

    def _alipay_key(self, merchant: Merchant) -> RSAPrivateKey:
        return self.ring.key(_alipay_role(merchant.app_id))

    # ------------------------------------------------------------------------------------ the calls

    @property
    def _handlers(self) -> Mapping[str, Callable[[Merchant, dict[str, Any], Mapping[str, str], int], dict[str, Any]]]:
        return {
            "alipay.trade.precreate": self._precreate,
            "alipay.trade.create": self._create,
            "alipay.trade.pay": self._pay_by_code,
            "alipay.trade.query": self._query,
            "alipay.trade.close": self._close,
            "alipay.trade.cancel": self._cancel,
            "alipay.trade.refund": self._refund,
            "alipay.trade.fastpay.refund.query": self._query_refund,
            "alipay.data.dataservice.bill.downloadurl.query": self._bill,
        }

    def _begin(
        self,
        method: str,
        merchant: Merchant,
        document: dict[str, Any],
        parameters: Mapping[str, str],
        now: int,
        *,
        entered: bool,
    ) -> Trade:
        if document.get("product_code") not in _PRODUCTS[method]:
            raise Refusal("ACQ.INVALID_PARAMETER")
        return self.books.begin(document, parameters, merchant.seller_id, now, entered=entered)

    def _precreate(
        self, merchant: Merchant, document: dict[str, Any], parameters: Mapping[str, str], now: int
    ) -> dict[str, Any]:
        trade = self._begin("alipay.trade.precreate", merchant, document, parameters, now, entered=False)
        return {"out_trade_no": trade.out_trade_no, "qr_code": f"{self._base_url}/qr/{trade.token}"}

    def _create(
        self, merchant: Merchant, document: dict[str, Any], parameters: Mapping[str, str], now: int
    ) -> dict[str, Any]:
        buyer = document.get("buyer_open_id") or document.get("buyer_id")
        if not isinstance(buyer, str):
            raise Refusal("ACQ.BUYER_NOT_EXIST")
        trade = self._begin("alipay.trade.create", merchant, document, parameters, now, entered=True)
        trade.buyer = buyer
        return {"out_trade_no": trade.out_trade_no, "trade_no": trade.trade_no}

    def _pay_by_code(
        self, merchant: Merchant, document: dict[str, Any], parameters: Mapping[str, str], now: int
    ) -> dict[str, Any]:
        code, number = wire.text_of(document, "auth_code"), wire.text_of(document, "out_trade_no")
        answer = self.next_codes.pop(0) if self.next_codes else CodeAnswer.PAYS
        is_spent = self._codes_used.get(code, number) != number
        if document.get("scene") != "bar_code" or not code.isdigit() or is_spent or answer is CodeAnswer.IS_INVALID:
            raise Refusal("ACQ.PAYMENT_AUTH_CODE_INVALID")
        if answer is CodeAnswer.HAS_NO_MONEY:
            raise Refusal("ACQ.BUYER_BALANCE_NOT_ENOUGH")
        trade = self._begin("alipay.trade.pay", merchant, document, parameters, now, entered=True)
        self._codes_used[code] = number
        if answer is CodeAnswer.HAS_TO_CONFIRM:
            shown = {"out_trade_no": trade.out_trade_no, "trade_no": trade.trade_no}
            return {"code": "10003", "msg": "order success pay inprocess"} | shown
        self.pay(trade.out_trade_no, now)
        return _show(trade)

    def _query(
        self, merchant: Merchant, document: dict[str, Any], parameters: Mapping[str, str], now: int
    ) -> dict[str, Any]:
        return _show(self.books.visible(document, merchant.app_id))

    def _close(
        self, merchant: Merchant, document: dict[str, Any], parameters: Mapping[str, str], now: int
    ) -> dict[str, Any]:
        trade = self.books.visible(document, merchant.app_id)
        self.books.close(trade, now)
        self._announce("closed", trade, now)
        return {"out_trade_no": trade.out_trade_no, "trade_no": trade.trade_no}

    def _cancel(
        self, merchant: Merchant, document: dict[str, Any], parameters: Mapping[str, str], now: int
    ) -> dict[str, Any]:
        number = wire.text_of(document, "out_trade_no")
        done = {"out_trade_no": number, "retry_flag": "N"}
        try:
            trade = self.books.visible(document, merchant.app_id)
        except Refusal:
            self.books.cancelled.add(number)
            return done
        if trade.status == "WAIT_BUYER_PAY":
            self.books.close(trade, now)
            self._announce("closed", trade, now)
            return done | {"trade_no": trade.trade_no, "action": "close"}
        if trade.status == "TRADE_SUCCESS":
            return done | {"trade_no": trade.trade_no, "action": "refund"} | self._take_back(trade, now)
        return done | {"trade_no": trade.trade_no}

    def _take_back(self, trade: Trade, now: int) -> dict[str, str]:
        """A cancel of a paid trade returns what is left of it, on the day it was paid."""
        if wire.time(trade.paid_at or now)[:10] != wire.time(now)[:10]:
            raise Refusal("ACQ.TRADE_CANCEL_TIME_OUT")
        if self.books.is_short_of_money:
            raise Refusal("ACQ.SELLER_BALANCE_NOT_ENOUGH")
        refund = self.books.refund_here(trade, trade.taken_minor - trade.promised_minor, now)
        self._announce("refunded", trade, now, refund)
        return {}

    def _refund(
        self, merchant: Merchant, document: dict[str, Any], parameters: Mapping[str, str], now: int
    ) -> dict[str, Any]:
        trade = self.books.visible(document, merchant.app_id)
        number = wire.text_of(document, "out_request_no") or trade.out_trade_no
        refund, has_moved = self.books.refund(trade, number, amount_in(document, "refund_amount"), now)
        if has_moved:
            self._announce("refunded", trade, now, refund)
        shown = {
            "out_trade_no": trade.out_trade_no,
            "trade_no": trade.trade_no,
            "buyer_logon_id": "csq***@sandbox.com",
            "fund_change": "Y" if has_moved else "N",
            "refund_fee": wire.money(trade.returned_minor),
        }
        return shown | ({"gmt_refund_pay": wire.time(now)} if has_moved else {})

    def _query_refund(
        self, merchant: Merchant, document: dict[str, Any], parameters: Mapping[str, str], now: int
    ) -> dict[str, Any]:
        trade = self.books.visible(document, merchant.app_id)
        refund = trade.refund(wire.text_of(document, "out_request_no"))
        if refund is None or refund.refunded_at is None:
            return {}
        shown = {
            "out_trade_no": trade.out_trade_no,
            "trade_no": trade.trade_no,
            "out_request_no": refund.out_request_no,
            "total_amount": wire.money(trade.taken_minor),
            "refund_amount": wire.money(refund.amount_minor),
            "refund_status": "REFUND_SUCCESS",
        }
        is_wanted = "gmt_refund_pay" in (document.get("query_options") or [])
        return shown | ({"gmt_refund_pay": wire.time(refund.refunded_at)} if is_wanted else {})

    def _bill(
        self, merchant: Merchant, document: dict[str, Any], parameters: Mapping[str, str], now: int
    ) -> dict[str, Any]:
        bill_type, day = wire.text_of(document, "bill_type"), wire.text_of(document, "bill_date")
        if bill_type not in ("trade", "signcustomer"):
            raise Refusal("isv.invalid-arguments", "40002")
        is_over = wire.read_time(f"{day} 00:00:00") + DAY <= now
        mine = [one for one in self.books.trades.values() if one.merchant == merchant.app_id]
        if not is_over or bills.make(bill_type, day, mine, merchant.seller_id) is None:
            raise Refusal("isp.bill_not_exist")
        token = self.books.number("bill", merchant.app_id, bill_type, day, str(now))
        self._downloads[token] = _Download(merchant, bill_type, day, now + DOWNLOAD_LIFETIME)
        return {"bill_download_url": f"{self._base_url}/bill/{token}"}

    def _download(self, token: str, now: int) -> Reply:
        found = self._downloads.get(token)
        if found is None or now >= found.until:
            return Reply(403, {"content-type": "text/plain"}, b"expired")
        mine = [one for one in self.books.trades.values() if one.merchant == found.merchant.app_id]
        made = bills.make(found.bill_type, found.day, mine, found.merchant.seller_id)
        return Reply(200, {"content-type": "application/zip"}, made or b"")

    # ------------------------------------------------------------------------------------ a person at a browser

    def _open_page_for(self, parameters: Mapping[str, str], now: int) -> Reply:
        """A browser brings a signed order: the person logs in, and the trade begins."""
        try:
            payment_id = self._open(parameters, _PAGES, now)
        except (Forged, NotPayable):
            return pages.PAPER.sorry("订单无效或已过期", "This order is not valid any more.", status=400)
        return Reply(303, {"location": self._page_of(payment_id), "cache-control": "no-store"}, b"")

    def _page_of(self, payment_id: str) -> str:
        return f"{self._base_path}/pay/{self.books.trades[payment_id].token}"

    def _browse(self, request: Request, path: str, now: int) -> Reply:
        if path in ("", "/") and request.method == "GET":
            latest = list(self.books.trades.values())[-SHOWN_TRADES:]
            return pages.list_page(reversed(latest), self._base_path)
        if path == "/app" and request.method == "GET":
            return self._browse_app(request, now)
        kind, _, token = path.removeprefix("/").partition("/")
        found = self.books.by_token(token) if kind in ("pay", "qr") else None
        if found is None:
            return pages.PAPER.sorry("没有这个页面", "There is no such page.", status=404)
        if not found.is_over(now):
            found.is_hidden = False  # whoever sees it has entered it
        if request.method == "POST":
            return self._press(found, request.body, now)
        return pages.payment_page(found, now)

    def _browse_app(self, request: Request, now: int) -> Reply:
        """For a developer without a phone: the wallet opens an orderStr that is pasted into the address."""
        order = parse_qs(urlsplit(request.url).query).get("order", [""])[0]
        try:
            payment_id = self.open_app(order, now)
        except (Forged, NotPayable):
            return pages.PAPER.sorry("订单无效或已过期", "This order is not valid any more.", status=400)
        return Reply(303, {"location": self._page_of(payment_id), "cache-control": "no-store"}, b"")

    def _press(self, trade: Trade, body: bytes, now: int) -> Reply:
        action = parse_qs(body.decode("latin-1")).get("action", [""])[0]
        if action not in ("pay", "leave"):
            return pages.PAPER.sorry("没有这个按钮", "There is no such button.", status=400)
        if action == "pay":
            with suppress(NotPayable):  # the page below says how it stands
                self.pay(trade.out_trade_no, now)
        return pages.payment_page(trade, now)

    # ------------------------------------------------------------------------------------ what the payer's device does

    def open_app(self, order_str: str, now: int) -> str:
        """Hand an orderStr to the wallet as the phone's SDK does: the trade begins here. Returns the payment's id.

        Raises Forged for one that no merchant signed or that the app would not take, NotPayable for one that is over.
        """
        return self._open(_form_of(order_str), frozenset({"alipay.trade.app.pay"}), now)

    def open_page(self, url: str, now: int, fields: Iterable[tuple[str, str]] = ()) -> str:
        """Bring a browser to a page of the gateway, by its address or with a form. Returns the payment's id."""
        form = wire.write_form(dict(fields))
        query = "&".join(part for part in (urlsplit(url).query, form) if part)
        return self._open(_form_of(query), _PAGES, now)

    def _open(self, parameters: Mapping[str, str], methods: frozenset[str], now: int) -> str:
        self._settle(now)
        method = parameters.get("method", "")
        if method not in methods:
            raise Forged("Alipay opens no such order here")
        try:
            merchant = self._authentic(parameters, now, is_fresh=False)
            document = _document(parameters)
        except Refusal as refusal:
            raise Forged(f"Alipay rejects the order: {refusal.sub_code}") from None
        try:
            return self._begin(method, merchant, document, parameters, now, entered=True).out_trade_no
        except (Refusal, Unreadable) as refusal:
            raise NotPayable(f"the order cannot be paid: {refusal}") from None

    def scan(self, qr_content: str, now: int) -> str:
        """Scan a code as a payer's phone would and return the payment's id. Raises LookupError for a code not of ours."""
        self._settle(now)
        trade = self.books.by_token(urlsplit(qr_content).path.rpartition("/qr/")[2])
        if trade is None:
            raise LookupError("no trade has this code")
        if trade.is_over(now):
            raise NotPayable("the code is over")
        trade.is_hidden = False
        return trade.out_trade_no

    def enter(self, step: Step, now: int) -> str:
        """Do what a step tells a device, up to where its payer could pay. Returns the payment's id."""
        match step.content:
            case SdkCall(sdk=plans.SDK) as call:
                return self.open_app(str(call.arguments["orderStr"]), now)
            case Redirect() as redirect:
                return self.open_page(redirect.url, now)
            case Form() as form:
                return self.open_page(form.url, now, form.fields)
            case Qr() as code:
                return self.scan(code.content, now)
            case JsapiCall(bridge=plans.CONTAINER) | MiniProgramCall(host=plans.MINI_PROGRAM) as call:
                return self._by_trade_no(str(call.arguments["tradeNO"]))
            case Nothing():
                return self._by_code()
        raise ValueError(f"Alipay has no use for a {step.kind} step")

    def run_on_phone(self, plan_json: str, device: Target, now: int) -> str:
        """What the SDK on the payer's phone answers when the payer pays."""
        from paycore_alipay.simulator.phone import Phone  # a phone holds a simulator

        return Phone(self, device).run(plan_json, now).raw_code

    def accept(self, plan_json: str, now: int) -> str:
        """Do what the payer's device does with a plan. Raises ValueError or Forged for one that Alipay's SDK would reject."""
        plan = Plan.from_json(plan_json)
        plan.check(plans.STEP_SCHEMAS)
        try:
            return max(self.enter(step, now) for step in plan.steps)  # every step leads to the same trade
        except (LookupError, BadStep) as error:
            raise ValueError(str(error)) from None

    def _by_trade_no(self, trade_no: str) -> str:
        found = next((one for one in self.books.trades.values() if one.trade_no == trade_no), None)
        if found is None:
            raise LookupError("there is no such trade")
        return found.out_trade_no

    def _by_code(self) -> str:
        """The payer whose code was scanned last sees the payment on the phone by itself."""
        waiting = [
            number for number in self._codes_used.values() if self.books.trades[number].status == "WAIT_BUYER_PAY"
        ]
        if not waiting:
            raise LookupError("no payer has anything to confirm")
        return waiting[-1]

    def sync_result(self, payment_id: str, now: int) -> str:
        """What the SDK hands back beside 9000: signed JSON about the trade, which proves nothing."""
        trade = self._trade(payment_id)
        document = {
            "code": "10000",
            "msg": "Success",
            "app_id": trade.merchant,
            "auth_app_id": trade.merchant,
            "charset": wire.CHARSET,
            "timestamp": wire.time(now),
            "out_trade_no": trade.out_trade_no,
            "total_amount": wire.money(trade.amount_minor),
            "trade_no": trade.trade_no,
            "seller_id": trade.seller_id,
        }
        text = _text(document)
        sign = signing.sign(self._alipay_key(_merchant_of(trade)), text.encode(wire.CHARSET))
        return f'{{"alipay_trade_app_pay_response":{text},"sign":"{sign}","sign_type":"{signing.SIGN_TYPE}"}}'

    # ------------------------------------------------------------------------------------ what people do

    def pay(self, payment_id: str, now: int, *, amount_minor: int | None = None, even_if_over: bool = False) -> None:
        """Pay a trade as its payer would. Raises LookupError when there is none, NotPayable when it is over.

        `even_if_over` pays a closed trade all the same (money that was under way), `amount_minor` takes another amount.
        """
        trade = self._trade(payment_id)
        self.books.pay(trade, now, amount_minor=amount_minor, even_if_over=even_if_over)
        self._announce("paid", trade, now)

    def decline(self, payment_id: str, now: int) -> bool:
        """The payer's bank says no: the trade goes on waiting, for another card. So this is never the end of it."""
        self._trade(payment_id)
        return False

    def finish(self, payment_id: str, now: int) -> None:
        """The time for refunds is over."""
        trade = self._trade(payment_id)
        if trade.status != "TRADE_SUCCESS":
            raise ValueError(f"trade {payment_id} is {trade.status}")
        trade.status = "TRADE_FINISHED"
        self._announce("paid", trade, now)

    def refund_in_console(self, payment_id: str, now: int, *, amount_minor: int) -> str:
        """Somebody at the merchant refunds in Alipay's console; returns Alipay's number of it."""
        trade = self._trade(payment_id)
        refund = self.books.refund_here(trade, amount_minor, now)
        self._announce("refunded", trade, now, refund)
        return refund.out_request_no

    def next_refunds(self, *ends: RefundEnd) -> None:
        """Let the refunds that begin from now on end so, one after the other."""
        self.books.next_refund_ends.extend(ends)

    def end_refund(self, refund_id: str, end: RefundEnd, now: int) -> None:
        """Let a refund under way end so. Raises LookupError when there is none."""
        trade, refund = self._refund_of(refund_id)
        if end is RefundEnd.FAILED:
            refund.is_given_up, refund.ends_at = True, None
        elif end is RefundEnd.SUCCESS:
            self._carry_out(trade, refund, now)

    def _refund_of(self, refund_id: str) -> tuple[Trade, Refund]:
        for trade in self.books.trades.values():
            refund = trade.refund(refund_id)
            if refund is not None:
                return trade, refund
        raise LookupError(f"there is no refund {refund_id}")

    def _trade(self, payment_id: str) -> Trade:
        try:
            return self.books.trades[payment_id]
        except KeyError:
            raise LookupError(f"there is no trade {payment_id}") from None

    # ------------------------------------------------------------------------------------ for whole worlds

    def hand_in(self, method: str, number: int) -> Mapping[str, str]:
        """An open_id of the payer of this number, or a code from the payer's phone."""
        buyer = {"buyer_open_id": f"open_id-{number:012d}"}
        known = {"jsapi": buyer, "mini_program": buyer, "barcode": {"auth_code": f"28{number:016d}"}}
        return known.get(method, {})

    def next_scan(self, answer: ScanAnswer | None) -> None:
        """Let the next code be answered so."""
        self.next_codes[:] = [] if answer is None else [_SCANS[answer]]

    def pay_late(self, payment_id: str, now: int, *, amount_minor: int | None = None) -> None:
        """Pay a trade although it is closed."""
        self.pay(payment_id, now, amount_minor=amount_minor, even_if_over=True)

    def refunds_take(self, delay: int | None) -> None:
        """Refunds that are not carried out at once are answered by fund_change=N."""
        self.books.refund_delay = delay

    def next_refund(self, course: RefundCourse | None) -> None:
        """Let the next refund go so. None gets stuck at Alipay."""
        end = None if course is None else _ENDS.get(course)
        self.books.next_refund_ends[:] = [] if end is None else [end]

    def end_refunds(self, now: int) -> None:
        """Carry out what is under way."""
        under_way = [one for trade in self.books.trades.values() for one in trade.refunds if one.is_under_way]
        for refund in under_way:
            self.end_refund(refund.out_request_no, RefundEnd.SUCCESS, now)

    def refund_course(self, refund_id: str) -> RefundCourse | None:
        """How a refund stands."""
        try:
            _, refund = self._refund_of(refund_id)
        except LookupError:
            return None
        if refund.is_given_up:
            return RefundCourse.FAILED
        return RefundCourse.UNDER_WAY if refund.is_under_way else RefundCourse.DONE

    # ------------------------------------------------------------------------------------ for the conformance kit

    def misreport(self, payment_id: str, lie: Lie, now: int) -> bool:
        """From now on tell this about the trade, genuinely signed."""
        trade = self._trade(payment_id)
        wrong = {
            Lie.AMOUNT: {"total_amount": wire.money((trade.taken_minor or trade.amount_minor) + 1)},
            Lie.CURRENCY: {"trans_currency": "USD"},
            Lie.MERCHANT: {"seller_id": self.merchants[-1].seller_id},
        }
        trade.shown |= wrong[lie]
        self._announce("paid", trade, now)
        return True

    def trade(self, payment_id: str) -> TradeSeen | None:
        """The trade in the books; None when Alipay never heard of it."""
        found = self.books.trades.get(payment_id)
        if found is None:
            is_cancelled = payment_id in self.books.cancelled
            return TradeSeen(0, wire.CURRENCY, 0, 0, is_closed=True) if is_cancelled else None
        is_closed = found.status == "TRADE_CLOSED" and found.paid_at is None
        return TradeSeen(found.amount_minor, wire.CURRENCY, found.taken_minor, found.returned_minor, is_closed)

    def refunds(self, payment_id: str) -> Mapping[str, int]:
        """The merchant's refunds of a trade, done or under way."""
        trade = self._trade(payment_id)
        asked = (one for one in trade.refunds if not one.is_from_console and not one.is_given_up)
        return {one.out_request_no: one.amount_minor for one in asked}

    def forgeries(self, genuine: Request, now: int) -> Mapping[str, Request]:
        """Notices like this one that only somebody who knows the protocol could forge, each by its name."""
        given = wire.texts(wire.read_form(genuine.body))
        bare = {name: value for name, value in given.items() if name not in ("sign", "sign_type")}
        merchant = next(one for one in self.merchants if one.app_id == given["app_id"])
        alipay, app = self._alipay_key(merchant), next(iter(self._app_keys(merchant.app_id)))
        other = self.ring.key(_alipay_role(next(one for one in self.merchants if one != merchant).app_id))
        text = _notice_text(bare)
        rsa2, rsa = {"sign_type": "RSA2"}, {"sign_type": "RSA"}
        forged = {
            "key": bare | rsa2 | {"sign": signing.sign(self.ring.key("forger"), text)},
            "other_merchants_key": bare | rsa2 | {"sign": signing.sign(other, text)},
            "our_own_key": bare | rsa2 | {"sign": signing.sign(app, text)},
            "sha1": bare | rsa | {"sign": _sign_sha1(alipay, text)},
            "sha1_called_rsa2": bare | rsa2 | {"sign": _sign_sha1(alipay, text)},
            "rsa2_called_rsa": bare | rsa | {"sign": signing.sign(alipay, text)},
            "md5": bare | {"sign_type": "MD5", "sign": hashlib.md5(text, usedforsecurity=False).hexdigest()},
            "sign_type_signed": bare | rsa2 | {"sign": signing.sign(alipay, _notice_text(bare | rsa2, keep_type=True))},
            "unsigned": bare | rsa2,
            "empty_signature": bare | rsa2 | {"sign": ""},
            "no_sign_type": bare | {"sign": signing.sign(alipay, text)},
        }
        return {name: replace(genuine, body=wire.write_form(one).encode()) for name, one in forged.items()}

    def purchase(self, plan_json: str, now: int, *, amount_minor: int) -> str:
        """Alipay sets no price of its own."""
        raise ValueError("Alipay is no store")

    # ------------------------------------------------------------------------------------ notices

    def due(self, now: int) -> Sequence[OutgoingNotice]:
        """The notices to deliver now, freshly signed; each is under way until `answered`."""
        self._settle(now)
        return [OutgoingNotice(letter.letter_id, self._envelope(letter, now)) for letter in self._postbox.collect(now)]

    def answered(self, key: str, reply: NoticeReply | None, now: int) -> None:
        """How a delivery went; only the exact acknowledgement stops the ladder."""
        is_acknowledged = reply is not None and reply.status == 200 and reply.body == ACKNOWLEDGED
        self._postbox.answered(key, is_acknowledged=is_acknowledged, now=now)

    def next_due(self) -> int | None:
        """When `due` will next have something, or None."""
        times = (self._postbox.next_due(), self.books.next_refund_end(), self.books.next_over())
        return min((one for one in times if one is not None), default=None)

    @property
    def undelivered(self) -> int:
        """How many notices are still to be acknowledged."""
        return self._postbox.undelivered

    def _settle(self, now: int) -> None:
        """Close what nobody paid in time, and carry out the refunds whose time has come."""
        for trade in list(self.books.over(now)):
            self.books.close(trade, trade.expires_at)
            self._announce("closed", trade, now)
        for trade, refund in list(self.books.refunds_ending(now)):
            self._carry_out(trade, refund, refund.ends_at or now)

    def _carry_out(self, trade: Trade, refund: Refund, now: int) -> None:
        self.books.carry_out(trade, refund, now)
        self._announce("refunded", trade, now, refund)

    def _announce(self, event: str, trade: Trade, now: int, refund: Refund | None = None) -> None:
        """Write a notice, as a fault may spoil it. Without an address there is nobody to tell."""
        planned = self.faults.take_notice(event)
        fault = planned.fault if planned else None
        if not trade.notify_url or fault is NoticeFault.LOST:
            return
        self._noticed += 1
        parameters = _notice_parameters(trade, self.books.number("notice", str(self._noticed)), refund)
        if fault is NoticeFault.WRONG_AMOUNT:
            parameters["total_amount"] = wire.money((trade.taken_minor or trade.amount_minor) + 1)
        if fault is NoticeFault.WRONG_MERCHANT:
            parameters["seller_id"] = self.merchants[-1].seller_id
        notice = Notice(parameters, is_forged=fault is NoticeFault.FORGED)
        due_at = now + (planned.delay if planned and fault is NoticeFault.LATE else 0)
        for _ in range(2 if fault is NoticeFault.DUPLICATE else 1):
            self._postbox.post(parameters["notify_id"], trade.notify_url, notice, due_at=due_at)

    def _envelope(self, letter: Letter[Notice], now: int) -> Request:
        parameters = {**letter.content.parameters, "notify_time": wire.time(now)}
        merchant = next(one for one in self.merchants if one.app_id == parameters["app_id"])
        key = self.ring.key("forger") if letter.content.is_forged else self._alipay_key(merchant)
        signed = parameters | {"sign_type": signing.SIGN_TYPE, "sign": signing.sign(key, _notice_text(parameters))}
        headers = {"content-type": f"application/x-www-form-urlencoded; charset={wire.CHARSET}"}
        return Request("POST", letter.url, headers=headers, body=wire.write_form(signed).encode())


# ---------------------------------------------------------------------------------------------- what is said


def _show(trade: Trade) -> dict[str, Any]:
    """The trade as answers carry it."""
    taken = wire.money(trade.taken_minor or trade.amount_minor)
    shown = {
        "out_trade_no": trade.out_trade_no,
        "trade_no": trade.trade_no,
        "trade_status": trade.status,
        "total_amount": taken,
        "buyer_user_id": trade.buyer,
        "buyer_logon_id": "csq***@sandbox.com",
        "subject": trade.subject,
    }
    if trade.paid_at is not None:
        at = wire.time(trade.paid_at)
        shown |= {"send_pay_date": at, "gmt_payment": at, "receipt_amount": taken, "buyer_pay_amount": taken}
    return shown | trade.shown


def _notice_parameters(trade: Trade, notice_id: str, refund: Refund | None) -> dict[str, str]:
    """The trade as notices carry it."""
    taken = wire.money(trade.taken_minor or trade.amount_minor)
    said = {
        "gmt_create": wire.time(trade.created_at),
        "charset": wire.CHARSET,
        "subject": trade.subject,
        **({"body": trade.body} if trade.body else {}),
        "buyer_id": trade.buyer,
        "buyer_logon_id": "csq***@sandbox.com",
        "version": "1.0",
        "notify_id": notice_id,
        "notify_type": "trade_status_sync",
        "out_trade_no": trade.out_trade_no,
        "total_amount": taken,
        "trade_status": trade.status,
        "trade_no": trade.trade_no,
        "app_id": trade.merchant,
        "auth_app_id": trade.merchant,
        "seller_id": trade.seller_id,
    }
    if trade.paid_at is not None:
        funds = json.dumps([{"amount": taken, "fundChannel": "ALIPAYACCOUNT"}], separators=(",", ":"))
        amounts = dict.fromkeys(("invoice_amount", "receipt_amount", "buyer_pay_amount"), taken)
        said |= {"gmt_payment": wire.time(trade.paid_at), "fund_bill_list": funds, "point_amount": "0.00", **amounts}
    if refund is not None and refund.refunded_at is not None:
        said |= {
            "out_biz_no": refund.out_request_no,
            "refund_fee": wire.money(trade.returned_minor),
            "gmt_refund": f"{wire.time(refund.refunded_at)}.{refund.refunded_at // 1000 % 1000:03d}",
        }
    if trade.closed_at is not None:
        said["gmt_close"] = wire.time(trade.closed_at)
    return said | trade.shown


def _notice_text(parameters: Mapping[str, str], *, keep_type: bool = False) -> bytes:
    pairs = [(name.encode(), value.encode(wire.CHARSET)) for name, value in parameters.items()]
    if keep_type:
        return b"&".join(name + b"=" + value for name, value in sorted(pairs))
    return signing.notice_bytes(pairs)


def _refused(refusal: Refusal) -> dict[str, Any]:
    messages = {"40004": "Business Failed", "20000": "Service Currently Unavailable"}
    message = messages.get(refusal.code, "Invalid Arguments")
    return {"code": refusal.code, "msg": message, "sub_code": refusal.sub_code, "sub_msg": refusal.sub_code}


def _from_before(method: str, answer: dict[str, Any]) -> dict[str, Any]:
    """What a replica that has not heard yet would answer."""
    if method == "alipay.trade.query" and answer["code"] == "10000":
        late = ("send_pay_date", "gmt_payment", "receipt_amount", "buyer_pay_amount")
        return {name: value for name, value in answer.items() if name not in late} | {"trade_status": "WAIT_BUYER_PAY"}
    if method == "alipay.trade.fastpay.refund.query":
        return {"code": "10000", "msg": "Success"}
    return answer


def _text(document: Mapping[str, Any]) -> str:
    """A document as Alipay writes it, its slashes escaped: whoever re-writes it before verifying breaks it."""
    return json.dumps(document, ensure_ascii=False, separators=(",", ":")).replace("/", "\\/")


def _reply(key: str, text: str, around: Mapping[str, str]) -> Reply:
    members = "".join(f',"{name}":"{value}"' for name, value in around.items())
    return Reply(200, {"content-type": "text/html;charset=utf-8"}, f'{{"{key}":{text}{members}}}'.encode())


def _unsigned(key: str, refusal: Refusal) -> Reply:
    """An error of the gateway itself, which has no key to sign with before it knows whom it answers."""
    return _reply(key, _text(_refused(refusal)), {})


def _response_key(method: str) -> str:
    return f"{method.replace('.', '_')}_response" if method else "error_response"


# ---------------------------------------------------------------------------------------------- what is heard


def _parameters(request: Request) -> dict[str, str]:
    """The parameters of a call, some in the address and some in the body, each once."""
    parts = [urlsplit(request.url).query.encode(), request.body if request.method == "POST" else b""]
    return wire.texts(wire.read_form(b"&".join(part for part in parts if part)))


def _form_of(text: str) -> dict[str, str]:
    try:
        return wire.texts(wire.read_form(text.encode("ascii")))
    except (Unreadable, UnicodeEncodeError) as error:
        raise Forged(f"not an order of Alipay's: {error}") from None


def _document(parameters: Mapping[str, str]) -> dict[str, Any]:
    try:
        return {name: member.value for name, member in wire.members(parameters.get("biz_content", "")).items()}
    except Unreadable:
        raise Refusal("isv.invalid-parameter", "40002") from None


def _merchant_of(trade: Trade) -> Merchant:
    return Merchant(trade.merchant, trade.seller_id)


def _app_role(app_id: str, version: int) -> str:
    return f"app {app_id} {version}"


def _alipay_role(app_id: str) -> str:
    return f"alipay {app_id}"


def _sign_sha1(key: RSAPrivateKey, content: bytes) -> str:
    """What Alipay called RSA before RSA2."""
    return base64.b64encode(key.sign(content, padding.PKCS1v15(), hashes.SHA1())).decode("ascii")  # noqa: S303


def _doubled(reply: Reply) -> Reply:
    head, _, rest = reply.body.partition(b":")
    return replace(reply, body=head + b':{"code":"10000"},' + head[1:] + b":" + rest)


def _badly_signed(reply: Reply) -> Reply:
    return replace(reply, body=reply.body.replace(b'"code":"', b'"code": "', 1))


_SPOIL: Mapping[Fault | None, Callable[[Reply], Reply]] = {
    Fault.BADLY_SIGNED: _badly_signed,
    Fault.DOUBLED_KEY: _doubled,
    Fault.TRUNCATED: lambda reply: replace(reply, body=reply.body[: len(reply.body) // 2]),
    Fault.EMPTY: lambda reply: replace(reply, body=b""),
}
