"""WeChat Pay's own books: orders and refunds as WeChat Pay knows them, whatever anybody else believes.

Sources: "APP order" and its sisters, "Close an order", "Reverse an order", "Apply for a refund", with their error codes.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from paycore_wechatpay import wire
from paycore_wechatpay.plans import H5_LIFETIME, PREPAY_LIFETIME
from paycore_wechatpay.simulator.faults import Charge, RefundEnd
from paycore_wechatpay.wire import SECOND

MINUTE = 60 * SECOND
DAY = 24 * 60 * MINUTE
REFUND_WINDOW = 365 * DAY
REFUND_COUNT = 50
REFUND_INTERVAL = MINUTE
REVERSE_WAIT = 15 * SECOND
NEVER = 4_102_444_800 * SECOND
"""A barcode payment has no expiry of its own."""
TRADE_TYPES = {"app": "APP", "jsapi": "JSAPI", "native": "NATIVE", "h5": "MWEB", "codepay": "MICROPAY"}
_DESCRIPTIONS = {
    "SUCCESS": "支付成功",
    "REFUND": "转入退款",
    "NOTPAY": "订单未支付",
    "CLOSED": "已关闭",
    "REVOKED": "已撤销",
    "USERPAYING": "用户支付中",
    "PAYERROR": "支付失败",
}


class Refusal(Exception):
    """WeChat Pay refuses a call, with a code, a status and words."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(code)
        self.status = status
        self.code = code
        self.message = message


class NotPayable(ValueError):
    """The payer cannot pay this order as it stands."""


@dataclass(frozen=True, slots=True)
class Order:
    """What a merchant asked for, checked. The same number with another content is refused."""

    mchid: str
    appid: str
    out_trade_no: str
    method: str
    amount_minor: int
    currency: str
    description: str
    expires_at: int
    notify_url: str
    openid: str


@dataclass(slots=True)
class Refund:
    """A refund: sent by the merchant, or begun in the console (then its number is WeChat Pay's)."""

    out_refund_no: str
    refund_id: str
    amount_minor: int
    created_at: int
    notify_url: str
    is_ours: bool
    """Whether the merchant sent it."""
    state: str = "PROCESSING"
    refunded_at: int | None = None
    ends_at: int | None = None
    """When a refund under way succeeds by itself; None when somebody has to end it."""

    @property
    def counts(self) -> bool:
        """Whether its money has gone back, or is on its way."""
        return self.state != "CLOSED"


@dataclass(slots=True)
class Trade:
    """An order as WeChat Pay keeps it. Its expiry stops payers; it closes only when somebody closes it."""

    order: Order
    transaction_id: str
    token: str
    created_at: int
    state: str = "NOTPAY"
    taken_minor: int = 0
    coupon_minor: int = 0
    paid_to: str = ""
    currency: str = ""
    paid_at: int | None = None
    refunds: list[Refund] = field(default_factory=list)

    @property
    def out_trade_no(self) -> str:
        return self.order.out_trade_no

    @property
    def mchid(self) -> str:
        return self.order.mchid

    @property
    def returned_minor(self) -> int:
        """What has gone back, or is on its way."""
        if self.state == "REVOKED":
            return self.taken_minor
        return sum(one.amount_minor for one in self.refunds if one.counts)

    @property
    def shown_state(self) -> str:
        """A paid trade with a refund is shown as REFUND."""
        return "REFUND" if self.state == "SUCCESS" and any(one.counts for one in self.refunds) else self.state

    def is_over(self, now: int) -> bool:
        """Whether nobody may begin to pay it any more."""
        return self.state not in ("NOTPAY", "USERPAYING") or now >= self.order.expires_at

    def show(self) -> dict[str, Any]:
        """The trade as answers and notices carry it. Source: "Query an order"."""
        currency, total = self.currency or self.order.currency, self.taken_minor or self.order.amount_minor
        shown: dict[str, Any] = {
            "appid": self.order.appid,
            "mchid": self.paid_to or self.mchid,
            "out_trade_no": self.out_trade_no,
            "trade_type": TRADE_TYPES[self.order.method],
            "trade_state": self.shown_state,
            "trade_state_desc": _DESCRIPTIONS[self.shown_state],
            "amount": {"total": total, "currency": currency},
            "payer": {},
        }
        if self.paid_at is None:
            return shown
        amount = {"payer_total": total - self.coupon_minor, "payer_currency": currency}
        return shown | {
            "transaction_id": self.transaction_id,
            "bank_type": "OTHERS",
            "attach": "",
            "success_time": wire.moment(self.paid_at),
            "payer": {"openid": self.order.openid or "oUpF8uMuAJO_M2pxb1Q9zNjWeS6o"},
            "amount": shown["amount"] | amount,
        }

    def show_refund(self, refund: Refund) -> dict[str, Any]:
        """A refund as answers carry it. Source: "Query a refund"."""
        shown = self._refund(refund) | {
            "channel": "ORIGINAL",
            "create_time": wire.moment(refund.created_at),
            "status": refund.state,
            "promotion_detail": [],
        }
        shown["amount"] |= {
            "settlement_refund": refund.amount_minor,
            "settlement_total": self.taken_minor,
            "discount_refund": 0,
            "currency": self.currency or self.order.currency,
        }
        return shown

    def show_refund_notice(self, refund: Refund) -> dict[str, Any]:
        """A refund as notices carry it: another name for the state, and no currency. Source: "Refund notice"."""
        return self._refund(refund) | {"mchid": self.paid_to or self.mchid, "refund_status": refund.state}

    def _refund(self, refund: Refund) -> dict[str, Any]:
        shown = {
            "out_trade_no": self.out_trade_no,
            "transaction_id": self.transaction_id,
            "out_refund_no": refund.out_refund_no,
            "refund_id": refund.refund_id,
            "user_received_account": "支付用户零钱",
            "amount": {
                "total": self.taken_minor,
                "refund": refund.amount_minor,
                "payer_total": self.taken_minor - self.coupon_minor,
                "payer_refund": refund.amount_minor,
            },
        }
        return shown | ({} if refund.refunded_at is None else {"success_time": wire.moment(refund.refunded_at)})


@dataclass(frozen=True, slots=True)
class Prepay:
    """A way to pay an order that was handed out: a prepay_id, a code or a page."""

    trade: Trade
    made_at: int

    def is_dead(self, now: int) -> bool:
        lifetime = H5_LIFETIME if self.trade.order.method == "h5" else PREPAY_LIFETIME
        return now >= self.made_at + lifetime


class Books:
    """Everything that WeChat Pay knows. Numbers follow from the seed and the merchant's numbers, so runs repeat exactly."""

    def __init__(self, seed: bytes) -> None:
        self._seed = seed
        self.trades: dict[str, Trade] = {}
        self.prepays: dict[str, Prepay] = {}
        self._tokens: dict[str, Trade] = {}
        self._codes: dict[str, str] = {}
        self.is_short_of_money = False
        self.refund_delay: int | None = 0
        """Microseconds until a refund succeeds by itself; None: never."""
        self.next_refund_ends: list[RefundEnd] = []
        self.next_charges: list[Charge] = []

    def number(self, *of: str, digits: int = 18) -> str:
        """A number of WeChat Pay's for something, the same whenever it is asked for."""
        digest = hmac.new(self._seed, "\n".join(of).encode(), hashlib.sha256).digest()
        return str(int.from_bytes(digest, "big") % 10**digits).rjust(digits, "0")

    # ------------------------------------------------------------------------------------ orders

    def make(self, order: Order, now: int) -> Trade:
        """Make an order; the same number and content again is the same order. Raises Refusal."""
        known = self.trades.get(order.out_trade_no)
        if known is None:
            if now >= order.expires_at:
                raise Refusal(400, "PARAM_ERROR", "time_expire 必须晚于当前时间")
            token = self.number("token", order.out_trade_no, digits=30)
            known = Trade(order, f"42{self.number('trade', order.out_trade_no, digits=26)}", token, now)
            self.trades[order.out_trade_no] = self._tokens[token] = known
        elif known.order != order:
            raise Refusal(403, "OUT_TRADE_NO_USED", "商户订单号重复")
        if known.state in ("SUCCESS", "REFUND"):
            raise Refusal(400, "ORDERPAID", "该订单已支付")
        if known.state in ("CLOSED", "REVOKED"):
            raise Refusal(400, "ORDER_CLOSED", "该订单已关闭")
        return known

    def hand_out(self, trade: Trade, now: int) -> str:
        """A fresh name under which this order can be paid for a while."""
        name = f"wx{self.number('prepay', trade.out_trade_no, str(now), digits=34)}"
        self.prepays[name] = Prepay(trade, now)
        return name

    def charge(self, order: Order, auth_code: str, now: int) -> Trade:
        """Take the money of whoever shows this code. Raises Refusal; a code is good for one order."""
        if self._codes.setdefault(auth_code, order.out_trade_no) != order.out_trade_no:
            raise Refusal(400, "AUTH_CODE_INVALID", "付款码无效")
        is_new = order.out_trade_no not in self.trades
        trade = self.make(order, now)
        charge = self.next_charges.pop(0) if self.next_charges and is_new else Charge.PAID
        if trade.state == "USERPAYING" or charge is Charge.PAYER_IS_PAYING:
            trade.state = "USERPAYING"
            raise Refusal(202, "USERPAYING", "需要用户输入支付密码")
        if charge is Charge.SHORT_OF_MONEY:
            trade.state = "PAYERROR"
            raise Refusal(403, "NOT_ENOUGH", "用户账户余额不足")
        if trade.state == "PAYERROR":
            raise Refusal(403, "TRADE_ERROR", "交易错误")  # the same order once more: it failed for good
        self.pay(trade, now)
        return trade

    def visible(self, out_trade_no: str, mchid: str) -> Trade:
        """The trade as its merchant may see it. Raises Refusal for one that is unknown."""
        trade = self.trades.get(out_trade_no)
        if trade is None or trade.mchid != mchid:
            raise Refusal(404, "ORDER_NOT_EXIST", "订单不存在")
        return trade

    def by_transaction(self, transaction_id: str, mchid: str) -> Trade:
        """The paid trade of this number. Raises Refusal."""
        for trade in self.trades.values():
            if trade.transaction_id == transaction_id and trade.paid_at is not None and trade.mchid == mchid:
                return trade
        raise Refusal(404, "ORDER_NOT_EXIST", "订单不存在")

    def by_token(self, token: str) -> Trade | None:
        """The trade whose payment page has this token."""
        return self._tokens.get(token)

    def close(self, out_trade_no: str, mchid: str) -> Trade:
        """Close an unpaid trade; closing twice is the same. Raises Refusal."""
        trade = self.visible(out_trade_no, mchid)
        if trade.state == "SUCCESS":
            raise Refusal(400, "ORDER_PAID", "订单已支付")
        if trade.state == "USERPAYING":
            raise Refusal(202, "USER_PAYING", "用户支付中，请稍后重试")
        trade.state = trade.state if trade.state in ("REVOKED", "PAYERROR") else "CLOSED"
        return trade

    def reverse(self, out_trade_no: str, mchid: str, now: int) -> Trade:
        """Reverse a barcode payment: whatever was taken goes back. Raises Refusal."""
        trade = self.visible(out_trade_no, mchid)
        if trade.order.method != "codepay" or now < trade.created_at + REVERSE_WAIT:
            raise Refusal(400, "INVALID_REQUEST", "该订单不支持撤销或撤销过早")
        if trade.refunds:
            raise Refusal(400, "INVALID_REQUEST", "订单已有退款")
        trade.state = "REVOKED"
        return trade

    def pay(
        self,
        trade: Trade,
        now: int,
        *,
        amount_minor: int | None = None,
        paid_to: str = "",
        coupon_minor: int = 0,
        even_if_over: bool = False,
    ) -> None:
        """Take the payer's money. Raises NotPayable for what a payer could not pay."""
        if trade.state in ("SUCCESS", "REVOKED") or (trade.is_over(now) and not even_if_over):
            raise NotPayable(f"order {trade.out_trade_no} is {trade.state}")
        trade.state, trade.paid_at = "SUCCESS", now
        trade.taken_minor, trade.paid_to = amount_minor or trade.order.amount_minor, paid_to
        trade.coupon_minor = coupon_minor

    # ------------------------------------------------------------------------------------ refunds

    def refund(
        self, trade: Trade, *, out_refund_no: str, amount_minor: int, total_minor: int, notify_url: str, now: int
    ) -> Refund:
        """Give money back; the same number and amount again is the same refund. Raises Refusal."""
        known = next((one for one in trade.refunds if one.out_refund_no == out_refund_no), None)
        if known is not None:
            if known.amount_minor != amount_minor or total_minor != trade.taken_minor:
                raise Refusal(400, "INVALID_REQUEST", "订单金额或退款金额与之前请求不一致，请核实后再试")
            return known
        if self.find_refund(out_refund_no, trade.mchid) is not None:
            raise Refusal(400, "INVALID_REQUEST", "商户退款单号已用于其他订单")
        self._refuse_refund(trade, amount_minor, total_minor, now)
        return self._begin_refund(trade, out_refund_no, amount_minor, notify_url, now, is_ours=True)

    def _refuse_refund(self, trade: Trade, amount_minor: int, total_minor: int, now: int) -> None:
        if trade.paid_at is None or trade.state != "SUCCESS":
            raise Refusal(404, "RESOURCE_NOT_EXISTS", "订单未支付或不存在")
        if now > trade.paid_at + REFUND_WINDOW:
            raise Refusal(400, "INVALID_REQUEST", "订单已超过可退款的最大期限")
        if len([one for one in trade.refunds if one.counts]) >= REFUND_COUNT:
            raise Refusal(400, "INVALID_REQUEST", "该订单退款次数已达上限")
        if total_minor != trade.taken_minor or trade.returned_minor + amount_minor > trade.taken_minor:
            raise Refusal(400, "INVALID_REQUEST", "申请退款金额大于可退金额")
        if any(now < one.created_at + REFUND_INTERVAL for one in trade.refunds if one.is_ours):
            raise Refusal(429, "FREQUENCY_LIMITED", "同一订单的多笔退款需间隔一分钟")
        if self.is_short_of_money:
            raise Refusal(403, "NOT_ENOUGH", "基本账户余额不足，请充值后重新发起")

    def refund_here(self, trade: Trade, amount_minor: int, now: int) -> Refund:
        """A refund that somebody begins in the merchant console. Its number is drawn by WeChat Pay."""
        if trade.state != "SUCCESS" or trade.returned_minor + amount_minor > trade.taken_minor:
            raise ValueError(f"order {trade.out_trade_no} has not so much to return")
        number = self.number("console", trade.out_trade_no, str(len(trade.refunds)), digits=28)
        return self._begin_refund(trade, number, amount_minor, trade.order.notify_url, now, is_ours=False)

    def _begin_refund(
        self, trade: Trade, out_refund_no: str, amount_minor: int, notify_url: str, now: int, *, is_ours: bool
    ) -> Refund:
        refund_id = f"50{self.number('refund', out_refund_no, digits=27)}"
        refund = Refund(out_refund_no, refund_id, amount_minor, now, notify_url, is_ours)
        trade.refunds.append(refund)
        if self.next_refund_ends:
            self.end_refund(refund, self.next_refund_ends.pop(0), now)
        elif self.refund_delay is not None:
            refund.ends_at = now + self.refund_delay
        return refund

    def end_refund(self, refund: Refund, end: RefundEnd, now: int) -> None:
        """Let a refund end so, now."""
        refund.state, refund.ends_at = end.value, None
        refund.refunded_at = now if end is RefundEnd.SUCCESS else None

    def find_refund(self, out_refund_no: str, mchid: str = "") -> tuple[Trade, Refund] | None:
        """A refund by its number, with its trade."""
        found = ((trade, one) for trade, one in self.all_refunds() if one.out_refund_no == out_refund_no)
        return next((pair for pair in found if mchid in ("", pair[0].mchid)), None)

    def all_refunds(self) -> Iterator[tuple[Trade, Refund]]:
        """Every refund with its trade."""
        return ((trade, refund) for trade in self.trades.values() for refund in trade.refunds)


# ---------------------------------------------------------------------------------------------- what is asked for


def read_order(document: Mapping[str, Any], method: str, mchid: str) -> Order:
    """The order that a merchant asks for. Raises Refusal as WeChat Pay's own checks would."""
    amount = _object(document, "amount")
    needs = {"openid": _text(_object(document, "payer"), "openid", 128)} if method == "jsapi" else {}
    if method == "h5":
        scene = _object(document, "scene_info")
        _text(scene, "payer_client_ip", 45)
        if _text(_object(scene, "h5_info"), "type", 32) not in ("iOS", "Android", "Wap"):
            raise _bad("scene_info.h5_info.type")
    if _text(document, "mchid", 32) != mchid:
        raise Refusal(400, "APPID_MCHID_NOT_MATCH", "商户号与签名不一致")
    is_barcode = method == "codepay"
    return Order(
        mchid=mchid,
        appid=_text(document, "appid", 32),
        out_trade_no=_out_trade_no(document),
        method=method,
        amount_minor=_whole(amount, "total"),
        currency=_text(amount, "currency", 16),
        description=_text(document, "description", 127),
        expires_at=NEVER if is_barcode else _expiry(document),
        notify_url="" if is_barcode else _notify_url(document),
        openid=needs.get("openid", ""),
    )


def _bad(name: str) -> Refusal:
    return Refusal(400, "PARAM_ERROR", f"参数错误：{name}")


def _object(document: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = document.get(name)
    if not isinstance(value, dict):
        raise _bad(name)
    return value


def _text(document: Mapping[str, Any], name: str, most_bytes: int) -> str:
    """A text by WeChat Pay's rule, which counts bytes."""
    value = document.get(name)
    if not isinstance(value, str) or not 0 < len(value.encode()) <= most_bytes:
        raise _bad(name)
    return value


def _whole(document: Mapping[str, Any], name: str) -> int:
    value = document.get(name)
    if not isinstance(value, int) or isinstance(value, bool) or value <= 0:
        raise _bad(name)
    return value


def _out_trade_no(document: Mapping[str, Any]) -> str:
    number = _text(document, "out_trade_no", 32)
    if len(number) < 6 or not all(letter.isascii() and (letter.isalnum() or letter in "_-|*") for letter in number):
        raise _bad("out_trade_no")
    return number


def _expiry(document: Mapping[str, Any]) -> int:
    at = wire.instant(_text(document, "time_expire", 64))
    if at is None:
        raise _bad("time_expire")
    return at


_LOOPBACK = ("http://127.0.0.1:", "http://localhost:", "http://[::1]:")


def _notify_url(document: Mapping[str, Any]) -> str:
    """Source: "APP order", notify_url: https, without a query. Plain HTTP on loopback is for laptops."""
    url = _text(document, "notify_url", 255)
    if not url.startswith(("https://", *_LOOPBACK)) or "?" in url:
        raise _bad("notify_url")
    return url


def read_refund(document: Mapping[str, Any]) -> tuple[str, str, int, int, str]:
    """The trade's number, the refund's number, its amount, the trade's total and where to announce it. Raises Refusal."""
    amount = _object(document, "amount")
    if "reason" in document:
        _text(document, "reason", 80)
    notify_url = _notify_url(document) if "notify_url" in document else ""
    number = _text(document, "out_refund_no", 64)
    if _text(amount, "currency", 16) != "CNY":
        raise _bad("amount.currency")
    return _out_trade_no(document), number, _whole(amount, "refund"), _whole(amount, "total"), notify_url
