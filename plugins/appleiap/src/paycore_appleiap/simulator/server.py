"""The App Store: sells to phones, answers the server API, and sends notifications until they are taken."""

from __future__ import annotations

import hashlib
import json
import re
import secrets
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any
from urllib.parse import parse_qs, urlsplit

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from paycore.channel import (
    Lie,
    Malformed,
    NoticeReply,
    OutgoingNotice,
    Reply,
    Request,
    TradeSeen,
    exponent,
    parse_major,
)
from paycore_appleiap.form import take_apart
from paycore_appleiap.simulator import pages
from paycore_appleiap.simulator.authority import Authority, base64url, key_of, key_pem, part
from paycore_appleiap.simulator.books import Letter, Sale
from paycore_bridge import Plan, StepKind

SECOND = 1_000_000
HOUR = 3600 * SECOND
LADDER = tuple(hours * HOUR for hours in (1, 12, 24, 48, 72))
"""Apple repeats a notification five times, this long after the attempt before."""
PAGE = 20
FULL = 100_000
BUNDLE = "com.example.game"
APPLE_ID = 1_234_567_890
SHOWN = 50
"""Transactions on the shop's page."""
MOST = 10
"""The largest quantity that StoreKit sells at once."""
PRICELESS = 100_000_000
"""Beyond any price tier of the App Store, in minor units."""


class NoticeFault(StrEnum):
    """What happens to the next notification."""

    LOST = "lost"
    DUPLICATE = "duplicate"
    FORGED = "forged"
    """Signed by a chain with the right marks under another root."""


@dataclass(frozen=True, slots=True)
class Call:
    """A call of the server API that was let in."""

    method: str
    path: str
    document: Mapping[str, Any]


class AppStoreSimulator:
    """A store for one app and one more. Its keys are its own, and no other's.

    `notify_url` is what a merchant enters in App Store Connect; without one nothing is sent. `environment` is how
    Apple calls the world that it signs for.
    """

    def __init__(self, seed: str = "", *, environment: str = "Sandbox", notify_url: str = "") -> None:
        self._seed = seed or secrets.token_hex(8)
        self.environment = environment
        self.notify_url = notify_url
        self.authority = Authority(self._seed)
        self.forger = Authority(f"{self._seed}|forger")
        self.sales: dict[str, Sale] = {}
        self.calls: list[Call] = []
        self.failures: list[tuple[int, int]] = []
        """Status and error code of the answers to the next calls."""
        self.is_silent = False
        self._api_keys: dict[str, tuple[str, ec.EllipticCurvePublicKey]] = {}
        self._letters: dict[str, Letter] = {}
        self._pending: dict[str, Sale] = {}
        self._faults: list[NoticeFault] = []
        self._base_path = ""
        self._number = 2_000_000_000_000_000 + int(hashlib.sha256(self._seed.encode()).hexdigest()[:12], 16)
        self._rotations = 0

    # ------------------------------------------------------------------------------------ merchants

    def enter_notice_url(self, url: str) -> None:
        """What a merchant enters in App Store Connect."""
        self.notify_url = url

    def settings(self, base_url: str) -> Mapping[str, str]:
        """The first app's account."""
        self._base_path = urlsplit(base_url.rstrip("/")).path
        return self._settings(base_url, BUNDLE, APPLE_ID, f"KEY{self._rotations}")

    def other_settings(self, base_url: str) -> Mapping[str, str]:
        """Another app's account."""
        return self._settings(base_url, f"{BUNDLE}.other", APPLE_ID + 1, "OTHER")

    def next_settings(self, base_url: str) -> Mapping[str, str]:
        """The first app's account under a new API key."""
        self._rotations += 1
        return self.settings(base_url)

    def _settings(self, base_url: str, bundle_id: str, apple_id: int, key_id: str) -> dict[str, str]:
        key = key_of(f"{self._seed}|{bundle_id}|{key_id}")
        self._api_keys[key_id] = (bundle_id, key.public_key())
        return {
            "bundle_id": bundle_id,
            "app_apple_id": str(apple_id),
            "issuer_id": "99b16628-15e4-4668-972b-eeff55eeff55",
            "key_id": key_id,
            "private_key": key_pem(key),
            "root_certificates": self.authority.root_pem,
            "base_url": base_url,
        }

    # ------------------------------------------------------------------------------------ the phone

    def purchase(self, plan_json: str, now: int, *, amount_minor: int, currency: str = "CNY") -> str:
        """Buy what a plan names; returns the signed transaction that StoreKit hands to the app."""
        sale = self.buy(plan_json, now, amount_minor=amount_minor, currency=currency)
        return self.signed(sale, now)

    def buy(self, plan_json: str, now: int, *, amount_minor: int, currency: str = "CNY") -> Sale:
        """Buy what a plan names. Raises ValueError for a plan that StoreKit would not take."""
        return self._sell(self._wanted(plan_json, now, amount_minor, currency))

    def ask_to_buy(self, plan_json: str, now: int, *, amount_minor: int, currency: str = "CNY") -> str:
        """A child asks a parent: StoreKit says `pending`, and there is no transaction until `approve`."""
        sale = self._wanted(plan_json, now, amount_minor, currency)
        self._pending[sale.transaction_id] = sale
        return sale.transaction_id

    def approve(self, pending_id: str, now: int) -> Sale:
        """The parent agrees, however late."""
        return self._sell(replace(self._pending.pop(pending_id), bought_at=now))

    def sell(self, product_id: str, now: int, *, amount_minor: int, currency: str = "CNY", token: str = "") -> Sale:
        """A purchase that no plan of ours began (a promoted product, an offer code)."""
        return self._sell(self._new(product_id, token, 1, now, amount_minor, currency))

    def signed(self, sale: Sale, now: int) -> str:
        """The transaction as it stands now, signed."""
        return self.authority.sign(sale.document(self.environment, now))

    def _wanted(self, plan_json: str, now: int, amount_minor: int, currency: str) -> Sale:
        step = Plan.from_json(plan_json).first(StepKind.STORE_PURCHASE)
        if step is None or step.params.get("store") != "apple":
            raise ValueError("there is nothing in this plan that the App Store sells")
        token = str(step.params["account_token"])
        if str(uuid.UUID(token)) != token:
            raise ValueError("an app account token is a UUID")
        quantity = int(step.params.get("quantity", 1))
        return self._new(str(step.params["product_id"]), token, quantity, now, amount_minor, currency)

    def _new(self, product_id: str, token: str, quantity: int, now: int, amount_minor: int, currency: str) -> Sale:
        self._number += 1
        number, milli = str(self._number), amount_minor * 1000 // 10 ** exponent(currency)
        return Sale(number, number, BUNDLE, product_id, token, quantity, milli, currency, now)

    def _sell(self, sale: Sale) -> Sale:
        self.sales[sale.transaction_id] = sale
        return sale

    # ------------------------------------------------------------------------------------ what Apple does by itself

    def announce(self, kind: str, sale: Sale, now: int, *, subtype: str = "", **data: Any) -> str:
        """Send a notification of this type about a transaction; returns its UUID."""
        return self._post(kind, now, sale=sale, subtype=subtype, **data)

    def refund(self, sale: Sale, now: int, *, share_milli: int = FULL) -> str:
        """Apple gives money back: all of it, or a share."""
        sale.revoked_at, sale.share_milli = now, share_milli
        sale.revocation = "REFUND_FULL" if share_milli == FULL else "REFUND_PRORATED"
        return self._post("REFUND", now, sale=sale)

    def reverse_refund(self, sale: Sale, now: int) -> str:
        """The customer's dispute is decided the other way: the refund is taken back."""
        sale.revoked_at, sale.revocation, sale.share_milli = None, "", 0
        return self._post("REFUND_REVERSED", now, sale=sale)

    def ask_consumption(self, sale: Sale, now: int) -> str:
        """A customer asks for a refund, and Apple wants to know what was used."""
        return self._post("CONSUMPTION_REQUEST", now, sale=sale, consumptionRequestReason="UNINTENDED_PURCHASE")

    def renew(self, sale: Sale, now: int) -> Sale:
        """A subscription's next period: a transaction of its own under the first one's token."""
        self._number += 1
        renewed = replace(sale, transaction_id=str(self._number), original_id=sale.original_id, bought_at=now)
        renewed.reason, renewed.kind = "RENEWAL", "Auto-Renewable Subscription"
        self._sell(renewed)
        self._post("DID_RENEW", now, sale=renewed)
        return renewed

    def plan_notice(self, fault: NoticeFault) -> None:
        """Let this happen to the next notification."""
        self._faults.append(fault)

    def test_notification(self, now: int) -> str:
        return self._post("TEST", now)

    def _post(self, kind: str, now: int, *, sale: Sale | None = None, subtype: str = "", **data: Any) -> str:
        notice_id = str(uuid.uuid5(uuid.NAMESPACE_URL, f"{self._seed}|{len(self._letters)}|{kind}|{now}"))
        payload: dict[str, Any] = {"notificationType": kind, "notificationUUID": notice_id, "version": "2.0"}
        if subtype:
            payload["subtype"] = subtype
        payload["data"] = {"appAppleId": APPLE_ID, "bundleId": BUNDLE, "environment": self.environment, **data}
        if sale is not None:
            payload["data"]["signedTransactionInfo"] = self.signed(sale, now)
            if sale.kind.startswith("Auto"):
                payload["data"]["signedRenewalInfo"] = self.authority.sign(
                    {
                        "originalTransactionId": sale.original_id,
                        "productId": sale.product_id,
                        "autoRenewStatus": 1,
                        "environment": self.environment,
                        "signedDate": now // 1000,
                    }
                )
        number = "" if sale is None else sale.transaction_id
        self._letters[notice_id] = Letter(notice_id, kind, payload, number, now)
        return notice_id

    # ------------------------------------------------------------------------------------ notifications

    def due(self, now: int) -> Sequence[OutgoingNotice]:
        """The notifications to deliver now, each signed now."""
        going: list[OutgoingNotice] = []
        for letter in list(self._letters.values()):
            if not self.notify_url or letter.due_at > now or letter.tries > len(LADDER):
                continue
            fault = self._faults.pop(0) if self._faults else None
            letter.tries += 1
            letter.due_at = now + LADDER[min(letter.tries, len(LADDER)) - 1]
            if fault is NoticeFault.LOST:
                continue
            authority = self.forger if fault is NoticeFault.FORGED else self.authority
            notice = OutgoingNotice(letter.key, self._envelope(letter, authority, now))
            going.extend([notice, notice] if fault is NoticeFault.DUPLICATE else [notice])
        return going

    def _envelope(self, letter: Letter, authority: Authority, now: int) -> Request:
        jws = authority.sign({**letter.payload, "signedDate": now // 1000})
        body = json.dumps({"signedPayload": jws}, separators=(",", ":")).encode()
        return Request("POST", self.notify_url, {"content-type": "application/json"}, body)

    def answered(self, key: str, reply: NoticeReply | None, now: int) -> None:
        """How a delivery went: 200 to 206 end it."""
        if reply is not None and 200 <= reply.status <= 206:
            self._letters.pop(key, None)

    def next_due(self) -> int | None:
        """When `due` will next have something."""
        waiting = [one.due_at for one in self._letters.values() if one.tries <= len(LADDER)]
        return min(waiting, default=None) if self.notify_url else None

    @property
    def undelivered(self) -> int:
        """Notifications that nobody has taken yet."""
        return len(self._letters)

    # ------------------------------------------------------------------------------------ the server API

    def handle(self, request: Request, now: int) -> Reply | None:
        """Answer a call of the server API."""
        if self.is_silent:
            return None
        if "/inApps/" not in urlsplit(request.url).path:
            return self._browse(request, now)
        bundle_id = self._caller(request, now)
        if bundle_id is None:
            return Reply(401, {"content-type": "text/plain"}, b"Unauthenticated\n")
        if self.failures:
            status, code = self.failures.pop(0)
            return _error(status, code, "It was asked for.")
        parts = urlsplit(request.url)
        path = parts.path[parts.path.find("/inApps/") :]
        document = json.loads(request.body) if request.body else {}
        self.calls.append(Call(request.method, path, document))
        query = {name: values[0] for name, values in parse_qs(parts.query).items()}
        return self._answer(request.method, path, query, bundle_id, now)

    def _caller(self, request: Request, now: int) -> str | None:
        """The app whose key signed the call; None when there is none, or its time is over."""
        token = request.headers.get("authorization", "").removeprefix("Bearer ")
        try:
            said = take_apart(token)
        except Malformed:
            return None
        bundle_id, key = self._api_keys.get(str(said.header.get("kid")), ("", None))
        claims = said.payload
        at = now // SECOND
        is_good = (claims.get("aud"), claims.get("bid")) == ("appstoreconnect-v1", bundle_id)
        if key is None or not is_good or not at < int(claims.get("exp", 0)) <= at + 3600:
            return None
        return bundle_id if _is_signed(token, key) else None

    def _answer(self, method: str, path: str, query: Mapping[str, str], bundle_id: str, now: int) -> Reply:
        if (method, path) == ("POST", "/inApps/v1/notifications/test"):
            return _json(200, {"testNotificationToken": f"{self.test_notification(now)}_{now // SECOND}"})
        found = re.fullmatch(
            r"/inApps/(v1/transactions|v2/history|v2/refund/lookup|v2/transactions/consumption)/([^/]+)", path
        )
        if found is None:
            return Reply(404, {}, b"")
        call, number = found.groups()
        sale = self.sales.get(number)
        if not number.isdigit():
            return _error(400, 4_000_006, "Invalid transaction id.")
        if sale is None or sale.bundle_id != bundle_id:
            return _error(404, 4_040_010, "Transaction id not found.")
        if call.endswith("consumption"):
            return Reply(202, {}, b"") if method == "PUT" else Reply(405, {}, b"")
        if call == "v1/transactions":
            return _json(200, {"signedTransactionInfo": self.signed(sale, now)})
        return self._history(sale, query, now, only_refunds=call == "v2/refund/lookup")

    def _history(self, sale: Sale, query: Mapping[str, str], now: int, *, only_refunds: bool) -> Reply:
        mine = [one for one in self.sales.values() if one.bundle_id == sale.bundle_id]
        mine = [one for one in mine if one.revoked_at is not None or not only_refunds]
        revision = query.get("revision", "0")
        begin = int(revision) if revision.isdigit() else 0
        page = mine[begin : begin + PAGE]
        return _json(
            200,
            {
                "revision": str(begin + len(page)),
                "hasMore": begin + PAGE < len(mine),
                "bundleId": sale.bundle_id,
                "environment": self.environment,
                "signedTransactions": [self.signed(one, now) for one in page],
            },
        )

    # ------------------------------------------------------------------------------------ for whole worlds

    def sale(self, token: str) -> TradeSeen | None:
        """What was bought under this app account token."""
        found = self._sale_of(token)
        if found is None:
            return None
        minor = found.price_milli * 10 ** exponent(found.currency) // 1000
        returned = 0 if found.revoked_at is None else minor * found.share_milli // FULL
        return TradeSeen(minor, found.currency, minor, returned, is_closed=False)

    def announce_sale(self, token: str, now: int) -> None:
        """ONE_TIME_CHARGE, as Apple sends it for every purchase of a consumable."""
        self.announce("ONE_TIME_CHARGE", self._sold(token), now)

    def give_back(self, token: str, now: int) -> None:
        """A customer's refund is granted."""
        self.refund(self._sold(token), now)

    def take_back(self, token: str, now: int) -> None:
        """The refund is reversed."""
        self.reverse_refund(self._sold(token), now)

    def _sale_of(self, token: str) -> Sale | None:
        return next((one for one in self.sales.values() if one.token == token), None)

    def _sold(self, token: str) -> Sale:
        found = self._sale_of(token)
        if found is None:
            raise LookupError("nothing was bought under this token")
        return found

    # ------------------------------------------------------------------------------------ a person at a browser

    def _browse(self, request: Request, now: int) -> Reply:
        """The shop's pages: buying needs no key, as on a phone."""
        path = urlsplit(request.url).path.removeprefix(self._base_path)
        form = {name: values[0] for name, values in parse_qs(request.body.decode("latin-1")).items()}
        sale = self.sales.get(path.removeprefix("/sale/")) if path.startswith("/sale/") else None
        match request.method, path:
            case "GET", "" | "/":
                given = {name: values[0] for name, values in parse_qs(urlsplit(request.url).query).items()}
                return self._shop(given)
            case "POST", "/buy":
                return self._buy_at_the_desk(form, now)
            case "GET", _ if sale is not None:
                return pages.sale_page(sale, self.signed(sale, now), self._base_path)
            case "POST", _ if sale is not None:
                return self._press(sale, form.get("action", ""), now)
        return pages.PAPER.sorry("没有这个页面", "There is no such page.", status=404)

    def _shop(self, given: Mapping[str, str], sorry: str = "") -> Reply:
        return pages.shop_page(list(self.sales.values())[: -SHOWN - 1 : -1], self._base_path, given, sorry)

    def _buy_at_the_desk(self, form: Mapping[str, str], now: int) -> Reply:
        """Buy what the form says, as a phone with that plan would, and tell the merchant."""
        try:
            token = form.get("account_token", "").strip()
            if token and str(uuid.UUID(token)) != token:
                raise ValueError("an app account token is a UUID")
            currency, quantity = form.get("currency", ""), int(form.get("quantity", ""))
            amount_minor = parse_major(form.get("price", ""), currency)
            product_id = form.get("product_id", "").strip()
            if not product_id or not 0 < quantity <= MOST or not 0 <= amount_minor < PRICELESS:
                raise ValueError("a product, a quantity and a price are wanted")
        except (ValueError, KeyError) as error:
            return self._shop(form, f"不能购买 · It cannot be bought: {error}")
        sale = self._sell(self._new(product_id, token, quantity, now, amount_minor, currency))
        self.announce("ONE_TIME_CHARGE", sale, now)
        return self._see(sale)

    def _press(self, sale: Sale, action: str, now: int) -> Reply:
        match action:
            case "announce":
                self.announce("ONE_TIME_CHARGE", sale, now)
            case "refund":
                self.refund(sale, now)
            case "reverse" if sale.revoked_at is not None:
                self.reverse_refund(sale, now)
            case "renew":
                sale = self.renew(sale, now)
            case "consumption":
                self.ask_consumption(sale, now)
            case _:
                return pages.PAPER.sorry("没有这个按钮", "There is no such button.", status=400)
        return self._see(sale)

    def _see(self, sale: Sale) -> Reply:
        location = f"{self._base_path}/sale/{sale.transaction_id}"
        return Reply(303, {"location": location, "cache-control": "no-store"}, b"")

    # ------------------------------------------------------------------------------------ for the conformance kit

    def accept(self, plan_json: str, now: int) -> str:
        """The purchase sheet opens. The store knows the payment by its token, and by nothing else."""
        return self._wanted(plan_json, now, 1, "CNY").token

    def pay(self, payment_id: str, now: int, *, amount_minor: int | None = None) -> None:
        """A store takes money for a plan, not for a number of ours: `purchase` is how one pays."""
        raise LookupError("the App Store knows no payment by our number")

    def decline(self, payment_id: str, now: int) -> bool:
        """Whoever cancels the sheet leaves no trace."""
        return False

    def misreport(self, payment_id: str, lie: Lie, now: int) -> bool:
        return False

    def trade(self, payment_id: str) -> TradeSeen | None:
        return None

    def refunds(self, payment_id: str) -> Mapping[str, int]:
        return {}

    def refund_in_console(self, payment_id: str, now: int, *, amount_minor: int) -> str:
        """There is no console: Apple alone gives money back."""
        raise LookupError("the App Store knows no payment by our number")

    def forgeries(self, genuine: Request, now: int) -> Mapping[str, Request]:
        """Notifications like this one by whoever knows the protocol."""
        payload = take_apart(json.loads(genuine.body)["signedPayload"]).payload
        return {name: replace(genuine, body=_body(jws)) for name, jws in self.forged(payload).items()}

    def forged(self, payload: Mapping[str, Any]) -> Mapping[str, str]:
        """This document, signed in every way that must not be believed."""
        unmarked = Authority(self._seed, leaf_mark="1.2.3.4")
        genuine = self.authority
        return {
            "key": self.forger.sign(payload),
            "genuine chain, another key": self.forger.sign(payload, {"x5c": genuine.chain}),
            "own root at the end": self.forger.sign(payload, {"x5c": [*self.forger.chain[:2], genuine.chain[2]]}),
            "leaf without its mark": unmarked.sign(payload),
            "intermediate without its mark": Authority(self._seed, intermediate_mark="1.2.3.4").sign(payload),
            "no chain": genuine.sign(payload, {"x5c": []}),
            "one certificate": genuine.sign(payload, {"x5c": genuine.chain[:1]}),
            "two certificates": genuine.sign(payload, {"x5c": genuine.chain[:2]}),
            "four certificates": genuine.sign(payload, {"x5c": [*genuine.chain, genuine.chain[2]]}),
            "intermediate as leaf": genuine.sign(payload, {"x5c": [genuine.chain[1], *genuine.chain[1:]]}),
            "HS256": genuine.sign(payload, {"alg": "HS256"}),
            "none": f"{part({'alg': 'none', 'x5c': genuine.chain})}.{part(payload)}.{base64url(b'x')}",
        }


def _body(jws: str) -> bytes:
    return json.dumps({"signedPayload": jws}, separators=(",", ":")).encode()


def _is_signed(token: str, key: ec.EllipticCurvePublicKey) -> bool:
    import base64

    text, _, signature = token.rpartition(".")
    raw = base64.urlsafe_b64decode(signature + "=" * (-len(signature) % 4))
    der = encode_dss_signature(int.from_bytes(raw[:32]), int.from_bytes(raw[32:]))
    try:
        key.verify(der, text.encode(), ec.ECDSA(hashes.SHA256()))
    except InvalidSignature:
        return False
    return len(raw) == 64


def _json(status: int, document: Mapping[str, Any]) -> Reply:
    return Reply(status, {"content-type": "application/json"}, json.dumps(document).encode())


def _error(status: int, code: int, message: str) -> Reply:
    return _json(status, {"errorCode": code, "errorMessage": message})
