"""Alipay's own books: trades and refunds as Alipay knows them, whatever anybody else believes."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from paycore.channel import parse_major
from paycore_alipay import wire
from paycore_alipay.simulator.faults import RefundEnd
from paycore_alipay.wire import Unreadable

CODE_LIFETIME = 2 * 3600 * wire.SECOND
DAY = 24 * 3600 * wire.SECOND
MOST = 100_000_000_00


class Refusal(Exception):
    """Alipay refuses a call: a code, and a finer one."""

    def __init__(self, sub_code: str, code: str = "40004") -> None:
        super().__init__(sub_code)
        self.code = code
        self.sub_code = sub_code


class NotPayable(ValueError):
    """The payer cannot pay this trade as it stands."""


@dataclass(slots=True)
class Refund:
    """A refund under the merchant's number, or Alipay's own when it was begun in the console."""

    out_request_no: str
    amount_minor: int
    created_at: int
    is_from_console: bool
    refunded_at: int | None = None
    ends_at: int | None = None
    """When a refund under way is carried out by itself; None when somebody has to end it."""
    is_given_up: bool = False

    @property
    def is_under_way(self) -> bool:
        """Whether its money is still to move."""
        return self.refunded_at is None and not self.is_given_up


@dataclass(slots=True)
class Trade:
    """A trade, or an order that will become one when its payer enters it."""

    merchant: str
    seller_id: str
    out_trade_no: str
    trade_no: str
    token: str
    product: str
    amount_minor: int
    subject: str
    body: str
    expires_at: int
    notify_url: str
    return_url: str
    created_at: int
    is_hidden: bool = False
    """Nobody has entered it yet: to the merchant it does not exist, though it can be paid."""
    buyer: str = "2088102169481075"
    status: str = "WAIT_BUYER_PAY"
    taken_minor: int = 0
    paid_at: int | None = None
    closed_at: int | None = None
    shown: dict[str, str] = field(default_factory=dict)
    """What Alipay says of it against its own books, when a test wants it to lie."""
    refunds: list[Refund] = field(default_factory=list)

    def is_over(self, now: int) -> bool:
        """Whether its time to be paid has passed."""
        return self.status == "WAIT_BUYER_PAY" and now >= self.expires_at

    @property
    def content(self) -> tuple[object, ...]:
        """What must be the same when the same number is sent again."""
        return (self.merchant, self.product, self.amount_minor, self.subject, self.expires_at)

    @property
    def returned_minor(self) -> int:
        """What has gone back."""
        return sum(one.amount_minor for one in self.refunds if one.refunded_at is not None)

    @property
    def promised_minor(self) -> int:
        """What has gone back or is on its way."""
        return sum(one.amount_minor for one in self.refunds if not one.is_given_up)

    def refund(self, number: str) -> Refund | None:
        return next((one for one in self.refunds if one.out_request_no == number), None)


class Books:
    """Everything Alipay knows. Numbers follow from the seed and the merchant's numbers, so runs repeat exactly."""

    def __init__(self, seed: bytes) -> None:
        self._seed = seed
        self.trades: dict[str, Trade] = {}
        self._by_token: dict[str, Trade] = {}
        self.cancelled: set[str] = set()
        """Numbers that were cancelled before there was a trade: none can be paid under them any more."""
        self.is_short_of_money = False
        self.refund_delay: int | None = 0
        """Microseconds until a refund is carried out; 0: at once, with fund_change=Y; None: when somebody ends it."""
        self.next_refund_ends: list[RefundEnd] = []

    def number(self, *of: str) -> str:
        """A number of Alipay's for something, the same whenever it is asked for: 28 digits."""
        digest = hmac.new(self._seed, "\n".join(of).encode(), hashlib.sha256).digest()
        return f"2026{int.from_bytes(digest[:16]) % 10**24:024d}"

    # ------------------------------------------------------------------------------------ trades

    def begin(
        self, document: Mapping[str, Any], parameters: Mapping[str, str], seller_id: str, now: int, *, entered: bool
    ) -> Trade:
        """Take an order; the same number and content again is the same trade. Raises Refusal."""
        wanted = self._wanted(document, parameters, seller_id, now)
        known = self.trades.get(wanted.out_trade_no)
        if known is None:
            if now >= wanted.expires_at or wanted.out_trade_no in self.cancelled:
                raise Refusal("ACQ.TRADE_HAS_CLOSE")
            wanted.is_hidden = not entered
            self.trades[wanted.out_trade_no] = self._by_token[wanted.token] = known = wanted
        elif known.merchant != wanted.merchant or known.content != wanted.content:
            raise Refusal("ACQ.CONTEXT_INCONSISTENT")
        known.is_hidden = known.is_hidden and not entered
        if known.status in ("TRADE_SUCCESS", "TRADE_FINISHED"):
            raise Refusal("ACQ.TRADE_HAS_SUCCESS")
        if known.status == "TRADE_CLOSED" or known.is_over(now):
            raise Refusal("ACQ.TRADE_HAS_CLOSE")
        return known

    def _wanted(self, document: Mapping[str, Any], parameters: Mapping[str, str], seller_id: str, now: int) -> Trade:
        number = _required(document, "out_trade_no")
        return Trade(
            merchant=parameters["app_id"],
            seller_id=seller_id,
            out_trade_no=number,
            trade_no=self.number("trade", number),
            token=self.number("token", number)[4:],
            product=_required(document, "product_code"),
            amount_minor=amount_in(document, "total_amount"),
            subject=_required(document, "subject"),
            body=wire.text_of(document, "body"),
            expires_at=_expiry(document, now),
            notify_url=parameters.get("notify_url", ""),
            return_url=parameters.get("return_url", ""),
            created_at=now,
        )

    def visible(self, document: Mapping[str, Any], merchant: str) -> Trade:
        """The trade as its merchant may see it; its `trade_no` wins. Raises Refusal for one that nobody has entered."""
        number, trade_no = wire.text_of(document, "out_trade_no"), wire.text_of(document, "trade_no")
        if not number and not trade_no:
            raise Refusal("isv.missing-parameter", "40001")
        found = (
            next((one for one in self.trades.values() if one.trade_no == trade_no), None)
            if trade_no
            else self.trades.get(number)
        )
        if found is None or found.merchant != merchant or found.is_hidden:
            raise Refusal("ACQ.TRADE_NOT_EXIST")
        return found

    def by_token(self, token: str) -> Trade | None:
        """The trade whose wallet page has this token."""
        return self._by_token.get(token)

    def pay(self, trade: Trade, now: int, *, amount_minor: int | None, even_if_over: bool) -> None:
        """Take the payer's money. Raises NotPayable for what a payer could not pay."""
        if trade.status in ("TRADE_SUCCESS", "TRADE_FINISHED") or trade.paid_at is not None:
            raise NotPayable(f"trade {trade.out_trade_no} is paid")
        if (trade.status == "TRADE_CLOSED" or trade.is_over(now)) and not even_if_over:
            raise NotPayable(f"trade {trade.out_trade_no} is closed")
        trade.status, trade.paid_at, trade.closed_at, trade.is_hidden = "TRADE_SUCCESS", now, None, False
        trade.taken_minor = trade.amount_minor if amount_minor is None else amount_minor

    def close(self, trade: Trade, now: int) -> None:
        """Close an unpaid trade. Raises Refusal for any other."""
        if trade.status != "WAIT_BUYER_PAY":
            raise Refusal("ACQ.TRADE_STATUS_ERROR")
        trade.status, trade.closed_at = "TRADE_CLOSED", now

    def over(self, now: int) -> Iterator[Trade]:
        """The trades that were entered and whose time to be paid has come to its end."""
        return (one for one in self.trades.values() if not one.is_hidden and one.is_over(now))

    def next_over(self) -> int | None:
        """When the next trade will be over."""
        waiting = (one for one in self.trades.values() if one.status == "WAIT_BUYER_PAY" and not one.is_hidden)
        return min((one.expires_at for one in waiting), default=None)

    # ------------------------------------------------------------------------------------ refunds

    def refund(self, trade: Trade, number: str, amount_minor: int, now: int) -> tuple[Refund, bool]:
        """Give money back, and whether this very call moved it. The same number again moves nothing. Raises Refusal."""
        known = trade.refund(number)
        if known is not None and not known.is_given_up:
            if known.amount_minor != amount_minor:
                raise Refusal("ACQ.DISCORDANT_REPEAT_REQUEST")
            return known, False
        self._refuse_unrefundable(trade, amount_minor)
        refund = known or Refund(number, amount_minor, now, is_from_console=False)
        refund.is_given_up = False
        if known is None:
            trade.refunds.append(refund)
        self._let_end(trade, refund, now)
        return refund, refund.refunded_at is not None

    def _refuse_unrefundable(self, trade: Trade, amount_minor: int) -> None:
        if trade.status == "TRADE_FINISHED":
            raise Refusal("ACQ.TRADE_HAS_FINISHED")
        if trade.status != "TRADE_SUCCESS":
            raise Refusal("ACQ.TRADE_STATUS_ERROR")
        if trade.promised_minor + amount_minor > trade.taken_minor:
            raise Refusal("ACQ.REFUND_AMT_NOT_EQUAL_TOTAL")
        if self.is_short_of_money:
            raise Refusal("ACQ.SELLER_BALANCE_NOT_ENOUGH")

    def _let_end(self, trade: Trade, refund: Refund, now: int) -> None:
        end = self.next_refund_ends.pop(0) if self.next_refund_ends else None
        if end is RefundEnd.FAILED:
            refund.is_given_up = True
        elif end is RefundEnd.SUCCESS or (end is None and self.refund_delay == 0):
            self.carry_out(trade, refund, now)
        elif end is None and self.refund_delay is not None:
            refund.ends_at = now + self.refund_delay

    def refund_here(self, trade: Trade, amount_minor: int, now: int) -> Refund:
        """A refund that somebody begins in Alipay's console."""
        if trade.status != "TRADE_SUCCESS" or trade.promised_minor + amount_minor > trade.taken_minor:
            raise ValueError(f"trade {trade.out_trade_no} has not so much to return")
        number = self.number("console", trade.out_trade_no, str(len(trade.refunds)))
        refund = Refund(number, amount_minor, now, is_from_console=True)
        trade.refunds.append(refund)
        self.carry_out(trade, refund, now)
        return refund

    def carry_out(self, trade: Trade, refund: Refund, now: int) -> None:
        """The money moves. What is refunded in full is closed."""
        refund.refunded_at, refund.ends_at, refund.is_given_up = now, None, False
        if trade.returned_minor >= trade.taken_minor:
            trade.status, trade.closed_at = "TRADE_CLOSED", now

    def refunds_ending(self, now: int) -> Iterator[tuple[Trade, Refund]]:
        """The refunds whose time has come."""
        for trade in self.trades.values():
            for refund in trade.refunds:
                if refund.ends_at is not None and refund.ends_at <= now:
                    yield trade, refund

    def next_refund_end(self) -> int | None:
        """When the next refund under way is carried out."""
        ends = [one.ends_at for trade in self.trades.values() for one in trade.refunds if one.ends_at is not None]
        return min(ends, default=None)


def _required(document: Mapping[str, Any], name: str) -> str:
    try:
        value = wire.text_of(document, name)
    except Unreadable:
        raise Refusal("ACQ.INVALID_PARAMETER") from None
    if not value:
        raise Refusal("ACQ.INVALID_PARAMETER")
    return value


def amount_in(document: Mapping[str, Any], name: str) -> int:
    """An amount of a call: yuan text, 0.01 to 100,000,000. Raises Refusal."""
    try:
        minor = parse_major(_required(document, name), wire.CURRENCY)
    except ValueError:
        raise Refusal("ACQ.INVALID_PARAMETER") from None
    if not 0 < minor <= MOST:
        raise Refusal("ACQ.INVALID_PARAMETER")
    return minor


def _expiry(document: Mapping[str, Any], now: int) -> int:
    """The end of an order: what it says, or 15 days."""
    text = wire.text_of(document, "time_expire")
    if not text:
        return now + 15 * DAY
    try:
        return wire.read_time(text)
    except Unreadable:
        raise Refusal("ACQ.INVALID_PARAMETER") from None
