"""The channel's own books: trades, refunds and purchases as the channel knows them, whatever anybody else believes."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from paycore.channel import BillAmount, exponent, format_major
from paycore_sandbox import wire
from paycore_sandbox.simulator.faults import RefundEnd
from paycore_sandbox.wire import Purchase, Unreadable

CODE_LIFETIME = 2 * 3600 * 1_000_000
DAY = 24 * 3600 * 1_000_000
_WEB = ("https://", "http://")


class Refusal(Exception):
    """The channel refuses a call, with a code and an HTTP status."""

    def __init__(self, code: str, status: int = 400) -> None:
        super().__init__(code)
        self.code = code
        self.status = status


class NotPayable(ValueError):
    """The payer cannot pay this trade as it stands."""


@dataclass(slots=True)
class Trade:
    """A trade: made by a create call, or by the payer opening an app order."""

    merchant: str
    out_trade_no: str
    trade_no: str
    token: str
    method: str
    amount_minor: int
    currency: str
    subject: str
    expires_at: int
    notify_url: str
    return_url: str
    created_at: int
    is_hidden: bool = False
    """The payer has not entered it yet: to the merchant it does not exist, though it can be paid."""
    state: str = "WAITING"
    taken_minor: int = 0
    paid_to: str = ""
    paid_at: int | None = None
    closed_at: int | None = None
    reason: str = ""
    refunds: list[Refund] = field(default_factory=list)

    def tick(self, now: int) -> None:
        """Nobody can begin to pay once the expiry has come."""
        if self.state == "WAITING" and now >= self.expires_at:
            self.state, self.closed_at = "CLOSED", self.expires_at

    @property
    def content(self) -> tuple[object, ...]:
        """What must be the same when the same number is sent again."""
        return (self.merchant, self.method, self.amount_minor, self.currency, self.subject, self.expires_at)

    @property
    def returned_minor(self) -> int:
        """What has gone back, or is on its way."""
        return sum(one.amount_minor for one in self.refunds if one.state in ("SUCCESS", "PROCESSING", "STUCK"))

    def lines(self) -> Iterator[dict[str, Any]]:
        """What moved, as a statement has it: in is positive, out is negative, and the fee is finer than a cent."""
        named = {"out_trade_no": self.out_trade_no, "trade_no": self.trade_no, "currency": self.currency}
        if self.paid_at is not None:
            amount = format_major(self.taken_minor, self.currency)
            fee = str(BillAmount(-6 * self.taken_minor, exponent(self.currency) + 3))  # six per mille
            yield named | {"kind": "payment", "amount": amount, "fee": fee, "at_ms": wire.to_ms(self.paid_at)}
        for one in self.refunds:
            if one.refunded_at is not None:
                amount = f"-{format_major(one.amount_minor, self.currency)}"
                numbers = {"out_refund_no": one.out_refund_no, "refund_no": one.refund_no}
                at = wire.to_ms(one.refunded_at)
                yield named | numbers | {"kind": "refund", "amount": amount, "fee": "0.00", "at_ms": at}

    def show(self) -> dict[str, Any]:
        """The trade as answers and notices carry it."""
        shown = {
            "merchant": self.paid_to or self.merchant,
            "out_trade_no": self.out_trade_no,
            "trade_no": self.trade_no,
            "state": self.state,
            **wire.money(self.taken_minor or self.amount_minor, self.currency),
            "reason": self.reason,
            "refunds": [one.show_in_trade() for one in self.refunds if one.state in ("SUCCESS", "BOUNCED")],
        }
        return shown | ({"paid_at_ms": wire.to_ms(self.paid_at)} if self.paid_at is not None else {})


@dataclass(slots=True)
class Refund:
    """A refund: sent by the merchant, or begun in the console or by the store (then without a number of theirs)."""

    merchant: str
    out_trade_no: str
    out_refund_no: str
    refund_no: str
    amount_minor: int
    currency: str
    notify_url: str
    created_at: int
    account_token: str = ""
    state: str = "PROCESSING"
    refunded_at: int | None = None
    reason: str = ""
    ends_at: int | None = None
    """When a refund under way succeeds by itself; None when somebody has to end it."""

    def show(self) -> dict[str, Any]:
        """The refund as answers and notices carry it."""
        shown = {
            "merchant": self.merchant,
            "out_trade_no": self.out_trade_no,
            "account_token": self.account_token,
            "out_refund_no": self.out_refund_no,
            "refund_no": self.refund_no,
            "state": self.state,
            **wire.money(self.amount_minor, self.currency),
            "reason": self.reason,
        }
        return shown | ({"refunded_at_ms": wire.to_ms(self.refunded_at)} if self.refunded_at is not None else {})

    def show_in_trade(self) -> dict[str, Any]:
        return {
            "refund_no": self.refund_no,
            "out_refund_no": self.out_refund_no,
            "state": self.state,
            **wire.money(self.amount_minor, self.currency),
        }


class Books:
    """Everything the channel knows. Numbers follow from the seed and the merchant's numbers, so runs repeat exactly."""

    def __init__(self, seed: bytes) -> None:
        self._seed = seed
        self.trades: dict[str, Trade] = {}
        self.refunds: dict[str, Refund] = {}
        """By the merchant's number, or the channel's for those begun here."""
        self._by_token: dict[str, Trade] = {}
        self.purchases: dict[str, Purchase] = {}
        """By account token."""
        self.is_short_of_money = False
        self.hides_until_entered = False
        self.refund_delay: int | None = 0
        """Microseconds until a refund succeeds by itself; None: never."""
        self.next_refund_ends: list[RefundEnd] = []

    def number(self, prefix: str, *of: str) -> str:
        """A number of the channel's for something, the same whenever it is asked for."""
        digest = hmac.new(self._seed, "\n".join((prefix, *of)).encode(), hashlib.sha256).hexdigest()
        return f"{prefix}{digest[:24]}"

    # ------------------------------------------------------------------------------------ trades

    def create(self, document: Mapping[str, Any], merchant: str, now: int, *, entered: bool = False) -> Trade:
        """Make a trade; the same number and content again is the same trade. Raises Refusal."""
        trade = self._wanted(document, merchant, now)
        known = self.trades.get(trade.out_trade_no)
        if known is None:
            if now >= trade.expires_at:
                raise Refusal("TRADE_CLOSED", 409)
            trade.is_hidden = self.hides_until_entered and not entered
            self.trades[trade.out_trade_no] = self._by_token[trade.token] = known = trade
        elif known.content != trade.content:
            raise Refusal("TRADE_CONFLICT", 409)
        known.tick(now)
        if known.state == "PAID":
            raise Refusal("TRADE_PAID", 409)
        if known.state in ("CLOSED", "DECLINED"):
            raise Refusal("TRADE_CLOSED", 409)
        return known

    def _wanted(self, document: Mapping[str, Any], merchant: str, now: int) -> Trade:
        try:
            minor, currency = wire.amount(document)
            number = wire.text(document, "out_trade_no")
            return_url = wire.text_or_empty(document, "return_url")
            if wire.text(document, "merchant") != merchant or (return_url and not return_url.startswith(_WEB)):
                raise Refusal("INVALID_REQUEST")
            return Trade(
                merchant=merchant,
                out_trade_no=number,
                trade_no=self.number("ST", number),
                token=self.number("", "pay", number),
                method=wire.text(document, "method"),
                amount_minor=minor,
                currency=currency,
                subject=wire.text_or_empty(document, "subject"),
                expires_at=wire.instant(document, "expires_at_ms"),
                notify_url=wire.text_or_empty(document, "notify_url"),
                return_url=return_url,
                created_at=now,
            )
        except Unreadable:
            raise Refusal("INVALID_REQUEST") from None

    def visible(self, out_trade_no: str, merchant: str, now: int) -> Trade:
        """The trade as its merchant may see it. Raises Refusal for one that is unknown or not entered yet."""
        trade = self.trades.get(out_trade_no)
        if trade is None or trade.merchant != merchant or trade.is_hidden:
            raise Refusal("TRADE_NOT_FOUND", 404)
        trade.tick(now)
        return trade

    def close(self, out_trade_no: str, merchant: str, now: int) -> Trade:
        """Close an unpaid trade; closing twice is the same. Raises Refusal for one that is paid or being paid."""
        trade = self.visible(out_trade_no, merchant, now)
        if trade.state == "PAID":
            raise Refusal("TRADE_PAID", 409)
        if trade.state == "PAYING":
            raise Refusal("PAYER_PAYING", 409)
        if trade.state == "WAITING":
            trade.state, trade.closed_at = "CLOSED", now
        return trade

    def by_token(self, token: str) -> Trade | None:
        """The trade whose payment page has this token."""
        return self._by_token.get(token)

    def pay(self, trade: Trade, now: int, *, amount_minor: int | None, paid_to: str, even_if_over: bool) -> None:
        """Take the payer's money. Raises NotPayable for what a payer could not pay."""
        trade.tick(now)
        if trade.state == "PAID" or (trade.state in ("CLOSED", "DECLINED") and not even_if_over):
            raise NotPayable(f"trade {trade.out_trade_no} is {trade.state}")
        trade.state, trade.paid_at, trade.closed_at, trade.is_hidden = "PAID", now, None, False
        trade.taken_minor, trade.paid_to = amount_minor or trade.amount_minor, paid_to

    # ------------------------------------------------------------------------------------ refunds

    def refund(self, document: Mapping[str, Any], merchant: str, now: int) -> Refund:
        """Give money back; the same number and amount again is the same refund. Raises Refusal."""
        try:
            minor, currency = wire.amount(document)
            number, trade_no = wire.text(document, "out_refund_no"), wire.text(document, "out_trade_no")
            notify_url = wire.text_or_empty(document, "notify_url")
        except Unreadable:
            raise Refusal("INVALID_REQUEST") from None
        if "account_token" in document:
            raise Refusal("NOT_SUPPORTED")
        known = self.refunds.get(number)
        if known is not None:
            if (known.out_trade_no, known.amount_minor, known.currency) != (trade_no, minor, currency):
                raise Refusal("REFUND_CONFLICT", 409)
            return known
        trade = self._refundable(trade_no, merchant, now, minor, currency)
        return self._begin_refund(trade, out_refund_no=number, amount_minor=minor, notify_url=notify_url, now=now)

    def _refundable(self, out_trade_no: str, merchant: str, now: int, amount_minor: int, currency: str) -> Trade:
        trade = self.visible(out_trade_no, merchant, now)
        if trade.state != "PAID":
            raise Refusal("TRADE_NOT_PAID", 409)
        if currency != trade.currency or trade.returned_minor + amount_minor > trade.taken_minor:
            raise Refusal("REFUND_EXCEEDS", 409)
        if self.is_short_of_money:
            raise Refusal("BALANCE_SHORT", 409)
        return trade

    def refund_here(self, trade: Trade, amount_minor: int, now: int) -> Refund:
        """A refund that somebody begins in the channel's console."""
        if trade.state != "PAID" or trade.returned_minor + amount_minor > trade.taken_minor:
            raise ValueError(f"trade {trade.out_trade_no} has not so much to return")
        return self._begin_refund(
            trade, out_refund_no="", amount_minor=amount_minor, notify_url=trade.notify_url, now=now
        )

    def _begin_refund(
        self, trade: Trade, *, out_refund_no: str, amount_minor: int, notify_url: str, now: int
    ) -> Refund:
        refund_no = self.number("SR", trade.out_trade_no, out_refund_no or f"console {len(trade.refunds)}")
        refund = Refund(
            merchant=trade.merchant,
            out_trade_no=trade.out_trade_no,
            out_refund_no=out_refund_no,
            refund_no=refund_no,
            amount_minor=amount_minor,
            currency=trade.currency,
            notify_url=notify_url or trade.notify_url,
            created_at=now,
        )
        trade.refunds.append(refund)
        self.refunds[out_refund_no or refund_no] = refund
        self._let_end(refund, now)
        return refund

    def _let_end(self, refund: Refund, now: int) -> None:
        if self.next_refund_ends:
            end = self.next_refund_ends.pop(0)
            if end is not RefundEnd.PROCESSING:
                self.end_refund(refund, end, now)
        elif self.refund_delay is not None:
            refund.ends_at = now + self.refund_delay

    def end_refund(self, refund: Refund, end: RefundEnd, now: int) -> None:
        """Let a refund end so, now."""
        refund.state, refund.ends_at = end.value, None
        refund.refunded_at = now if end is RefundEnd.SUCCESS else None
        refund.reason = {RefundEnd.FAILED: "PAYER_BANK_REFUSED", RefundEnd.STUCK: "PAYER_ACCOUNT_GONE"}.get(end, "")

    def refunds_ending(self, now: int) -> Iterator[Refund]:
        """The refunds whose time to succeed has come."""
        return (one for one in self.refunds.values() if one.ends_at is not None and one.ends_at <= now)

    # ------------------------------------------------------------------------------------ statements

    def lines_of(self, day: str, merchant: str, now: int) -> list[dict[str, Any]]:
        """What moved for a merchant on a day by the channel's calendar (UTC+8). Raises Refusal while it is not over."""
        try:
            begins = datetime.fromisoformat(f"{day}T00:00:00+08:00")
        except ValueError:
            raise Refusal("INVALID_REQUEST") from None
        start = round(begins.timestamp()) * 1_000_000
        if now < start + DAY:
            raise Refusal("STATEMENT_NOT_READY", 409)
        lines = [line for trade in self.trades.values() if trade.merchant == merchant for line in trade.lines()]
        return [line for line in lines if start <= line["at_ms"] * 1000 < start + DAY]

    # ------------------------------------------------------------------------------------ purchases

    def buy(self, purchase: Purchase) -> None:
        """Record what somebody bought; a token buys once."""
        if purchase.account_token in self.purchases:
            raise NotPayable(f"token {purchase.account_token} has bought already")
        self.purchases[purchase.account_token] = purchase


def show_purchase(purchase: Purchase) -> dict[str, Any]:
    """A purchase as answers, notices and signed texts carry it."""
    return {
        "merchant": purchase.merchant,
        "transaction_id": purchase.transaction_id,
        "account_token": purchase.account_token,
        "product_id": purchase.product_id,
        "quantity": purchase.quantity,
        **wire.money(purchase.amount_minor, purchase.currency),
        "purchased_at_ms": wire.to_ms(purchase.purchased_at),
    }
