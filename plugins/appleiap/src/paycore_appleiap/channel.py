"""An app at Apple's App Store. The phone buys; we verify what it brings, and what Apple tells us."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from typing import Any, TypeVar

from paycore.channel import (
    AccountKeys,
    Confirmed,
    Conversation,
    EvidenceAsk,
    Failure,
    Forged,
    Malformed,
    NotFound,
    Notice,
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
    Reply,
    Request,
    Silence,
    Unknown,
)
from paycore_appleiap import api, notices
from paycore_appleiap.api import ApiKey
from paycore_appleiap.reading import TOKEN, about, meaning
from paycore_appleiap.trust import Trust
from paycore_bridge import Plan, Step, StorePurchase

T = TypeVar("T")

STORE = "apple"
FRESH = 600_000
"""Milliseconds for which a proof speaks for itself; of an older one Apple is asked whether it still holds."""

CONSUMPTION = "consumption_information"
INFO = "transaction_info"
HISTORY = "transaction_history"
REFUNDS = "refund_history"
TEST = "test_notification"

DELIVERIES = frozenset(
    "DELIVERED UNDELIVERED_QUALITY_ISSUE UNDELIVERED_WRONG_ITEM UNDELIVERED_SERVER_OUTAGE UNDELIVERED_OTHER".split()
)
PREFERENCES = frozenset("DECLINE GRANT_FULL GRANT_PRORATED".split())


class AppleChannel:
    """One app in one environment, opened."""

    def __init__(self, account: AccountKeys) -> None:
        if not account.versions:
            raise ValueError("The account has no settings.")
        self._trusts = [
            Trust(
                str(one.settings["root_certificates"]),
                str(one.settings["bundle_id"]),
                str(one.settings.get("app_apple_id") or ""),
                account.environment,
            )
            for one in account.versions
        ]
        keys = [ApiKey.of(one.settings, account.environment) for one in account.versions]
        self._key = next(
            (key for key, one in zip(keys, account.versions, strict=True) if one == account.signing), keys[0]
        )
        self._merchant = str(account.versions[0].settings["bundle_id"])

    @property
    def merchant(self) -> str:
        """The app's bundle id: who receives the money at Apple."""
        return self._merchant

    # ------------------------------------------------------------------------------------ payments

    def prepare(self, ask: PaymentAsk) -> Conversation[PaymentFinding]:
        """Name what the phone is to buy. Apple is not asked: it knows of a purchase when it is made."""
        yield from ()
        content = StorePurchase(store=STORE, product_id=ask.product_id, account_token=ask.token, quantity=ask.quantity)
        plan = Plan.of(Step.of(content, requires=["storekit"]), expires_at=ask.expires_at)
        return Ready(plan.to_json(), expires_at=ask.expires_at, references=(Reference(TOKEN, ask.token),))

    def query(self, ask: PaymentAsk) -> Conversation[PaymentFinding]:
        """Ask how a purchase stands. Apple knows purchases by transaction, so one that nobody told us of is not found."""
        if not ask.channel_trade_no:
            return NotFound()
        answer = api.read((yield self._key.get(api.transaction_path(ask.channel_trade_no), ask.now)))
        if answer.status == 404 and answer.code == api.NO_TRANSACTION:
            return NotFound(authenticated=False)
        transaction = self._transaction_in(answer, ask.channel_trade_no)
        return Unknown(f"Apple answers {answer.status} {answer.code}") if transaction is None else meaning(transaction)

    def confirm(self, ask: EvidenceAsk) -> Conversation[Confirmed]:
        """Verify the signed transaction that a phone brings. Raises Malformed and Forged.

        An old one may have been given back since: Apple is asked, and without an answer nothing is concluded.
        """
        transaction = self._try(lambda trust: trust.transaction(ask.evidence))
        if ask.now // 1000 - int(transaction["signedDate"]) > FRESH:
            number = str(transaction.get("transactionId", ""))
            answer = api.read((yield self._key.get(api.transaction_path(number), ask.now)))
            newer = self._transaction_in(answer, number)
            if newer is None:
                raise Silence(f"Apple answers {answer.status} {answer.code} about an old transaction")
            transaction = newer
        found = meaning(transaction)
        if not isinstance(found, Paid):
            return Confirmed(())
        return Confirmed((about(transaction, found),), may_finish=True)

    def _transaction_in(self, answer: api.Answer, transaction_id: str) -> Mapping[str, Any] | None:
        """The verified transaction of an answer, if it is the one that was asked about."""
        signed = answer.document.get("signedTransactionInfo")
        if not answer.is_good or not isinstance(signed, str):
            return None
        transaction = self._verified(signed)
        is_asked = transaction is not None and transaction.get("transactionId") == transaction_id
        return transaction if is_asked else None

    def _verified(self, jws: str) -> Mapping[str, Any] | None:
        try:
            return self._try(lambda trust: trust.transaction(jws))
        except Forged:
            return None

    # ------------------------------------------------------------------------------------ notices

    def read_notice(self, notice: RawNotice, now: int) -> Notice:
        """Verify a notification and all that is inside of it. `now` does not matter: Apple repeats for a week."""
        return self._try(lambda trust: notices.read_notice(notice.body, trust))

    def _try(self, read: Callable[[Trust], T]) -> T:
        """Read by the trust of each key version in turn. Raises what the one said that got furthest with it."""
        refused: Forged = Forged("there is no key version")
        for trust in self._trusts:
            try:
                return read(trust)
            except Malformed:
                raise
            except Forged as forged:
                refused = forged if type(refused) is Forged else refused
        raise refused

    # ------------------------------------------------------------------------------------ operations

    def operate(self, ask: OperationAsk) -> Conversation[OperationFinding]:
        """What only Apple has. Nothing that is answered here moves money."""
        if ask.name == TEST:
            return (yield from self._test_notification(ask))
        number = ask.payment.channel_trade_no
        if not number:
            return _refused("no_transaction", 0, "The payment has no transaction yet.", "这笔付款还没有交易。")
        if ask.name == CONSUMPTION:
            return (yield from self._consumption(ask, number))
        if ask.name == INFO:
            return (yield from self._info(ask, number))
        path = "/inApps/v2/history/" if ask.name == HISTORY else "/inApps/v2/refund/lookup/"
        return (yield from self._pages(ask, f"{path}{number}"))

    def _consumption(self, ask: OperationAsk, number: str) -> Generator[Request, Reply, OperationFinding]:
        """Tell Apple what became of a purchase, within 12 hours of its request and with the customer's consent only."""
        given = ask.inputs
        percentage = given.get("consumption_percentage", "")
        if given.get("customer_consented") != "true":
            return _refused("no_consent", 0, "The customer has not consented.", "顾客没有同意。")
        is_good = given.get("delivery_status") in DELIVERIES and given.get("refund_preference") in PREFERENCES
        if not is_good or not percentage.isascii() or not percentage.isdigit() or int(percentage) > 100:
            return _refused("bad_input", 0, "The information is not well formed.", "信息格式不正确。")
        document = {
            "customerConsented": True,
            "sampleContentProvided": given.get("sample_content_provided") == "true",
            "deliveryStatus": given["delivery_status"],
            "consumptionPercentage": int(percentage) * 1000,
            "refundPreference": given["refund_preference"],
        }
        request = self._key.send("PUT", f"/inApps/v2/transactions/consumption/{number}", ask.now, document)
        reply = yield request
        return OperationDone() if reply.status == 202 and not reply.body.strip() else _failed(api.read(reply))

    def _info(self, ask: OperationAsk, number: str) -> Generator[Request, Reply, OperationFinding]:
        answer = api.read((yield self._key.get(api.transaction_path(number), ask.now)))
        transaction = self._transaction_in(answer, number)
        return _failed(answer) if transaction is None else OperationDone({number: _in_words(transaction)})

    def _pages(self, ask: OperationAsk, path: str) -> Generator[Request, Reply, OperationFinding]:
        """One page of a history: every transaction in it verified, or none of it shown."""
        answer = api.read((yield self._key.get(path, ask.now, {"revision": ask.inputs.get("revision", "")})))
        signed = answer.document.get("signedTransactions")
        if not answer.is_good or not isinstance(signed, list):
            return _failed(answer)
        found = [self._verified(one) if isinstance(one, str) else None for one in signed]
        known = [one for one in found if one is not None]
        if len(known) != len(found):
            return Unknown("a transaction of the history does not verify")
        words = {str(one.get("transactionId", ""))[:64]: _in_words(one) for one in known}
        more = answer.document.get("revision") if answer.document.get("hasMore") is True else ""
        return OperationDone({**words, "next_revision": str(more)[:256]})

    def _test_notification(self, ask: OperationAsk) -> Generator[Request, Reply, OperationFinding]:
        answer = api.read((yield self._key.send("POST", "/inApps/v1/notifications/test", ask.now)))
        token = answer.document.get("testNotificationToken")
        if not answer.is_good or not isinstance(token, str):
            return _failed(answer)
        return OperationDone({"test_notification_token": token[:256]})


def _in_words(transaction: Mapping[str, Any]) -> str:
    names = ("productId", "type", "price", "currency", "transactionReason", "revocationType")
    return " ".join(str(transaction[name])[:64] for name in names if name in transaction)


def _failed(answer: api.Answer) -> OperationFinding:
    """Refused for certain where Apple says so with a code; anything else is not known."""
    is_refusal = answer.status in (400, 403, 404) and answer.code and answer.code % 1000 not in (2, 4, 6)
    if not is_refusal and (answer.status, answer.code) != (400, 4000006):
        return Unknown(f"Apple answers {answer.status} {answer.code}")
    return _refused("channel_refused", answer.code, "Apple refused it.", "苹果拒绝了该请求。")


def _refused(reason: str, code: int, en: str, zh: str) -> OperationRefused:
    return OperationRefused(Failure(reason, str(code) if code else "", zh, en))
