"""The channel's own side in one object: keys, books, signed answers, notices, pages, faults. No I/O, no clock, no chance."""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any
from urllib.parse import parse_qs, urlsplit

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from paycore.channel import Forged, Lie, NoticeReply, OutgoingNotice, Reply, Request, TradeSeen
from paycore.channel.simulating import Letter, Postbox
from paycore_bridge import Plan, StepKind, Target
from paycore_sandbox import signing, wire
from paycore_sandbox.simulator import pages
from paycore_sandbox.simulator.books import CODE_LIFETIME, Books, NotPayable, Refund, Refusal, Trade, show_purchase
from paycore_sandbox.simulator.faults import BEFORE_EFFECT, Fault, Faults, NoticeFault, RefundEnd
from paycore_sandbox.simulator.postbox import LADDER, PATIENCE, Notice
from paycore_sandbox.wire import Purchase, Unreadable

MERCHANT = "SANDBOX"
OTHER_MERCHANT = "SANDBOX-2"
KEY_VERSIONS = 8
"""How many keys a merchant may have had; each is derived, so a simulator knows them without being told."""
ACKNOWLEDGED = b'{"ack":"ok"}'
SHOWN_TRADES = 50
_NONCE = re.compile(r"[!-~]{1,64}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Call:
    """A call as it arrived: for tests that count sends and compare numbers."""

    name: str
    subject: str
    document: Mapping[str, Any]
    at: int


class SandboxSimulator:
    """The sandbox channel in miniature.

    With a seed, keys and numbers are always the same, so a run can be repeated; without one they are new each time.
    One thread at a time may use it. All times are microseconds UTC and are handed in.
    """

    def __init__(self, seed: str | None = None, *, ladder: tuple[int, ...] = LADDER) -> None:
        self._seed = hashlib.sha256((secrets.token_hex(32) if seed is None else seed).encode()).digest()
        self._key_of = cache(self._derive_key)
        self._channel_key_version = 1
        self._retired: set[tuple[str, int]] = set()
        self._base_path = ""
        self._base_url = ""
        self._posted = 0
        self._postbox = Postbox[Notice](ladder, patience=PATIENCE)
        self.books = Books(self._seed)
        self.faults = Faults()
        self.calls: list[Call] = []
        """Every authentic call that arrived, in order."""
        self.purchase_notify_url = ""
        """Where purchases and their refunds are announced; the store knows no address of a single order."""

    def enter_notice_url(self, url: str) -> None:
        """Where the store announces purchases and their refunds from now on."""
        self.purchase_notify_url = url

    # ------------------------------------------------------------------------------------ keys

    def settings(self, base_url: str, merchant: str = MERCHANT, key_version: int = 1) -> Mapping[str, str]:
        """The account settings of a merchant here, reachable at this URL. The private key is plain text.

        Another key version is what rotation gives: both work until `retire_key`.
        """
        self._base_url = base_url.rstrip("/")
        self._base_path = urlsplit(self._base_url).path
        merchant_key = self._key_of("merchant", merchant, key_version)
        return {
            "merchant": merchant,
            "base_url": self._base_url,
            "private_key": base64.b64encode(merchant_key.private_bytes_raw()).decode(),
            "channel_key": base64.b64encode(self._channel_key.public_key().public_bytes_raw()).decode(),
        }

    def retire_key(self, merchant: str = MERCHANT, key_version: int = 1) -> None:
        """Take no more calls signed with this key."""
        self._retired.add((merchant, key_version))

    def rotate_channel_key(self) -> None:
        """From now on the channel signs with its next key; `settings` gives it."""
        self._channel_key_version += 1

    def _derive_key(self, *role: object) -> Ed25519PrivateKey:
        name = "\n".join(map(str, role)).encode()
        return Ed25519PrivateKey.from_private_bytes(hmac.new(self._seed, name, hashlib.sha256).digest())

    @property
    def _channel_key(self) -> Ed25519PrivateKey:
        return self._key_of("channel", self._channel_key_version)

    # ------------------------------------------------------------------------------------ answering

    def handle(self, request: Request, now: int) -> Reply | None:
        """Answer the merchant's call or a person's browser. None: the caller gets no answer at all."""
        self._settle(now)
        origin, path = _split(request.url)
        self._base_url = self._base_url or origin
        if self._base_path and path.startswith(f"{self._base_path}/"):
            path = path.removeprefix(self._base_path)
        if path.startswith("/v1/"):
            return self._call(replace(request, headers=_lower(request.headers)), path, now)
        return self._browse(request, path, now)

    def _call(self, request: Request, path: str, now: int) -> Reply | None:
        nonce = request.headers.get(signing.NONCE, "")
        merchant = self._caller(request, path, now)
        if merchant is None:
            return self._signed(401, {"code": "UNAUTHORIZED"}, nonce=nonce, now=now)
        handler = self._handlers.get(path)
        try:
            document = wire.read(request.body)
        except Unreadable:
            return self._signed(400, {"code": "INVALID_REQUEST"}, nonce=nonce, now=now)
        if handler is None or request.method != "POST":
            return self._signed(404, {"code": "NO_SUCH_CALL"}, nonce=nonce, now=now)
        call = Call(path.removeprefix("/v1/"), _subject(document), document, now)
        fault = self.faults.take(call.name, call.subject)
        if fault in BEFORE_EFFECT:
            return self._without_effect(fault, nonce=nonce, now=now)
        self.calls.append(call)
        status, answer = _outcome(handler, document, merchant, now)
        return self._answer(fault, status, answer, nonce=nonce, now=now)

    def _caller(self, request: Request, path: str, now: int) -> str | None:
        """The merchant that signed this call, if one did."""
        head = request.headers
        merchant, timestamp = head.get(signing.MERCHANT, ""), head.get(signing.TIMESTAMP, "")
        words = ("sandbox-request", request.method, path, merchant, timestamp, head.get(signing.NONCE, ""))
        signature = head.get(signing.SIGNATURE, "")
        if not signing.is_fresh(timestamp, now):
            return None
        return (
            merchant
            if self._signed_by(merchant, lambda key: signing.verify(key, signature, *words, body=request.body))
            else None
        )

    def _signed_by(self, merchant: str, is_good: Callable[[Any], bool]) -> bool:
        """Whether any key of this merchant that still counts made a signature."""
        versions = (one for one in range(1, KEY_VERSIONS + 1) if (merchant, one) not in self._retired)
        return any(is_good(self._key_of("merchant", merchant, one).public_key()) for one in versions)

    def _without_effect(self, fault: Fault | None, *, nonce: str, now: int) -> Reply | None:
        if fault is Fault.LOST:
            return None
        if fault is Fault.RATE_LIMITED:
            return self._signed(429, {"code": "RATE_LIMITED"}, nonce=nonce, now=now)
        return Reply(503, {"content-type": "text/html"}, b"<h1>503 Service Unavailable</h1>")

    def _answer(
        self, fault: Fault | None, status: int, answer: dict[str, Any], *, nonce: str, now: int
    ) -> Reply | None:
        """The answer as it leaves, spoilt if a fault says so."""
        if fault is Fault.EFFECT_THEN_SILENCE:
            return None
        if fault is Fault.EFFECT_THEN_ERROR:
            return self._signed(500, {"code": "SYSTEM_ERROR"}, nonce=nonce, now=now)
        if fault is Fault.OTHER_SUBJECT:
            answer = answer | {
                name: "other" for name in ("out_trade_no", "out_refund_no", "account_token") if name in answer
            }
        if fault is Fault.STALE:
            status, answer = _from_before(status, answer)
        reply = self._signed(status, answer, nonce=nonce, now=now)
        return _SPOIL[fault](reply) if fault in _SPOIL else reply

    def _signed(self, status: int, document: dict[str, Any], *, nonce: str, now: int) -> Reply:
        body, timestamp = wire.write(document), str(now // signing.SECOND)
        words = ("sandbox-reply", str(status), nonce if _NONCE.fullmatch(nonce) else "", timestamp)
        headers = {
            "content-type": "application/json",
            signing.TIMESTAMP: timestamp,
            signing.SIGNATURE: signing.sign(self._channel_key, *words, body=body),
        }
        return Reply(status, headers, body)

    # ------------------------------------------------------------------------------------ the calls

    @property
    def _handlers(self) -> Mapping[str, Callable[[dict[str, Any], str, int], dict[str, Any]]]:
        return {
            "/v1/trades": self._create,
            "/v1/trades/query": self._query,
            "/v1/trades/close": self._close,
            "/v1/refunds": self._refund,
            "/v1/refunds/query": self._query_refund,
            "/v1/purchases/query": self._query_purchase,
            "/v1/statements": self._statement,
            "/v1/receipts": self._receipt,
        }

    def _create(self, document: dict[str, Any], merchant: str, now: int) -> dict[str, Any]:
        if document.get("method") not in ("qr", "redirect"):
            raise Refusal("INVALID_REQUEST")
        trade = self.books.create(document, merchant, now)
        url = f"{self._base_url}/pay/{trade.token}"
        code_expires_at = min(trade.expires_at, now + CODE_LIFETIME)
        made = {"qr_content": url, "code_expires_at_ms": wire.to_ms(code_expires_at)}
        return trade.show() | (made if trade.method == "qr" else {"page_url": url})

    def _query(self, document: dict[str, Any], merchant: str, now: int) -> dict[str, Any]:
        return self.books.visible(wire.text(document, "out_trade_no"), merchant, now).show()

    def _close(self, document: dict[str, Any], merchant: str, now: int) -> dict[str, Any]:
        return self.books.close(wire.text(document, "out_trade_no"), merchant, now).show()

    def _refund(self, document: dict[str, Any], merchant: str, now: int) -> dict[str, Any]:
        refund = self.books.refund(document, merchant, now)
        self._settle(now)
        return refund.show()

    def _query_refund(self, document: dict[str, Any], merchant: str, now: int) -> dict[str, Any]:
        refund = self.books.refunds.get(wire.text(document, "out_refund_no"))
        if refund is None or refund.merchant != merchant or not refund.out_refund_no:
            raise Refusal("REFUND_NOT_FOUND", 404)
        return refund.show()

    def _query_purchase(self, document: dict[str, Any], merchant: str, now: int) -> dict[str, Any]:
        purchase = self.books.purchases.get(wire.text(document, "account_token"))
        if purchase is None or purchase.merchant != merchant:
            raise Refusal("PURCHASE_NOT_FOUND", 404)
        return show_purchase(purchase)

    def _statement(self, document: dict[str, Any], merchant: str, now: int) -> dict[str, Any]:
        lines = self.books.lines_of(wire.text(document, "day"), merchant, now)
        return {"merchant": merchant, "day": document["day"], "lines": lines, "count": len(lines)}

    def _receipt(self, document: dict[str, Any], merchant: str, now: int) -> dict[str, Any]:
        trade = self.books.visible(wire.text(document, "out_trade_no"), merchant, now)
        if trade.state != "PAID":
            raise Refusal("TRADE_NOT_PAID", 409)
        return {"out_trade_no": trade.out_trade_no, "receipt_no": self.books.number("RC", trade.out_trade_no)}

    # ------------------------------------------------------------------------------------ a person at a browser

    def _browse(self, request: Request, path: str, now: int) -> Reply:
        if path in ("", "/") and request.method == "GET":
            latest = list(self.books.trades.values())[-SHOWN_TRADES:]
            for trade in latest:
                trade.tick(now)
            return pages.list_page(reversed(latest), self._base_path)
        if path == "/app" and request.method == "GET":
            return self._browse_app(request, now)
        found = self.books.by_token(path.removeprefix("/pay/")) if path.startswith("/pay/") else None
        if found is None:
            return pages.PAPER.sorry("没有这个页面", "There is no such page.", status=404)
        if request.method == "POST":
            return self._press(found, request.body, now)
        found.tick(now)
        return pages.payment_page(found)

    def _browse_app(self, request: Request, now: int) -> Reply:
        order = parse_qs(urlsplit(request.url).query).get("order", [""])[0]
        try:
            payment_id = self.open_app(order, now)
        except (Forged, NotPayable):
            return pages.PAPER.sorry("订单无效或已过期", "This order is not valid any more.", status=400)
        location = f"{self._base_path}/pay/{self.books.trades[payment_id].token}"
        return Reply(303, {"location": location, "cache-control": "no-store"}, b"")

    def _press(self, trade: Trade, body: bytes, now: int) -> Reply:
        action = parse_qs(body.decode("latin-1")).get("action", [""])[0]
        try:
            if action == "pay":
                self.pay(trade.out_trade_no, now)
            elif action == "decline":
                self.decline(trade.out_trade_no, now)
            else:
                return pages.PAPER.sorry("没有这个按钮", "There is no such button.", status=400)
        except NotPayable:
            pass  # the page below says how it stands
        return pages.payment_page(trade)

    # ------------------------------------------------------------------------------------ what people do

    def pay(
        self,
        payment_id: str,
        now: int,
        *,
        amount_minor: int | None = None,
        paid_to: str = "",
        even_if_over: bool = False,
    ) -> None:
        """Pay a trade as its payer would. Raises LookupError when there is none, NotPayable when it is over.

        `even_if_over` pays a closed trade all the same (money that was under way), `amount_minor` takes another
        amount, `paid_to` gives the money to another merchant.
        """
        trade = self._trade(payment_id)
        self.books.pay(trade, now, amount_minor=amount_minor, paid_to=paid_to, even_if_over=even_if_over)
        self._announce("trade", trade.show(), trade.notify_url, trade.merchant, now)

    def scan(self, qr_content: str, now: int) -> str:
        """Scan a code as a payer's phone would and return the payment's id. Raises LookupError for a code not of ours."""
        trade = self.books.by_token(urlsplit(qr_content).path.rpartition("/pay/")[2])
        if trade is None:
            raise LookupError("no trade has this code")
        trade.tick(now)
        trade.is_hidden = False
        return trade.out_trade_no

    def open_app(self, order_string: str, now: int) -> str:
        """Hand an order to the wallet as the phone's SDK does: the trade begins here. Returns the payment's id.

        Raises Forged for an order that no merchant signed, NotPayable for one that is over.
        """
        document = self._unsealed(order_string)
        try:
            return self.books.create(document, document["merchant"], now, entered=True).out_trade_no
        except Refusal as refusal:
            raise NotPayable(f"the order cannot be paid: {refusal.code}") from None

    def _unsealed(self, order_string: str) -> dict[str, Any]:
        head = order_string.partition(".")[0]
        try:
            merchant = wire.text(wire.read(base64.urlsafe_b64decode(head + "=" * (-len(head) % 4))), "merchant")
            found: list[bytes] = []

            def is_good(key: Any) -> bool:
                try:
                    found.append(signing.unseal(key, "sandbox-order", order_string))
                except Forged:
                    return False
                return True

            if not self._signed_by(merchant, is_good):
                raise Forged("no merchant signed this order")
            return wire.read(found[0])
        except (Unreadable, ValueError):
            raise Forged("not an order") from None

    def begin_paying(self, payment_id: str, now: int) -> None:
        """The payer is entering the password: the trade can be neither closed nor expire until it is paid or declined."""
        trade = self._trade(payment_id)
        trade.tick(now)
        if trade.state != "WAITING":
            raise NotPayable(f"trade {payment_id} is {trade.state}")
        trade.state, trade.is_hidden = "PAYING", False

    def stop_paying(self, payment_id: str, now: int) -> None:
        """The payer put the phone away: the trade waits again."""
        trade = self._trade(payment_id)
        if trade.state == "PAYING":
            trade.state = "WAITING"
            trade.tick(now)

    def decline(self, payment_id: str, now: int) -> bool:
        """The payer's bank refuses for good; it always is for good here."""
        trade = self._trade(payment_id)
        trade.tick(now)
        if trade.state not in ("WAITING", "PAYING"):
            raise NotPayable(f"trade {payment_id} is {trade.state}")
        trade.state, trade.reason, trade.is_hidden = "DECLINED", "BANK_REFUSED", False
        return True

    def buy(
        self,
        product_id: str,
        token: str,
        now: int,
        *,
        amount_minor: int,
        currency: str = "CNY",
        quantity: int = 1,
        merchant: str = MERCHANT,
    ) -> str:
        """Buy in the store as an app does and return the signed transaction, the evidence that `confirm` takes."""
        purchase = Purchase(
            merchant=merchant,
            transaction_id=self.books.number("SP", token),
            account_token=token,
            product_id=product_id,
            quantity=quantity,
            amount_minor=amount_minor,
            currency=currency,
            purchased_at=now,
        )
        self.books.buy(purchase)
        self._announce("purchase", show_purchase(purchase), self.purchase_notify_url, merchant, now)
        return self.receipt(token)

    def receipt(self, token: str) -> str:
        """The signed transaction of a purchase. Raises LookupError when the token bought nothing."""
        purchase = self.books.purchases[token]
        return signing.seal(self._channel_key, "sandbox-purchase", wire.write(show_purchase(purchase)))

    def refund_in_store(self, token: str, now: int) -> str:
        """The store returns a purchase by its own decision; returns the store's refund number."""
        purchase = self.books.purchases[token]
        refund = Refund(
            merchant=purchase.merchant,
            out_trade_no="",
            out_refund_no="",
            refund_no=self.books.number("SR", token),
            amount_minor=purchase.amount_minor,
            currency=purchase.currency,
            notify_url=self.purchase_notify_url,
            created_at=now,
            account_token=token,
        )
        self.books.refunds[refund.refund_no] = refund
        self._end(refund, RefundEnd.SUCCESS, now)
        return refund.refund_no

    def refund_in_console(self, payment_id: str, now: int, *, amount_minor: int) -> str:
        """Somebody at the merchant refunds in the channel's console; returns the channel's refund number."""
        refund = self.books.refund_here(self._trade(payment_id), amount_minor, now)
        self._settle(now)
        return refund.refund_no

    def next_refunds(self, *ends: RefundEnd) -> None:
        """Let the refunds that begin from now on end so, one after the other."""
        self.books.next_refund_ends.extend(ends)

    def end_refund(self, refund_id: str, end: RefundEnd, now: int) -> None:
        """Let a refund under way (or stuck) end so. Raises LookupError when there is none."""
        self._end(self.books.refunds[refund_id], end, now)

    def bounce_refund(self, refund_id: str, now: int, *, is_announced: bool = True) -> None:
        """A refund that was done comes back to the merchant. Raises LookupError when there is none."""
        refund = self.books.refunds[refund_id]
        if refund.state != "SUCCESS":
            raise ValueError(f"refund {refund_id} is {refund.state}")
        refund.state, refund.refunded_at, refund.reason = "BOUNCED", None, "PAYER_ACCOUNT_GONE"
        if is_announced:
            self._announce("refund", refund.show(), refund.notify_url, refund.merchant, now)

    # ------------------------------------------------------------------------------------ for the conformance kit

    def other_settings(self, base_url: str) -> Mapping[str, str]:
        """The account settings of a second merchant."""
        return self.settings(base_url, OTHER_MERCHANT)

    def next_settings(self, base_url: str) -> Mapping[str, str]:
        """The first merchant's settings once both sides have changed their keys."""
        self.rotate_channel_key()
        return self.settings(base_url, key_version=2)

    def run_on_phone(self, plan_json: str, device: Target, now: int) -> str:
        """What the SDK on the payer's phone answers when the payer pays."""
        from paycore_sandbox.simulator.phone import Phone  # a phone holds a simulator

        return Phone(self, device).run(plan_json, now).raw_code

    def accept(self, plan_json: str, now: int) -> str:
        """Do what a device does with a plan: hand the order to the SDK, scan the code, follow the page."""
        plan = Plan.from_json(plan_json)
        sdk, code, page = (plan.first(kind) for kind in (StepKind.SDK, StepKind.QR, StepKind.REDIRECT))
        if sdk is not None:
            return self.open_app(sdk.params["arguments"]["orderString"], now)
        if code is not None:
            return self.scan(code.params["content"], now)
        if page is not None:
            return self.scan(page.params["url"], now)
        raise ValueError("there is nothing in this plan that opens a trade")

    def misreport(self, payment_id: str, lie: Lie, now: int) -> bool:
        """From now on this is what is told of the trade."""
        trade = self._trade(payment_id)
        if lie is Lie.AMOUNT:
            trade.taken_minor += 1
        elif lie is Lie.CURRENCY:
            trade.currency = "EUR" if trade.currency != "EUR" else "USD"
        else:
            trade.paid_to = OTHER_MERCHANT
        self._announce("trade", trade.show(), trade.notify_url, trade.merchant, now)
        return True

    def trade(self, payment_id: str) -> TradeSeen | None:
        """The trade in the books."""
        trade = self.books.trades.get(payment_id)
        if trade is None:
            return None
        is_closed = trade.state in ("CLOSED", "DECLINED")
        return TradeSeen(trade.amount_minor, trade.currency, trade.taken_minor, trade.returned_minor, is_closed)

    def refunds(self, payment_id: str) -> Mapping[str, int]:
        """The merchant's refunds of a trade that went through or are under way."""
        trade = self.books.trades.get(payment_id)
        found = [] if trade is None else trade.refunds
        ours = [one for one in found if one.out_refund_no and one.state in ("SUCCESS", "PROCESSING")]
        return {one.out_refund_no: one.amount_minor for one in ours}

    def forgeries(self, genuine: Request, now: int) -> Mapping[str, Request]:
        """By another key, over another time, for another purpose. There is one algorithm, and nobody may choose another."""
        head, body = genuine.headers, genuine.body
        merchant, nonce = head[signing.MERCHANT], head[signing.NONCE]

        def forged(key: Ed25519PrivateKey, at: int, purpose: str = "sandbox-notice") -> Request:
            timestamp = str(at // signing.SECOND)
            signature = signing.sign(key, purpose, merchant, timestamp, nonce, body=body)
            return replace(genuine, headers={**head, signing.TIMESTAMP: timestamp, signing.SIGNATURE: signature})

        reach = (signing.WINDOW_SECONDS + 1) * signing.SECOND
        return {
            "key": forged(self._key_of("forger"), now),
            "merchant's own key": forged(self._key_of("merchant", merchant, 1), now),
            "stale": forged(self._channel_key, now - reach),
            "from the future": forged(self._channel_key, now + reach),
            "signed for another purpose": forged(self._channel_key, now, "sandbox-reply"),
        }

    def purchase(self, plan_json: str, now: int, *, amount_minor: int) -> str:
        """Buy what a store plan names, as the device does; returns the receipt."""
        step = Plan.from_json(plan_json).first(StepKind.STORE_PURCHASE)
        if step is None:
            raise ValueError("there is nothing in this plan that a store sells")
        wanted = step.params
        quantity = wanted.get("quantity", 1)
        return self.buy(
            wanted["product_id"], wanted["account_token"], now, amount_minor=amount_minor, quantity=quantity
        )

    def _trade(self, payment_id: str) -> Trade:
        try:
            return self.books.trades[payment_id]
        except KeyError:
            raise LookupError(f"there is no trade {payment_id}") from None

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
        ends = [refund.ends_at for refund in self.books.refunds.values() if refund.ends_at is not None]
        post = self._postbox.next_due()
        return min([*ends, *([] if post is None else [post])], default=None)

    @property
    def undelivered(self) -> int:
        """How many notices are still to be acknowledged."""
        return self._postbox.undelivered

    def _settle(self, now: int) -> None:
        """End the refunds whose time has come."""
        for refund in list(self.books.refunds_ending(now)):
            self._end(refund, RefundEnd.SUCCESS, refund.ends_at or now)

    def _end(self, refund: Refund, end: RefundEnd, now: int) -> None:
        self.books.end_refund(refund, end, now)
        if end is not RefundEnd.PROCESSING:
            self._announce("refund", refund.show(), refund.notify_url, refund.merchant, now)

    def _announce(self, event: str, data: dict[str, Any], url: str, merchant: str, now: int) -> None:
        """Write a notice, as a fault may spoil it. Without an address there is nobody to tell."""
        planned = self.faults.take_notice(event)
        fault = planned.fault if planned else None
        if not url or fault is NoticeFault.LOST:
            return
        if fault is NoticeFault.WRONG_AMOUNT:
            minor, currency = wire.amount(data)
            data = data | wire.money(minor + 1, currency)
        if fault is NoticeFault.WRONG_MERCHANT:
            data = data | {"merchant": f"{merchant}-OTHER"}
        self._posted += 1
        notice_id = self.books.number("SN", str(self._posted))
        body = wire.write({"event": event, "data": data})
        notice = Notice(notice_id, merchant, body, is_forged=fault is NoticeFault.FORGED)
        due_at = now + (planned.delay if planned and fault is NoticeFault.LATE else 0)
        for _ in range(2 if fault is NoticeFault.DUPLICATE else 1):
            self._postbox.post(notice_id, url, notice, due_at=due_at)

    def _envelope(self, letter: Letter[Notice], now: int) -> Request:
        notice, timestamp = letter.content, str(now // signing.SECOND)
        key = self._key_of("forger") if notice.is_forged else self._channel_key
        words = ("sandbox-notice", notice.merchant, timestamp, notice.notice_id)
        headers = {
            "content-type": "application/json",
            signing.MERCHANT: notice.merchant,
            signing.TIMESTAMP: timestamp,
            signing.NONCE: notice.notice_id,
            signing.SIGNATURE: signing.sign(key, *words, body=notice.body),
        }
        return Request("POST", letter.url, headers=headers, body=notice.body)


def _outcome(
    handler: Callable[[dict[str, Any], str, int], dict[str, Any]], document: dict[str, Any], merchant: str, now: int
) -> tuple[int, dict[str, Any]]:
    try:
        return 200, handler(document, merchant, now)
    except Refusal as refusal:
        return refusal.status, {"code": refusal.code}
    except Unreadable:
        return 400, {"code": "INVALID_REQUEST"}


def _from_before(status: int, answer: dict[str, Any]) -> tuple[int, dict[str, Any]]:
    """What a replica that has not heard yet would answer."""
    if status != 200:
        return status, answer
    if "transaction_id" in answer:
        return 404, {"code": "PURCHASE_NOT_FOUND"}
    if "refund_no" in answer:
        return 404, {"code": "REFUND_NOT_FOUND"}
    return 200, {name: value for name, value in answer.items() if name != "paid_at_ms"} | {
        "state": "WAITING",
        "refunds": [],
    }


def _subject(document: Mapping[str, Any]) -> str:
    for name in ("out_refund_no", "out_trade_no", "account_token"):
        if isinstance(document.get(name), str):
            return str(document[name])
    return ""


def _split(url: str) -> tuple[str, str]:
    """The origin and the path of a URL; a bare path has no origin."""
    parts = urlsplit(url)
    return (f"{parts.scheme}://{parts.netloc}" if parts.netloc else ""), parts.path


def _lower(headers: Mapping[str, str]) -> dict[str, str]:
    return {name.lower(): value for name, value in headers.items()}


def _spoilt_signature(reply: Reply) -> Reply:
    signature = reply.headers[signing.SIGNATURE]
    return replace(reply, headers=dict(reply.headers) | {signing.SIGNATURE: signature[::-1]})


_SPOIL: Mapping[Fault | None, Callable[[Reply], Reply]] = {
    Fault.UNSIGNED: lambda reply: replace(reply, headers={"content-type": "application/json"}),
    Fault.BADLY_SIGNED: _spoilt_signature,
    Fault.TRUNCATED: lambda reply: replace(reply, body=reply.body[: len(reply.body) // 2]),
    Fault.EMPTY: lambda reply: replace(reply, body=b""),
}
