"""WeChat Pay's own side in one object: keys, books, signed answers, notices, pages, faults. No I/O, no clock, no chance."""

from __future__ import annotations

import base64
import hashlib
import re
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any
from urllib.parse import parse_qs, urlsplit

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

from paycore.channel import (
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
from paycore_bridge import JsapiCall, MiniProgramCall, Plan, Qr, Redirect, SdkCall, Step, Target
from paycore_wechatpay import bills, certificates, signing, wire
from paycore_wechatpay.keys import BOTH
from paycore_wechatpay.simulator import ledger, pages
from paycore_wechatpay.simulator.books import (
    Books,
    NotPayable,
    Refund,
    Refusal,
    Trade,
    read_order,
    read_refund,
)
from paycore_wechatpay.simulator.faults import BEFORE_EFFECT, Charge, Fault, Faults, NoticeFault, RefundEnd
from paycore_wechatpay.simulator.merchants import Merchant, Merchants
from paycore_wechatpay.simulator.postbox import LADDER, PATIENCE, Notice
from paycore_wechatpay.simulator.sdk import Device, Rejected
from paycore_wechatpay.simulator.vault import Vault, certificate_pem, serial
from paycore_wechatpay.wire import SECOND, Unreadable

MCHID = "1900000109"
OTHER_MCHID = "1900000110"
BACKUP = "/api2"
SHOWN_TRADES = 50
_TRANSACTIONS = "/v3/pay/transactions"
_REFUNDS = "/v3/refund/domestic/refunds"
_ATTRIBUTE = re.compile(r'([a-z_]+)="([^"]*)"', re.ASCII)
_CHARGES = {
    ScanAnswer.PAYS: Charge.PAID,
    ScanAnswer.HAS_TO_CONFIRM: Charge.PAYER_IS_PAYING,
    ScanAnswer.IS_REFUSED: Charge.SHORT_OF_MONEY,
}
_ENDS = {
    RefundCourse.DONE: RefundEnd.SUCCESS,
    RefundCourse.UNDER_WAY: RefundEnd.PROCESSING,
    RefundCourse.FAILED: RefundEnd.CLOSED,
    RefundCourse.STUCK: RefundEnd.ABNORMAL,
}
_COURSES = {end.value: course for course, end in _ENDS.items()}
_BY_NUMBER = re.compile(rf"{_TRANSACTIONS}/(out-trade-no|id)/([^/]+)(?:/(close|reverse))?", re.ASCII)


@dataclass(frozen=True, slots=True)
class Call:
    """A call as it arrived: for tests that count sends and compare numbers."""

    name: str
    subject: str
    document: Mapping[str, Any]
    at: int
    is_at_backup: bool = False


@dataclass(frozen=True, slots=True)
class Caller:
    """Who calls, proven by a signature, and by which key the answer is to be signed."""

    merchant: Merchant
    wanted_serial: str


@dataclass(frozen=True, slots=True)
class Errand:
    """A call that was understood: its name, the number that it is about, and how it is answered."""

    name: str
    subject: str
    document: Mapping[str, Any]
    work: Callable[[], tuple[int, dict[str, Any] | None]]


class WechatPaySimulator:
    """WeChat Pay in miniature.

    With a seed, keys and numbers are always the same, so a run can be repeated; without one they are new each time.
    `mode` is how the merchants verify: "public_key", "certificates", or "both" as during a migration. One thread at a time
    may use it. All times are microseconds UTC and are handed in.
    """

    def __init__(self, seed: str | None = None, *, mode: str = BOTH, ladder: tuple[int, ...] = LADDER) -> None:
        drawn = secrets.token_hex(32) if seed is None else seed
        secret = hashlib.sha256(drawn.encode()).digest()
        self.merchants = Merchants(Vault(seed), secret, mode)
        self.books = Books(secret)
        self.faults = Faults()
        self.calls: list[Call] = []
        """Every authentic call that arrived, in order."""
        self.signs_refusals = True
        """Whether 4xx answers are signed. The documents promise it for no more than 2xx."""
        self.h5_domains: frozenset[str] = frozenset()
        """The domains that a Referer may have; any, where none is registered."""
        self._device = Device(self.books.prepays, self.merchants.keys_of)
        self._postbox = Postbox[Notice](ladder, patience=PATIENCE)
        self._files: dict[str, bytes] = {}
        self._base_path = ""
        self._base_url = ""
        self._posted = 0
        self._answers = 0

    # ------------------------------------------------------------------------------------ merchants

    def settings(self, base_url: str, mchid: str = MCHID, key_version: int = 1) -> Mapping[str, str]:
        """The account settings of a merchant here, reachable at this URL. Secrets are plain text.

        A higher key version is what a change of keys gives: from then on it is used, and the merchant's older API
        certificates go on counting until `merchants.retire`.
        """
        self._base_url = base_url.rstrip("/")
        self._base_path = urlsplit(self._base_url).path
        return self.merchants.settings(mchid, key_version, base_url=self._base_url)

    def other_settings(self, base_url: str) -> Mapping[str, str]:
        """The account settings of a second merchant."""
        return self.settings(base_url, OTHER_MCHID)

    def next_settings(self, base_url: str) -> Mapping[str, str]:
        """The first merchant's settings once both sides have changed their keys."""
        return self.settings(base_url, key_version=2)

    # ------------------------------------------------------------------------------------ answering

    def handle(self, request: Request, now: int) -> Reply | None:
        """Answer the merchant's call or a person's browser. None: the caller gets no answer at all."""
        self._settle(now)
        parts = urlsplit(request.url)
        path = parts.path.removeprefix(self._base_path) if parts.path.startswith(f"{self._base_path}/") else parts.path
        is_at_backup = path.startswith(f"{BACKUP}/")
        path = path.removeprefix(BACKUP) if is_at_backup else path
        headers = {name.lower(): value for name, value in request.headers.items()}
        request = replace(request, headers=headers)
        if path.startswith("/v3/"):
            return self._call(request, path, parts.query, now, is_at_backup=is_at_backup)
        return self._browse(request, path, parse_qs(parts.query), now)

    def _call(self, request: Request, path: str, query: str, now: int, *, is_at_backup: bool) -> Reply | None:
        caller = self._caller(request, f"{path}?{query}" if query else path, now)
        if caller is None:
            return _plain(401, {"code": "SIGN_ERROR", "message": "签名错误，请检查后再试"})
        try:
            errand = self._errand(request, path, parse_qs(query), caller.merchant, now)
        except Refusal as refusal:
            return self._refused(caller, refusal, now)
        fault = self.faults.take(errand.name, errand.subject)
        if fault in BEFORE_EFFECT:
            return self._without_effect(caller, fault, now)
        self.calls.append(Call(errand.name, errand.subject, errand.document, now, is_at_backup))
        try:
            status, answer = errand.work()
        except Refusal as refusal:
            reply = self._refused(caller, refusal, now)
            return None if fault is Fault.EFFECT_THEN_SILENCE else _spoil(fault, reply)
        return self._answer(caller, fault, status, answer, now)

    def _caller(self, request: Request, path: str, now: int) -> Caller | None:
        """Who signed this call, if a merchant did. Source: "Signature generation"."""
        scheme, _, attributes = request.headers.get("authorization", "").partition(" ")
        told = dict(_ATTRIBUTE.findall(attributes))
        merchant = self.merchants.find(told.get("mchid", ""))
        key = None if merchant is None else merchant.serials.get(told.get("serial_no", ""))
        timestamp, nonce = told.get("timestamp", ""), told.get("nonce_str", "")
        if merchant is None or key is None or scheme != signing.SCHEME or not signing.is_fresh(timestamp, now):
            return None
        message = signing.signed_text(request.method, path, timestamp, nonce, body=request.body)
        if not signing.verify(key, told.get("signature", ""), message):
            return None
        return Caller(merchant, request.headers.get(signing.SERIAL, ""))

    def _errand(
        self, request: Request, path: str, query: Mapping[str, list[str]], merchant: Merchant, now: int
    ) -> Errand:
        """What a call wants. Raises Refusal for what there is not."""
        document = _document(request)
        found = self._posted_errand(path, document, merchant, now) if request.method == "POST" else None
        found = found or (self._asked_errand(path, query, merchant, now) if request.method == "GET" else None)
        if found is None:
            raise Refusal(404, "RESOURCE_NOT_EXISTS", "没有这个接口")
        return found

    def _posted_errand(self, path: str, document: dict[str, Any], merchant: Merchant, now: int) -> Errand | None:
        number = str(document.get("out_trade_no", ""))
        head, _, method = path.rpartition("/")
        if head == _TRANSACTIONS and method in ("app", "jsapi", "native", "h5"):
            return Errand("order", number, document, partial(self._order, document, method, merchant, now))
        if path == f"{_TRANSACTIONS}/codepay":
            return Errand("codepay", number, document, partial(self._codepay, document, merchant, now))
        if path == _REFUNDS:
            refund_no = str(document.get("out_refund_no", ""))
            return Errand("refund", refund_no, document, partial(self._refund, document, merchant, now))
        match = _BY_NUMBER.fullmatch(path)
        if match is None or match[1] != "out-trade-no" or match[3] is None:
            return None
        work = self._close if match[3] == "close" else self._reverse
        return Errand(match[3], match[2], document, partial(work, match[2], document, merchant, now))

    def _asked_errand(self, path: str, query: Mapping[str, list[str]], merchant: Merchant, now: int) -> Errand | None:
        asked = {name: values[0] for name, values in query.items()}
        if path == certificates.PATH:
            return Errand("certificates", "", asked, partial(self._certificates, merchant, now))
        if path.startswith(f"{_REFUNDS}/"):
            number = path.removeprefix(f"{_REFUNDS}/")
            return Errand("refund/query", number, asked, partial(self._query_refund, number, merchant))
        if path.startswith("/v3/bill/"):
            name = path.removeprefix("/v3/bill/")
            return Errand("bill", asked.get("bill_date", ""), asked, partial(self._bill, name, asked, merchant, now))
        if path == "/v3/billdownload/file":
            return Errand("download", "", asked, partial(self._download, asked))
        match = _BY_NUMBER.fullmatch(path)
        if match is None or match[3] is not None:
            return None
        return Errand("query", match[2], asked, partial(self._query, match[1], match[2], asked, merchant))

    # ------------------------------------------------------------------------------------ answers as they leave

    def _without_effect(self, caller: Caller, fault: Fault | None, now: int) -> Reply | None:
        if fault is Fault.LOST:
            return None
        if fault is Fault.RATE_LIMITED:
            return self._refused(caller, Refusal(429, "FREQUENCY_LIMITED", "频率超限"), now)
        if fault is Fault.OLD_SPELLING:
            return self._refused(caller, Refusal(500, "SYSTEMERROR", "系统异常"), now)
        return Reply(503, {"content-type": "text/html"}, b"<h1>503 Service Unavailable</h1>")

    def _refused(self, caller: Caller, refusal: Refusal, now: int) -> Reply:
        document = {"code": refusal.code, "message": refusal.message}
        if refusal.status < 300 or self.signs_refusals:
            return self._signed(caller, refusal.status, document, now)
        return _plain(refusal.status, document)

    def _answer(
        self, caller: Caller, fault: Fault | None, status: int, answer: dict[str, Any] | None, now: int
    ) -> Reply | None:
        """The answer as it leaves, spoilt if a fault says so."""
        if fault is Fault.EFFECT_THEN_SILENCE:
            return None
        if fault is Fault.EFFECT_THEN_ERROR:
            return self._signed(caller, 500, {"code": "SYSTEM_ERROR", "message": "系统异常"}, now)
        if answer is not None and "_file" in answer:
            return _spoil(fault, Reply(200, {"content-type": "application/octet-stream"}, answer["_file"]))
        if fault is Fault.OTHER_SUBJECT and answer is not None:
            answer = answer | {name: "OTHER1" for name in ("out_trade_no", "out_refund_no") if name in answer}
        if fault is Fault.STALE and answer is not None:
            status, answer = _from_before(status, answer)
        if fault is Fault.UNKNOWN_SERIAL:
            return self._signed(caller, status, answer, now, by=("PUB_KEY_ID_UNKNOWN1", self.merchants.stranger()))
        return _spoil(fault, self._signed(caller, status, answer, now))

    def _signed(
        self,
        caller: Caller,
        status: int,
        document: Mapping[str, Any] | None,
        now: int,
        *,
        by: tuple[str, RSAPrivateKey] | None = None,
    ) -> Reply:
        body = b"" if document is None else wire.write(document)
        self._answers += 1
        name, key = by or self.merchants.signer(caller.merchant, caller.wanted_serial)
        headers = {"content-type": "application/json; charset=utf-8"} if body else {}
        nonce = hashlib.sha256(f"answer {self._answers}".encode()).hexdigest()[:32]
        return Reply(status, headers | _signature(name, key, nonce, body, now), body)

    # ------------------------------------------------------------------------------------ the calls

    def _order(self, document: dict[str, Any], method: str, merchant: Merchant, now: int) -> tuple[int, dict[str, Any]]:
        order = read_order(document, method, merchant.mchid)
        if order.appid != merchant.appid:
            raise Refusal(400, "APPID_MCHID_NOT_MATCH", "appid 和 mch_id 不匹配")
        name = self.books.hand_out(self.books.make(order, now), now)
        if method == "native":
            return 200, {"code_url": f"weixin://wxpay/bizpayurl?pr={name}"}
        if method == "h5":
            return 200, {"h5_url": f"{self._base_url}/h5?prepay_id={name}&package=1405458241"}
        return 200, {"prepay_id": name}

    def _codepay(self, document: dict[str, Any], merchant: Merchant, now: int) -> tuple[int, dict[str, Any]]:
        order = read_order(document, "codepay", merchant.mchid)
        auth_code = str(document.get("payer", {}).get("auth_code", ""))
        if re.fullmatch(r"1[0-5][0-9]{16}", auth_code, re.ASCII) is None:
            raise Refusal(400, "PARAM_ERROR", "auth_code 不正确")
        return 200, self.books.charge(order, auth_code, now).show()

    def _query(self, by: str, number: str, asked: Mapping[str, str], merchant: Merchant) -> tuple[int, dict[str, Any]]:
        if asked.get("mchid") != merchant.mchid:
            raise Refusal(400, "PARAM_ERROR", "mchid 不正确")
        if by == "id":
            return 200, self.books.by_transaction(number, merchant.mchid).show()
        return 200, self.books.visible(number, merchant.mchid).show()

    def _close(self, number: str, document: dict[str, Any], merchant: Merchant, now: int) -> tuple[int, None]:
        if document.get("mchid") != merchant.mchid:
            raise Refusal(400, "PARAM_ERROR", "mchid 不正确")
        self.books.close(number, merchant.mchid)
        return 204, None

    def _reverse(
        self, number: str, document: dict[str, Any], merchant: Merchant, now: int
    ) -> tuple[int, dict[str, Any]]:
        if (document.get("mchid"), document.get("appid")) != (merchant.mchid, merchant.appid):
            raise Refusal(400, "APPID_MCHID_NOT_MATCH", "appid 和 mch_id 不匹配")
        self.books.reverse(number, merchant.mchid, now)
        return 200, {"appid": merchant.appid, "mchid": merchant.mchid, "out_trade_no": number}

    def _refund(self, document: dict[str, Any], merchant: Merchant, now: int) -> tuple[int, dict[str, Any]]:
        trade_no, refund_no, amount_minor, total_minor, notify_url = read_refund(document)
        trade = self.books.trades.get(trade_no)
        if trade is None or trade.mchid != merchant.mchid:
            raise Refusal(404, "RESOURCE_NOT_EXISTS", "订单不存在")
        is_new = self.books.find_refund(refund_no) is None
        refund = self.books.refund(
            trade,
            out_refund_no=refund_no,
            amount_minor=amount_minor,
            total_minor=total_minor,
            notify_url=notify_url,
            now=now,
        )
        shown = trade.show_refund(refund)
        if is_new:
            self._announce_refund(trade, refund, now)  # it may have ended at once
        self._settle(now)
        return 200, shown

    def _query_refund(self, number: str, merchant: Merchant) -> tuple[int, dict[str, Any]]:
        found = self.books.find_refund(number, merchant.mchid)
        if found is None:
            raise Refusal(404, "RESOURCE_NOT_EXISTS", "退款单不存在")
        trade, refund = found
        return 200, trade.show_refund(refund)

    def _certificates(self, merchant: Merchant, now: int) -> tuple[int, dict[str, Any]]:
        """The platform certificate in use, and the one before it while that lives."""
        if not self.merchants.has_certificates():
            raise Refusal(404, "RESOURCE_NOT_EXISTS", "无可用的平台证书，请使用微信支付公钥")
        versions = range(merchant.version, max(0, merchant.version - 2), -1)
        return 200, {"data": [self._sealed_certificate(merchant, version) for version in versions]}

    def _sealed_certificate(self, merchant: Merchant, version: int) -> dict[str, Any]:
        certificate = self.merchants.platform_certificate(merchant.mchid, version)
        name = serial(certificate)
        return {
            "serial_no": name,
            "effective_time": certificate.not_valid_before_utc.isoformat(),
            "expire_time": certificate.not_valid_after_utc.isoformat(),
            "encrypt_certificate": self.merchants.sealed(
                merchant, certificate_pem(certificate).encode(), associated_data="certificate", nonce=name[:12].lower()
            ),
        }

    def _bill(self, name: str, asked: Mapping[str, str], merchant: Merchant, now: int) -> tuple[int, dict[str, Any]]:
        statement, day = ledger.STATEMENTS.get(name), asked.get("bill_date", "")
        if statement is None or asked.get("tar_type") != "GZIP":
            raise Refusal(400, "PARAM_ERROR", "参数错误")
        try:
            ready_at = bills.ready_at(day)
        except ValueError:
            raise Refusal(400, "PARAM_ERROR", "bill_date 不正确") from None
        if now < ready_at:
            raise Refusal(400, "STATEMENT_CREATING", "账单生成中")
        file = ledger.bill_of(self.books, statement, day, merchant.mchid)
        if file is None:
            raise Refusal(400, "NO_STATEMENT_EXIST", "账单文件不存在")
        token = self.books.number("bill", statement, day, merchant.mchid, file.sha1, digits=30)
        self._files[token] = file.packed
        url = f"{self._base_url}/v3/billdownload/file?token={token}"
        return 200, {"hash_type": "SHA1", "hash_value": file.sha1, "download_url": url}

    def _download(self, asked: Mapping[str, str]) -> tuple[int, dict[str, Any]]:
        file = self._files.get(asked.get("token", ""))
        if file is None:
            raise Refusal(404, "RESOURCE_NOT_EXISTS", "账单不存在")
        return 200, {"_file": file}

    # ------------------------------------------------------------------------------------ a person at a browser

    def _browse(self, request: Request, path: str, query: Mapping[str, list[str]], now: int) -> Reply:
        if path in ("", "/") and request.method == "GET":
            latest = list(self.books.trades.values())[-SHOWN_TRADES:]
            return pages.list_page(reversed(latest), self._base_path)
        return_url = query.get("redirect_url", [""])[0]
        if path == "/h5":
            return self._browse_h5(request, query, return_url, now)
        found = self.books.by_token(path.removeprefix("/pay/")) if path.startswith("/pay/") else None
        if found is None:
            return pages.PAPER.sorry("没有这个页面", "There is no such page.", status=404)
        return self._pay_page(found, request, return_url, now)

    def _browse_h5(self, request: Request, query: Mapping[str, list[str]], return_url: str, now: int) -> Reply:
        try:
            name = query.get("prepay_id", [""])[0]
            trade = self._h5_trade(name, "" if request.method == "POST" else request.headers.get("referer"), now)
        except Rejected:
            return pages.PAPER.sorry(
                "商家参数格式有误，请联系商家解决", "The merchant's parameters are wrong.", status=400
            )
        return self._pay_page(trade, request, return_url, now)

    def _pay_page(self, trade: Trade, request: Request, return_url: str, now: int) -> Reply:
        if request.method == "POST":
            action = parse_qs(request.body.decode("latin-1")).get("action", [""])[0]
            if action not in ("pay", "cancel"):
                return pages.PAPER.sorry("没有这个按钮", "There is no such button.", status=400)
            if action == "pay" and not trade.is_over(now):
                self.pay(trade.out_trade_no, now)
        return pages.payment_page(trade, now=now, return_url=return_url)

    def _h5_trade(self, name: str, referer: str | None, now: int) -> Trade:
        """The order behind an h5_url. Source: "H5 call-up payment": from a registered domain, within five minutes."""
        prepay = self.books.prepays.get(name)
        if prepay is None or prepay.trade.order.method != "h5" or prepay.is_dead(now):
            raise Rejected("there is no such page any more")
        domain = urlsplit(referer or "").hostname or ""
        if referer is None or (referer and self.h5_domains and domain not in self.h5_domains):
            raise Rejected("the referer is not of the registered domain")
        return prepay.trade

    # ------------------------------------------------------------------------------------ what people do

    def pay(
        self,
        payment_id: str,
        now: int,
        *,
        amount_minor: int | None = None,
        paid_to: str = "",
        coupon_minor: int = 0,
        even_if_over: bool = False,
    ) -> None:
        """Pay an order as its payer would. Raises LookupError when there is none, NotPayable when it is over.

        `even_if_over` pays a closed order all the same (money that was under way), `amount_minor` takes another amount,
        `paid_to` gives the money to another merchant, `coupon_minor` is what a coupon paid of it.
        """
        trade = self._trade(payment_id)
        self.books.pay(
            trade,
            now,
            amount_minor=amount_minor,
            paid_to=paid_to,
            coupon_minor=coupon_minor,
            even_if_over=even_if_over,
        )
        self._announce_payment(trade, now)

    def decline(self, payment_id: str, now: int) -> bool:
        """The payer's bank says no. An order goes on waiting for another card; a barcode payment fails for good."""
        trade = self._trade(payment_id)
        if trade.state != "USERPAYING":
            return False
        trade.state = "PAYERROR"
        return True

    def scan(self, code_url: str, now: int) -> str:
        """Scan a code as a payer's phone would and return the payment's id. Raises LookupError, and Rejected for an old one."""
        name = parse_qs(urlsplit(code_url).query).get("pr", [""])[0]
        prepay = self.books.prepays.get(name)
        if prepay is None or prepay.trade.order.method != "native" or not code_url.startswith("weixin://"):
            raise LookupError("no order has this code")
        if prepay.is_dead(now):
            raise Rejected("the code is older than two hours")
        return prepay.trade.out_trade_no

    def open_step(self, step: Step, device: Target, now: int) -> str:
        """Do what a device does with a step, up to where its payer could pay; returns the payment's id.

        Raises Rejected for what WeChat's software there would not take.
        """
        match step.content:
            case SdkCall() as call:
                return self._device.take_app(call.arguments, device, now).out_trade_no
            case JsapiCall() as call:
                return self._device.take_script(call.arguments, call.bridge, now).out_trade_no
            case MiniProgramCall() as call:
                return self._device.take_script(call.arguments, call.host, now).out_trade_no
            case Qr() as code:
                return self.scan(code.content, now)
            case Redirect() as page:
                name = parse_qs(urlsplit(page.url).query).get("prepay_id", [""])[0]
                return self._h5_trade(name, page.referer, now).out_trade_no
        raise Rejected(f"WeChat cannot run a {step.kind} step")

    def run_on_phone(self, plan_json: str, device: Target, now: int) -> str:
        """What the SDK on the payer's phone answers when the payer pays."""
        from paycore_wechatpay.simulator.phone import Phone  # a phone holds a simulator

        return Phone(self, device).run(plan_json, now).raw_code

    def accept(self, plan_json: str, now: int) -> str:
        """Do what the payer's device does with every step of a plan; all lead to one payment. Raises Rejected."""
        plan = Plan.from_json(plan_json)
        opened = {self.open_step(step, step.target, now) for step in plan.steps if step.is_usable(now)}
        if len(opened) != 1 or (plan.expires_at is not None and now >= plan.expires_at):
            raise Rejected("the plan leads nowhere any more")
        return opened.pop()

    def refund_in_console(self, payment_id: str, now: int, *, amount_minor: int) -> str:
        """Somebody at the merchant refunds in the merchant console; returns WeChat Pay's refund number."""
        trade = self._trade(payment_id)
        refund = self.books.refund_here(trade, amount_minor, now)
        self._announce_refund(trade, refund, now)
        self._settle(now)
        return refund.refund_id

    def next_refunds(self, *ends: RefundEnd) -> None:
        """Let the refunds that begin from now on end so, one after the other."""
        self.books.next_refund_ends.extend(ends)

    def end_refund(self, refund_id: str, end: RefundEnd, now: int) -> None:
        """Let a refund under way (or ABNORMAL) end so. Raises LookupError when there is none."""
        found = self.books.find_refund(refund_id)
        if found is None:
            raise LookupError(f"there is no refund {refund_id}")
        self._end(*found, end, now)

    def _trade(self, payment_id: str) -> Trade:
        try:
            return self.books.trades[payment_id]
        except KeyError:
            raise LookupError(f"there is no order {payment_id}") from None

    # ------------------------------------------------------------------------------------ for whole worlds

    def hand_in(self, method: str, number: int) -> Mapping[str, str]:
        """The openid of the payer of this number, or a code from the payer's phone."""
        openid = {"openid": f"oUpF8uMu-payer-{number:012d}"}
        known = {"jsapi": openid, "mini_program": openid, "codepay": {"auth_code": f"13{number:016d}"}}
        return known.get(method, {})

    def next_scan(self, answer: ScanAnswer | None) -> None:
        """Let the next code be answered so."""
        self.books.next_charges[:] = [] if answer is None else [_CHARGES[answer]]

    def pay_late(self, payment_id: str, now: int, *, amount_minor: int | None = None) -> None:
        """Pay an order although it is over."""
        self.pay(payment_id, now, amount_minor=amount_minor, even_if_over=True)

    def refunds_take(self, delay: int | None) -> None:
        """How long a refund is PROCESSING."""
        self.books.refund_delay = delay

    def next_refund(self, course: RefundCourse | None) -> None:
        """Let the next refund go so."""
        self.books.next_refund_ends[:] = [] if course is None else [_ENDS[course]]

    def end_refunds(self, now: int) -> None:
        """Carry out what is PROCESSING."""
        for trade, refund in list(self.books.all_refunds()):
            if refund.state == RefundEnd.PROCESSING:
                self._end(trade, refund, RefundEnd.SUCCESS, now)

    def refund_course(self, refund_id: str) -> RefundCourse | None:
        """How a refund stands."""
        found = self.books.find_refund(refund_id)
        return None if found is None else _COURSES[found[1].state]

    # ------------------------------------------------------------------------------------ for the conformance kit

    def misreport(self, payment_id: str, lie: Lie, now: int) -> bool:
        """From now on this is what is told of the trade."""
        trade = self._trade(payment_id)
        if lie is Lie.AMOUNT:
            trade.taken_minor += 1
        elif lie is Lie.CURRENCY:
            trade.currency = "HKD"
        else:
            trade.paid_to = OTHER_MCHID
        self._announce_payment(trade, now)
        return True

    def trade(self, payment_id: str) -> TradeSeen | None:
        """The trade in the books."""
        trade = self.books.trades.get(payment_id)
        if trade is None:
            return None
        is_closed = trade.paid_at is None and trade.state in ("CLOSED", "REVOKED", "PAYERROR")
        return TradeSeen(
            trade.order.amount_minor, trade.order.currency, trade.taken_minor, trade.returned_minor, is_closed
        )

    def refunds(self, payment_id: str) -> Mapping[str, int]:
        """The merchant's refunds of a trade that went through or are under way."""
        trade = self.books.trades.get(payment_id)
        found = [] if trade is None else trade.refunds
        return {one.out_refund_no: one.amount_minor for one in found if one.is_ours and one.counts}

    def forgeries(self, genuine: Request, now: int) -> Mapping[str, Request]:
        """By other keys, over another time, by a weaker algorithm, with another signature type, as a probe."""
        merchant = self._merchant_of(genuine)
        name, body = genuine.headers[signing.SERIAL], genuine.body
        nonce = genuine.headers[signing.NONCE]
        own = self.merchants.public_key(merchant.mchid, merchant.version)
        own_name = self.merchants.public_key_id(merchant.mchid, merchant.version)

        def forged(key: RSAPrivateKey, at: int, serial_no: str = name, **more: str) -> Request:
            return replace(genuine, headers=dict(genuine.headers) | _signature(serial_no, key, nonce, body, at) | more)

        reach = (signing.WINDOW_SECONDS + 1) * SECOND
        weak = own.sign(
            signing.signed_text(str(now // SECOND), nonce, body=body),
            PKCS1v15(),
            hashes.SHA1(),  # noqa: S303 - a forgery
        )
        sha1 = {signing.SIGNATURE: base64.b64encode(weak).decode()}
        return {
            "key": forged(self.merchants.stranger(), now),
            "unknown serial": forged(self.merchants.stranger(), now, "PUB_KEY_ID_UNKNOWN1"),
            "merchant's own key": forged(self.merchants.merchant_key(merchant.mchid), now),
            "merchant's own serial": forged(
                self.merchants.merchant_key(merchant.mchid), now, next(iter(merchant.serials))
            ),
            "stale": forged(own, now - reach, own_name),
            "from the future": forged(own, now + reach, own_name),
            "SHA-1": forged(own, now, own_name, **sha1),
            "another signature type": forged(own, now, own_name, **{signing.SIGNATURE_TYPE: "WECHATPAY2-SM2-WITH-SM3"}),
            "probe": forged(own, now, own_name, **{signing.SIGNATURE: f"{signing.PROBE}{'A' * 300}"}),
        }

    def purchase(self, plan_json: str, now: int, *, amount_minor: int) -> str:
        """There is no store here."""
        raise ValueError("WeChat Pay sells nothing itself")

    def _merchant_of(self, notice: Request) -> Merchant:
        """The merchant whose keys signed a notice."""
        for mchid in (MCHID, OTHER_MCHID):
            merchant = self.merchants.find(mchid)
            if merchant is None:
                continue
            for turn in range(2):
                if self.merchants.signer(merchant, "", in_turn=turn)[0] == notice.headers[signing.SERIAL]:
                    return merchant
        raise LookupError("nobody's notice")

    # ------------------------------------------------------------------------------------ notices

    def due(self, now: int) -> Sequence[OutgoingNotice]:
        """The notices to deliver now, freshly signed; each is under way until `answered`."""
        self._settle(now)
        return [OutgoingNotice(letter.letter_id, self._envelope(letter, now)) for letter in self._postbox.collect(now)]

    def answered(self, key: str, reply: NoticeReply | None, now: int) -> None:
        """How a delivery went: 200 or 204 stops the ladder, everything else climbs it. Source: "Receiving notices"."""
        self._postbox.answered(key, is_acknowledged=reply is not None and reply.status in (200, 204), now=now)

    def next_due(self) -> int | None:
        """When `due` will next have something, or None."""
        ends = [refund.ends_at for _, refund in self.books.all_refunds() if refund.ends_at is not None]
        post = self._postbox.next_due()
        return min([*ends, *([] if post is None else [post])], default=None)

    @property
    def undelivered(self) -> int:
        """How many notices are still to be acknowledged."""
        return self._postbox.undelivered

    def _settle(self, now: int) -> None:
        """End the refunds whose time has come."""
        for trade, refund in list(self.books.all_refunds()):
            if refund.ends_at is not None and refund.ends_at <= now:
                self._end(trade, refund, RefundEnd.SUCCESS, refund.ends_at)

    def _end(self, trade: Trade, refund: Refund, end: RefundEnd, now: int) -> None:
        self.books.end_refund(refund, end, now)
        self._announce_refund(trade, refund, now)

    def _announce_payment(self, trade: Trade, now: int) -> None:
        """Source: "Payment notice". A barcode payment has no address; its answer and the query tell."""
        shown = trade.show() | {"trade_state": "SUCCESS", "trade_state_desc": "支付成功"}
        self._announce("TRANSACTION.SUCCESS", "transaction", shown, trade, trade.order.notify_url, now)

    def _announce_refund(self, trade: Trade, refund: Refund, now: int) -> None:
        if refund.state != "PROCESSING":
            url = refund.notify_url or trade.order.notify_url
            self._announce(f"REFUND.{refund.state}", "refund", trade.show_refund_notice(refund), trade, url, now)

    def _announce(
        self, event: str, original_type: str, shown: dict[str, Any], trade: Trade, url: str, now: int
    ) -> None:
        """Write a notice, as a fault may spoil it. Without an address there is nobody to tell."""
        planned = self.faults.take_notice(event)
        fault = planned.fault if planned else None
        if not url or fault is NoticeFault.LOST:
            return
        self._posted += 1
        body = self._notice_body(event, original_type, _altered(shown, fault), trade, now, fault=fault)
        spoilt_by = fault.value if fault in (NoticeFault.FORGED, NoticeFault.PROBE) else ""
        notice = Notice(trade.mchid, body, spoilt_by)
        due_at = now + (planned.delay if planned and fault is NoticeFault.LATE else 0)
        for _ in range(2 if fault is NoticeFault.DUPLICATE else 1):
            self._postbox.post(self._notice_id, url, notice, due_at=due_at)

    @property
    def _notice_id(self) -> str:
        """The number of the notice that was written last."""
        return f"EV-{self.books.number('notice', str(self._posted))}"

    def _notice_body(
        self,
        event: str,
        original_type: str,
        shown: dict[str, Any],
        trade: Trade,
        now: int,
        *,
        fault: NoticeFault | None,
    ) -> bytes:
        merchant = self.merchants.find(trade.mchid)
        assert merchant is not None
        version = 77 if fault is NoticeFault.WRONG_KEY else 0
        nonce = self.books.number("nonce", str(self._posted), digits=12)
        sealed = self.merchants.sealed(
            merchant, wire.write(shown), associated_data=original_type, nonce=nonce, version=version
        )
        return wire.write(
            {
                "id": self._notice_id,
                "create_time": wire.moment(now),
                "resource_type": "encrypt-resource",
                "event_type": event,
                "summary": "支付成功" if event == "TRANSACTION.SUCCESS" else "退款通知",
                "resource": {"original_type": original_type, **sealed},
            }
        )

    def _envelope(self, letter: Letter[Notice], now: int) -> Request:
        notice = letter.content
        merchant = self.merchants.find(notice.merchant)
        assert merchant is not None
        name, key = self.merchants.signer(merchant, "", in_turn=letter.tries)
        key = self.merchants.stranger() if notice.spoilt_by == NoticeFault.FORGED.value else key
        nonce = hashlib.sha256(f"{letter.letter_id} {letter.tries}".encode()).hexdigest()[:32]
        headers = {"content-type": "application/json", **_signature(name, key, nonce, notice.body, now)}
        if notice.spoilt_by == NoticeFault.PROBE.value:
            headers[signing.SIGNATURE] = signing.PROBE + headers[signing.SIGNATURE][len(signing.PROBE) :]
        return Request("POST", letter.url, headers=headers, body=notice.body)


# ---------------------------------------------------------------------------------------------- small things


def _document(request: Request) -> dict[str, Any]:
    if request.method != "POST":
        return {}
    try:
        return wire.read(request.body)
    except Unreadable:
        raise Refusal(400, "PARAM_ERROR", "请求体不是合法的 JSON") from None


def _signature(name: str, key: RSAPrivateKey, nonce: str, body: bytes, now: int) -> dict[str, str]:
    """The headers of a signed answer or notice. Source: "Signature verification"."""
    timestamp = str(now // SECOND)
    return {
        signing.TIMESTAMP: timestamp,
        signing.NONCE: nonce,
        signing.SERIAL: name,
        signing.SIGNATURE_TYPE: signing.SCHEME,
        signing.SIGNATURE: signing.sign(key, signing.signed_text(timestamp, nonce, body=body)),
    }


def _plain(status: int, document: Mapping[str, Any]) -> Reply:
    """An answer that nobody signed."""
    return Reply(status, {"content-type": "application/json; charset=utf-8"}, wire.write(document))


def _from_before(status: int, answer: dict[str, Any]) -> tuple[int, dict[str, Any] | None]:
    """What a replica that has not heard yet would answer."""
    if "trade_state" in answer:
        early = {name: answer[name] for name in ("appid", "mchid", "out_trade_no", "amount")}
        return 200, early | {"trade_state": "NOTPAY", "trade_state_desc": "订单未支付"}
    if "refund_id" in answer:
        return 404, {"code": "RESOURCE_NOT_EXISTS", "message": "退款单不存在"}
    return status, answer


def _altered(shown: dict[str, Any], fault: NoticeFault | None) -> dict[str, Any]:
    """What a genuine notice says when it is wrong."""
    if fault is NoticeFault.WRONG_AMOUNT:
        name = "refund" if "refund_id" in shown else "total"
        return shown | {"amount": shown["amount"] | {name: shown["amount"][name] + 1}}
    return shown | {"mchid": OTHER_MCHID} if fault is NoticeFault.WRONG_MERCHANT else shown


def _spoil(fault: Fault | None, reply: Reply) -> Reply:
    """The answer with its signature or its body spoilt."""
    return _SPOIL[fault](reply) if fault in _SPOIL else reply


def _badly_signed(reply: Reply) -> Reply:
    signature = reply.headers.get(signing.SIGNATURE, "")
    return replace(reply, headers=dict(reply.headers) | {signing.SIGNATURE: signature[::-1]})


_SPOIL: Mapping[Fault | None, Callable[[Reply], Reply]] = {
    Fault.UNSIGNED: lambda reply: replace(reply, headers={"content-type": "application/json"}),
    Fault.BADLY_SIGNED: _badly_signed,
    Fault.TRUNCATED: lambda reply: replace(reply, body=reply.body[: len(reply.body) // 2]),
    Fault.EMPTY: lambda reply: replace(reply, body=b""),
}

__all__ = ["Call", "NotPayable", "WechatPaySimulator"]
