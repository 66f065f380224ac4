"""The rules about payments: one line a rule (design section 5)."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from paycore.core.facts import CloseAsked
from paycore.core.findings import (
    AlreadyPaid,
    ChannelRefund,
    Closed,
    Declined,
    NotFound,
    NotSent,
    Paid,
    PayerPaying,
    Ready,
    Reversed,
    StorePurchase,
    Unknown,
    Waiting,
)
from paycore.core.order import CloseReason, Remedy, SurplusPolicy
from paycore.core.schedule import WATCH_FOR
from paycore.core.terms import SECOND, AfterUnknown, Price
from tests.core.stories import EXPIRY, MARGIN_OVER, NO, STORE, Story, paid

HOLD, ACCEPT = SurplusPolicy.HOLD, SurplusPolicy.ACCEPT
TOKEN = StorePurchase("tea", 1, "t")


def at_store(policy: SurplusPolicy = SurplusPolicy.AUTO_REFUND) -> Story:
    """An order that waits for its purchase in a store."""
    return Story(policy, **STORE).waits(product_id="tea", token="t")


def bought(number: str, *, product: str = "tea", token: str = "t", **more: Any) -> Paid:
    """A purchase in that store."""
    return paid(6, "USD", channel_trade_no=number, purchase=StorePurchase(product, 1, token), **more)


def free(product: str = "tea") -> Paid:
    """A free trial in that store."""
    return replace(bought("T2", product=product), amount_minor=0)


RULES: list[tuple[str, Callable[[], Story], str]] = [
    # 1 · do not know? the state stays, the task stays
    (
        "a silent prepare is unknown",
        lambda: Story().asks().hears(Unknown(), "PREPARE"),
        "PENDING | p1 UNKNOWN >PREPARE",
    ),
    (
        "an unknown barcode is asked about",
        lambda: Story(after_unknown=AfterUnknown.QUERY_THEN_CLOSE).asks().hears(Unknown(), "PREPARE"),
        "PENDING | p1 UNKNOWN >QUERY",
    ),
    ("a silent query changes nothing", lambda: Story().waits().takes().hears(Unknown()), "PENDING | p1 PENDING >QUERY"),
    (
        "unknown at its expiry is closed, not failed",
        lambda: Story().asks().hears(Unknown(), "PREPARE").expires(),
        "CLOSING | p1 UNKNOWN >CLOSE",
    ),
    ("not sent is tried again", lambda: Story().asks().hears(NotSent(), "PREPARE"), "PENDING | p1 CREATED >PREPARE"),
    (
        "a payment that was never sent is closed here",
        lambda: Story().asks(leased=False).expires(),
        "CLOSED | p1 CLOSED",
    ),
    ("created and leased may have been sent", lambda: Story().asks().expires(), "CLOSING | p1 CREATED >CLOSE"),
    (
        "a repeated prepare brings the action",
        lambda: Story().asks().hears(Unknown(), "PREPARE").takes().hears(Ready("{}"), "PREPARE"),
        "PENDING | p1 PENDING >QUERY",
    ),
    # 5 · success is checked by the core
    ("the right amount pays", lambda: Story().pays(), "PAID | p1 SUCCEEDED* 100-0-0"),
    (
        "a smaller amount is held",
        lambda: Story().waits().hears(paid(99), "NOTICE"),
        "PENDING | p1 SUCCEEDED 99-0-0 | AMOUNT_MISMATCH OPEN 99",
    ),
    (
        "a larger amount is held",
        lambda: Story().waits().hears(paid(101), "NOTICE"),
        "PENDING | p1 SUCCEEDED 101-0-0 | AMOUNT_MISMATCH OPEN 101",
    ),
    (
        "another currency is held",
        lambda: Story().waits().hears(paid(100, "USD"), "NOTICE"),
        "PENDING | p1 SUCCEEDED 100-0-0 | AMOUNT_MISMATCH OPEN 100",
    ),
    (
        "a wrong amount is held under ACCEPT too",
        lambda: Story(ACCEPT).waits().hears(paid(99), "NOTICE"),
        "PENDING | p1 SUCCEEDED 99-0-0 | AMOUNT_MISMATCH OPEN 99",
    ),
    (
        "a wrong amount is held on a closed order",
        lambda: Story(ACCEPT).waits().closes().hears(Closed(), "CLOSE").hears(paid(99), "NOTICE"),
        "CLOSED | p1 SUCCEEDED 99-0-0 | AMOUNT_MISMATCH OPEN 99",
    ),
    (
        "after a wrong amount the order can be paid",
        lambda: Story().waits().hears(paid(99), "NOTICE").pays("p2"),
        "PAID | p1 SUCCEEDED 99-0-0 | p2 SUCCEEDED* 100-0-0 | AMOUNT_MISMATCH OPEN 99",
    ),
    (
        "another merchant's money is refused",
        lambda: Story().waits().hears(paid(merchant="X"), "NOTICE"),
        "PENDING | p1 PENDING >QUERY | WRONG_ACCOUNT OPEN 100 !WRONG_ACCOUNT",
    ),
    (
        "another merchant's answer leaves the task",
        lambda: Story().waits().takes().hears(paid(merchant="X")),
        "PENDING | p1 PENDING >QUERY | WRONG_ACCOUNT OPEN 100",
    ),
    ("told twice changes nothing", lambda: Story().pays().hears(paid(), "NOTICE"), "PAID | p1 SUCCEEDED* 100-0-0"),
    (
        "told twice with another amount",
        lambda: Story().pays().hears(paid(99), "NOTICE"),
        "PAID | p1 SUCCEEDED* 100-0-0 | CONFLICTING_AMOUNT OPEN 99",
    ),
    (
        "an unverified success only makes us ask",
        lambda: Story().waits().hears(paid(authenticated=False), "NOTICE"),
        "PENDING | p1 PENDING >QUERY",
    ),
    (
        "a store's price is recorded, its product compared",
        lambda: Story(**STORE).waits(product_id="tea", token="t").hears(paid(6, "USD", purchase=TOKEN), "CONFIRM"),
        "PAID | p1 SUCCEEDED* 6-0-0",
    ),
    (
        "a store purchase of something else is refused",
        lambda: Story(**STORE).waits(product_id="cake", token="t").hears(paid(6, "USD", purchase=TOKEN), "CONFIRM"),
        "PENDING | p1 PENDING >QUERY !EVIDENCE_MISMATCH",
    ),
    (
        "a store's notice about something else is held",
        lambda: Story(**STORE).waits(product_id="cake", token="t").hears(paid(6, "USD", purchase=TOKEN), "NOTICE"),
        "PENDING | p1 SUCCEEDED 6-0-0 | AMOUNT_MISMATCH OPEN 6",
    ),
    (
        "a store success without its purchase is held",
        lambda: Story(**STORE).waits(product_id="tea", token="t").hears(paid(100), "NOTICE"),
        "PENDING | p1 SUCCEEDED 100-0-0 | AMOUNT_MISMATCH OPEN 100",
    ),
    (
        "what a store sold for nothing pays",
        lambda: at_store().hears(free(), "CONFIRM").hears(free(), "NOTICE"),
        "PAID | p1 SUCCEEDED*",
    ),
    (
        "what a store sold for nothing pays even a closed order",
        lambda: at_store().closes().at(MARGIN_OVER).hears(NotFound(), "QUERY").hears(free(), "CONFIRM"),
        "PAID | p1 SUCCEEDED* | LATE_PAYMENT RESOLVED 0",
    ),
    (
        "something else for nothing pays nothing, and nothing is held",
        lambda: at_store().hears(free(product="cake"), "NOTICE"),
        "PENDING | p1 SUCCEEDED | AMOUNT_MISMATCH RESOLVED 0",
    ),
    (
        "where the price is ours nothing is no payment",
        lambda: Story().waits().hears(paid(0), "NOTICE"),
        "PENDING | p1 SUCCEEDED | AMOUNT_MISMATCH RESOLVED 0",
    ),
    (
        "nothing is given back of nothing, though the order was paid",
        lambda: (
            Story(price=Price.STORE)
            .waits(product_id="tea", token="t")
            .switches()
            .hears(NotFound(), "CLOSE")
            .asks("p2", product_id="tea", token="u")
            .hears(bought("T1", token="u"), "NOTICE", name="p2")
            .hears(free(), "NOTICE")
        ),
        "PAID | p1 SUCCEEDED~ | p2 SUCCEEDED* 6-0-0 | SECOND_PAYMENT RESOLVED 0",
    ),
    (
        "a second purchase under one token is not the first told again",
        lambda: at_store().hears(bought("T1"), "CONFIRM").hears(bought("T2"), "CONFIRM"),
        "PAID | p1 SUCCEEDED* 6-0-0 !EVIDENCE_USED",
    ),
    (
        "nor is it in a notice",
        lambda: at_store().hears(bought("T1"), "NOTICE").hears(bought("T2"), "NOTICE"),
        "PAID | p1 SUCCEEDED* 6-0-0 !EVIDENCE_USED",
    ),
    (
        "the purchase that was claimed pays, whatever its token",
        lambda: at_store().claims(bought("T1", token="nobody's")),
        "PAID | p1 SUCCEEDED* 6-0-0",
    ),
    (
        "a claim is told twice and is one claim",
        lambda: at_store().claims(bought("T1", token="nobody's")).claims(bought("T1", token="nobody's")),
        "PAID | p1 SUCCEEDED* 6-0-0",
    ),
    (
        "what was claimed may be confirmed afterwards as it is",
        lambda: at_store().claims(bought("T1", token="nobody's")).hears(bought("T1", token="nobody's"), "CONFIRM"),
        "PAID | p1 SUCCEEDED* 6-0-0",
    ),
    (
        "a claim of another product is refused",
        lambda: at_store().claims(bought("T1", product="cake")),
        "PENDING | p1 PENDING >QUERY !EVIDENCE_MISMATCH",
    ),
    (
        "a claim of another merchant's purchase is refused",
        lambda: at_store().claims(bought("T1", merchant="M2")),
        "PENDING | p1 PENDING >QUERY !WRONG_ACCOUNT",
    ),
    (
        "a payment that another purchase paid takes no claim",
        lambda: at_store().hears(bought("T1"), "CONFIRM").claims(bought("T2", token="nobody's")),
        "PAID | p1 SUCCEEDED* 6-0-0 !EVIDENCE_USED",
    ),
    (
        "a claimed purchase that the store gave back pays nothing",
        lambda: at_store().claims(bought("T1", token="nobody's", refunds=(ChannelRefund(6, "T1"),))),
        "PENDING | p1 SUCCEEDED 6-0-6 | r CHANNEL SUCCEEDED 6",
    ),
    (
        "a claimed purchase is kept, whatever the policy, though its order is paid",
        lambda: (
            Story(**STORE)
            .waits(product_id="tea", token="t")
            .switches()
            .hears(NotFound(), "CLOSE")
            .asks("p2", product_id="tea", token="u")
            .hears(bought("T1", token="u"), "NOTICE", name="p2")
            .claims(bought("T2"))
        ),
        "PAID | p1 SUCCEEDED~+ 6-0-0 | p2 SUCCEEDED* 6-0-0 | SECOND_PAYMENT RESOLVED 6",
    ),
    (
        "a claim pays a closed order even where the app holds what is late",
        lambda: at_store(HOLD).closes().at(MARGIN_OVER).hears(NotFound(), "QUERY").claims(bought("T1")),
        "PAID | p1 SUCCEEDED* 6-0-0 | LATE_PAYMENT RESOLVED 6",
    ),
    (
        "where the price is ours there is nothing to claim",
        lambda: Story().waits().claims(bought("T1")),
        "PENDING | p1 PENDING >QUERY !REMEDY_UNSUPPORTED",
    ),
    # 6 · a success pays the order, or it is surplus
    (
        "a success pays a closing order",
        lambda: Story().waits().closes().hears(paid(), "NOTICE"),
        "PAID | p1 SUCCEEDED* 100-0-0",
    ),
    (
        "a success of a failed attempt pays",
        lambda: Story().asks().hears(Declined(NO), "PREPARE").hears(paid(), "NOTICE"),
        "PAID | p1 SUCCEEDED* 100-0-0",
    ),
    (
        "late money is given back",
        lambda: Story().waits().closes().hears(Closed(), "CLOSE").hears(paid(), "NOTICE"),
        "CLOSED | p1 SUCCEEDED 100-100-0 | r POLICY PENDING 100 >REFUND | LATE_PAYMENT RESOLVED 100",
    ),
    (
        "late money is held",
        lambda: Story(HOLD).waits().closes().hears(Closed(), "CLOSE").hears(paid(), "NOTICE"),
        "CLOSED | p1 SUCCEEDED 100-0-0 | LATE_PAYMENT OPEN 100",
    ),
    (
        "late money is accepted",
        lambda: Story(ACCEPT).waits().closes().hears(Closed(), "CLOSE").hears(paid(), "NOTICE"),
        "PAID | p1 SUCCEEDED* 100-0-0 | LATE_PAYMENT RESOLVED 100",
    ),
    (
        "a channel that cannot refund holds",
        lambda: Story(can_refund=False).waits().closes().hears(Closed(), "CLOSE").hears(paid(), "NOTICE"),
        "CLOSED | p1 SUCCEEDED 100-0-0 | LATE_PAYMENT OPEN 100",
    ),
    (
        "what a store sold for good pays even a closed order",
        lambda: (
            Story(**STORE)
            .waits(product_id="tea", token="t")
            .closes()
            .at(MARGIN_OVER)
            .hears(NotFound(), "QUERY")
            .hears(paid(6, "USD", purchase=TOKEN), "CONFIRM")
        ),
        "PAID | p1 SUCCEEDED* 6-0-0 | LATE_PAYMENT RESOLVED 6",
    ),
    (
        "what a store sold for good is held where the app says so",
        lambda: (
            Story(HOLD, **STORE)
            .waits(product_id="tea", token="t")
            .closes()
            .at(MARGIN_OVER)
            .hears(NotFound(), "QUERY")
            .hears(paid(6, "USD", purchase=TOKEN), "CONFIRM")
        ),
        "CLOSED | p1 SUCCEEDED 6-0-0 | LATE_PAYMENT OPEN 6",
    ),
    (
        "a second payment is given back",
        lambda: Story().waits().switches().hears(NotFound(), "CLOSE").pays("p2").hears(paid(), "NOTICE"),
        "PAID | p1 SUCCEEDED~ 100-100-0 | p2 SUCCEEDED* 100-0-0 | r POLICY PENDING 100 >REFUND | SECOND_PAYMENT RESOLVED 100",
    ),
    (
        "a second payment is kept under ACCEPT",
        lambda: Story(ACCEPT).waits().switches().hears(NotFound(), "CLOSE").pays("p2").hears(paid(), "NOTICE"),
        "PAID | p1 SUCCEEDED~+ 100-0-0 | p2 SUCCEEDED* 100-0-0 | SECOND_PAYMENT RESOLVED 100",
    ),
    (
        "a person accepts late money",
        lambda: Story(HOLD).waits().closes().hears(Closed(), "CLOSE").hears(paid(), "NOTICE").remedies(Remedy.ACCEPT),
        "PAID | p1 SUCCEEDED* 100-0-0 | LATE_PAYMENT RESOLVED 100",
    ),
    (
        "a person releases late money",
        lambda: Story(HOLD).waits().closes().hears(Closed(), "CLOSE").hears(paid(), "NOTICE").remedies(Remedy.RELEASE),
        "CLOSED | p1 SUCCEEDED+ 100-0-0 | LATE_PAYMENT RESOLVED 100",
    ),
    (
        "a person gives late money back",
        lambda: Story(HOLD).waits().closes().hears(Closed(), "CLOSE").hears(paid(), "NOTICE").remedies(Remedy.REFUND),
        "CLOSED | p1 SUCCEEDED 100-100-0 | r3 MERCHANT PENDING 100 >REFUND | LATE_PAYMENT RESOLVED 100",
    ),
    (
        "a remedy is taken once",
        lambda: (
            Story(HOLD)
            .waits()
            .closes()
            .hears(Closed(), "CLOSE")
            .hears(paid(), "NOTICE")
            .remedies(Remedy.RELEASE)
            .remedies(Remedy.ACCEPT)
        ),
        "CLOSED | p1 SUCCEEDED+ 100-0-0 | LATE_PAYMENT RESOLVED 100 !ANOMALY_RESOLVED",
    ),
    (
        "a store's late money cannot be refunded by us",
        lambda: (
            Story(HOLD, can_refund=False)
            .waits()
            .closes()
            .hears(Closed(), "CLOSE")
            .hears(paid(), "NOTICE")
            .remedies(Remedy.REFUND)
        ),
        "CLOSED | p1 SUCCEEDED 100-0-0 | LATE_PAYMENT OPEN 100 !REMEDY_UNSUPPORTED",
    ),
    (
        "a wrong amount is accepted by a person",
        lambda: Story().waits().hears(paid(99), "NOTICE").remedies(Remedy.ACCEPT),
        "PAID | p1 SUCCEEDED* 99-0-0 | AMOUNT_MISMATCH RESOLVED 99",
    ),
    # 7 · money that went back
    (
        "reversed before its success never pays",
        lambda: Story().waits().takes().hears(Reversed()).hears(paid(), "NOTICE"),
        "PENDING | p1 SUCCEEDED< 100-0-100 | r CHANNEL SUCCEEDED 100",
    ),
    (
        "reversed after it paid",
        lambda: Story().pays().hears(Reversed(), "NOTICE"),
        "PAID | p1 SUCCEEDED*< 100-0-100 | r CHANNEL SUCCEEDED 100 | PAID_BUT_RETURNED OPEN 100",
    ),
    (
        "reversed is told twice",
        lambda: Story().pays().hears(Reversed(), "NOTICE").hears(Reversed(), "NOTICE"),
        "PAID | p1 SUCCEEDED*< 100-0-100 | r CHANNEL SUCCEEDED 100 | PAID_BUT_RETURNED OPEN 100",
    ),
    (
        "a channel's refund before the success is kept",
        lambda: Story().waits().returned(40),
        "PENDING | p1 PENDING 0-0-40 >QUERY | r CHANNEL SUCCEEDED 40",
    ),
    (
        "all of it back before the success: does not pay",
        lambda: Story().waits().returned().hears(paid(), "NOTICE"),
        "PENDING | p1 SUCCEEDED 100-0-100 | r CHANNEL SUCCEEDED 100",
    ),
    (
        "a part of it back before the success: pays",
        lambda: Story().waits().returned(40).hears(paid(), "NOTICE"),
        "PAID | p1 SUCCEEDED* 100-0-40 | r CHANNEL SUCCEEDED 40",
    ),
    (
        "paid and then refunded, told at once",
        lambda: Story().waits().hears(paid(refunds=(ChannelRefund(100, "n"),)), "NOTICE"),
        "PENDING | p1 SUCCEEDED 100-0-100 | r CHANNEL SUCCEEDED 100",
    ),
    (
        "a success under an open reversing close leaves a query",
        lambda: Story(close_reverses=True).waits().closes().hears(paid(), "NOTICE"),
        "PAID | p1 SUCCEEDED* 100-0-0 >QUERY",
    ),
    (
        "a query asked before that lease ended proves nothing",
        lambda: Story(close_reverses=True).waits().closes().hears(paid(), "NOTICE").hears(paid(), "QUERY"),
        "PAID | p1 SUCCEEDED* 100-0-0 >QUERY",
    ),
    (
        "a query asked after that lease ended does",
        lambda: Story(close_reverses=True).waits().closes().hears(paid(), "NOTICE").takes().hears(paid(), "QUERY"),
        "PAID | p1 SUCCEEDED* 100-0-0",
    ),
    (
        "it was reversed after all",
        lambda: Story(close_reverses=True).waits().closes().hears(paid(), "NOTICE").takes().hears(Reversed(), "QUERY"),
        "PAID | p1 SUCCEEDED*< 100-0-100 | r CHANNEL SUCCEEDED 100 | PAID_BUT_RETURNED OPEN 100",
    ),
    (
        "a close that cannot reverse leaves nothing",
        lambda: Story().waits().closes().hears(paid(), "NOTICE"),
        "PAID | p1 SUCCEEDED* 100-0-0",
    ),
    # 9 · declined
    ("declined on the only send", lambda: Story().asks().hears(Declined(NO), "PREPARE"), "PENDING | p1 FAILED >QUERY"),
    (
        "declined on a second send is asked about",
        lambda: Story().asks().hears(Unknown(), "PREPARE").takes().hears(Declined(NO), "PREPARE"),
        "PENDING | p1 UNKNOWN >QUERY",
    ),
    ("declined by a query", lambda: Story().waits().takes().hears(Declined(NO)), "PENDING | p1 FAILED >QUERY"),
    (
        "declined by a notice is asked about",
        lambda: Story().waits().hears(Declined(NO), "NOTICE"),
        "PENDING | p1 PENDING >QUERY",
    ),
    (
        "declined by a late worker is asked about",
        lambda: Story().asks().hears(Declined(NO), "PREPARE", owns=False),
        "PENDING | p1 CREATED >PREPARE",
    ),
    (
        "declined by somebody unknown is asked about",
        lambda: Story().waits().takes().hears(Declined(NO, authenticated=False)),
        "PENDING | p1 PENDING >QUERY",
    ),
    # 10 · closing
    (
        "not found before expiry and margin proves nothing",
        lambda: Story().waits().closes().hears(NotFound(), "CLOSE"),
        "CLOSING | p1 PENDING >CLOSE",
    ),
    (
        "not found asked after the margin closes",
        lambda: Story().waits().closes().at(MARGIN_OVER).hears(NotFound(), "CLOSE"),
        "CLOSED | p1 CLOSED >QUERY",
    ),
    (
        "not found asked before, told after, proves nothing",
        lambda: Story().waits().closes().at(MARGIN_OVER).hears(NotFound(), "CLOSE", asked_at=EXPIRY),
        "CLOSING | p1 PENDING >CLOSE",
    ),
    ("closed at the channel", lambda: Story().waits().closes().hears(Closed(), "CLOSE"), "CLOSED | p1 CLOSED >QUERY"),
    (
        "already paid makes us ask for the amount",
        lambda: Story().waits().closes().hears(AlreadyPaid(), "CLOSE"),
        "CLOSING | p1 PENDING >CLOSE",
    ),
    (
        "the payer is paying",
        lambda: Story().waits().closes().hears(PayerPaying(), "CLOSE"),
        "CLOSING | p1 PENDING >CLOSE",
    ),
    (
        "a silent close is tried again",
        lambda: Story().waits().closes().hears(Unknown(), "CLOSE"),
        "CLOSING | p1 PENDING >CLOSE",
    ),
    (
        "reversed by the close",
        lambda: Story(close_reverses=True).waits().closes().hears(Reversed(), "CLOSE"),
        "CLOSED | p1 CLOSED< >QUERY",
    ),
    (
        "a store that can be neither asked nor closed ends after the margin",
        lambda: Story(can_query=False, can_close=False).waits().expires().at(MARGIN_OVER).hears(Unknown()),
        "CLOSED | p1 CLOSED",
    ),
    (
        "but not before it",
        lambda: Story(can_query=False, can_close=False).waits().expires().hears(Unknown()),
        "CLOSING | p1 PENDING >CLOSE",
    ),
    ("without an attempt the order closes at once", lambda: Story().expires(), "CLOSED"),
    ("an expiry closes at the channel", lambda: Story().waits().expires(), "CLOSING | p1 PENDING >CLOSE"),
    (
        "an expiry struck early is nothing",
        lambda: Story().waits().tell(CloseAsked(CloseReason.EXPIRED)),
        "PENDING | p1 PENDING >QUERY",
    ),
    (
        "the last query before expiry is a close",
        lambda: Story().waits().at(EXPIRY - SECOND).hears(Waiting()),
        "PENDING | p1 PENDING >CLOSE",
    ),
    (
        "a late watch goes on",
        lambda: Story().waits().closes().hears(Closed(), "CLOSE").takes().hears(NotFound()),
        "CLOSED | p1 CLOSED >QUERY",
    ),
    (
        "a late watch ends with an answer asked after its end",
        lambda: Story().waits().closes().hears(Closed(), "CLOSE").at(WATCH_FOR + EXPIRY).hears(NotFound()),
        "CLOSED | p1 CLOSED",
    ),
    (
        "a late watch is not ended by silence",
        lambda: Story().waits().closes().hears(Closed(), "CLOSE").at(WATCH_FOR + EXPIRY).hears(Unknown()),
        "CLOSED | p1 CLOSED >QUERY",
    ),
    (
        "a late watch is not ended by an answer asked before",
        lambda: (
            Story().waits().closes().hears(Closed(), "CLOSE").at(WATCH_FOR + EXPIRY).hears(NotFound(), asked_at=EXPIRY)
        ),
        "CLOSED | p1 CLOSED >QUERY",
    ),
    (
        "a paid order is not closed",
        lambda: Story().pays().tell(CloseAsked()),
        "PAID | p1 SUCCEEDED* 100-0-0 !ORDER_ALREADY_PAID",
    ),
    # 11 · switching
    (
        "an open attempt stands in the way",
        lambda: Story().waits().asks("p2", method="app"),
        "PENDING | p1 PENDING >QUERY !PAYMENT_IN_PROGRESS",
    ),
    (
        "closed: go on",
        lambda: Story().waits().switches().hears(Closed(), "CLOSE").asks("p2", method="app"),
        "PENDING | p1 CLOSED >QUERY | p2 CREATED >PREPARE",
    ),
    (
        "not found: go on, the old one is watched",
        lambda: Story().waits().switches().hears(NotFound(), "CLOSE").asks("p2", method="app"),
        "PENDING | p1 PENDING~ >QUERY | p2 CREATED >PREPARE",
    ),
    (
        "no answer: in progress",
        lambda: Story().waits().switches().hears(Unknown(), "CLOSE").asks("p2", method="app"),
        "PENDING | p1 PENDING >QUERY !PAYMENT_IN_PROGRESS",
    ),
    (
        "the payer is paying: in progress",
        lambda: Story().waits().switches().hears(PayerPaying(), "CLOSE").asks("p2", method="app"),
        "PENDING | p1 PENDING >QUERY !PAYMENT_IN_PROGRESS",
    ),
    (
        "a kind without close: go on",
        lambda: Story(can_close=False).waits().switches().hears(Waiting(), "QUERY").asks("p2", method="app"),
        "PENDING | p1 PENDING~ >QUERY | p2 CREATED >PREPARE",
    ),
    (
        "paid while switching",
        lambda: Story().waits().switches().hears(paid(), "QUERY").asks("p2", method="app"),
        "PAID | p1 SUCCEEDED* 100-0-0 !ORDER_ALREADY_PAID",
    ),
    (
        "a paid order closes its other attempts",
        lambda: Story().waits().switches().hears(NotFound(), "CLOSE").pays("p2", method="app"),
        "PAID | p1 PENDING~ >CLOSE | p2 SUCCEEDED* 100-0-0",
    ),
    # 13 · the phone only hints
    (
        "a phone's claim only brings the query forward",
        lambda: Story().waits().reports("success_claimed"),
        "PENDING | p1 PENDING >QUERY",
    ),
    # 14 · expiry
    ("nobody pays after expiry", lambda: Story().at(EXPIRY).asks(), "PENDING !ORDER_EXPIRED"),
    (
        "too little time is expired",
        lambda: Story().at(EXPIRY - 60 * SECOND).asks(min_left=120 * SECOND),
        "PENDING !ORDER_EXPIRED",
    ),
    # 15 · asking twice
    ("the same choice is the same payment", lambda: Story().waits().asks("p2"), "PENDING | p1 PENDING >QUERY"),
    (
        "a signed action needs one commit",
        lambda: Story().asks(leased=False, prepared=Ready("{}")),
        "PENDING | p1 PENDING >QUERY",
    ),
    # orders
    ("nobody pays a closed order", lambda: Story().expires().at(EXPIRY).asks(), "CLOSED !ORDER_EXPIRED"),
    (
        "a late worker still tells what it learnt",
        lambda: Story().waits().takes().hears(paid(), owns=False),
        "PAID | p1 SUCCEEDED* 100-0-0",
    ),
    (
        "a late worker's nothing changes nothing",
        lambda: Story().waits().takes().hears(Waiting(), owns=False),
        "PENDING | p1 PENDING >QUERY",
    ),
]


@pytest.mark.parametrize(("story", "then"), [pytest.param(story, then, id=name) for name, story, then in RULES])
def test_rule(story: Callable[[], Story], then: str) -> None:
    assert str(story()) == then


def test_a_phones_claim_makes_the_query_due_now() -> None:
    story = Story().waits()
    before = story.payment().task
    story.reports("success_claimed")
    after = story.payment().task
    assert before is not None
    assert after is not None
    assert before.due_at > story.now >= after.due_at


def test_asking_twice_keeps_the_first_id() -> None:
    story = Story().waits()
    first = story.payment().payment_id
    assert story.asks("p2").last.subject_id == first


def test_an_expired_action_is_a_switch() -> None:
    story = Story().asks().hears(Ready("{}", expires_at=10 * SECOND), "PREPARE").at(20 * SECOND).asks("p2")
    assert story.refused == "PAYMENT_IN_PROGRESS"


def test_close_keeps_trying_until_the_margin() -> None:
    story = Story().waits().expires()
    for _ in range(30):
        story.takes().hears(NotFound(), "CLOSE")
        if str(story).startswith("CLOSED"):
            break
    assert str(story) == "CLOSED | p1 CLOSED >QUERY"
    assert EXPIRY + story.terms.margin <= story.now < EXPIRY + story.terms.margin + 60 * SECOND


def test_a_channel_that_says_paid_and_never_how_much_is_asked_ever_more_slowly() -> None:
    """Its close answers, its query does not. The first questions follow at once, for there is money to be heard of."""
    story, waits = Story().waits().closes(), []
    for _ in range(12):
        task = story.hears(AlreadyPaid(), "CLOSE").payment().task
        assert task is not None
        waits.append((task.due_at - story.now) // SECOND)
        story.takes()
    assert waits[:2] == [1, 1]
    assert waits == sorted(waits)
    assert waits[-1] == 60


def test_what_a_store_gave_back_is_in_the_money_that_it_took() -> None:
    """A store's own currency is known when its success is told, and its refund may be told with it."""
    told = paid(6, "USD", purchase=TOKEN, refunds=(ChannelRefund(6, "T1"),))
    order = Story(**STORE).waits(product_id="tea", token="t").hears(told, "NOTICE").order
    assert order is not None
    assert [(one.amount_minor, one.currency) for one in order.refunds] == [(6, "USD")]
