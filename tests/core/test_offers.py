"""What offers take off a debt, and what a payment holds of them: a rule is a line."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from paycore.core.decide import decide
from paycore.core.facts import OrderAsked, PaymentAsked
from paycore.core.offers import (
    MOST_GIVEN,
    Deals,
    Offer,
    OfferClaim,
    OfferKind,
    Payer,
    Taken,
    holds,
    price,
    problem_with,
)
from paycore.core.order import Details, Given, Order, Payment, PaymentState, SurplusPolicy
from paycore.core.terms import HOUR, Terms

FIXED, PERCENT = OfferKind.FIXED, OfferKind.PERCENT
NEW = Payer(is_new=True)


def offer(offer_id: str = "a", **terms: Any) -> Offer:
    """An offer of 10.00 off, unless told otherwise."""
    kind = PERCENT if "basis_points" in terms else FIXED
    amount = {} if kind is PERCENT else {"amount_minor": 1000}
    return Offer(offer_id, "优惠", "An offer", kind, **{"currency": "CNY", **amount, **terms})


def order(amount_minor: int = 10_000, **more: Any) -> Order:
    """A debt of 100.00."""
    fact = OrderAsked("or1", "ap", "m-1", amount_minor, "CNY", Details("tea"), HOUR, SurplusPolicy.AUTO_REFUND)
    return replace(decide(None, fact, 0).order, **more)


def cost(
    *offers: Offer, amount_minor: int = 10_000, method: str = "qr", least: int = 1, now: int = 0, **deals: Any
) -> list[tuple[str, int]]:
    """What is given for one method, as names and amounts."""
    found = price(order(amount_minor), Deals(offers, **deals), "alipay", method, least_minor=least, now=now)
    return [(one.offer_id, one.amount_minor) for one in found]


@pytest.mark.parametrize(
    ("offers", "asked", "given_off"),
    [
        # what each kind takes off
        ([offer()], {}, [("a", 1000)]),
        ([offer(basis_points=1000)], {}, [("a", 1000)]),
        ([offer(basis_points=1)], {"amount_minor": 9_999}, []),
        ([offer(basis_points=3333)], {"amount_minor": 101}, [("a", 33)]),
        ([offer(basis_points=5000, most_minor=800)], {}, [("a", 800)]),
        # whom it is for
        ([offer(currency="USD")], {}, []),
        ([offer(threshold_minor=10_000)], {}, [("a", 1000)]),
        ([offer(threshold_minor=10_001)], {}, []),
        ([offer(methods=("alipay",))], {}, [("a", 1000)]),
        ([offer(methods=("alipay.qr",))], {}, [("a", 1000)]),
        ([offer(methods=("alipay.app", "wechatpay"))], {}, []),
        # when
        ([offer(starts_at=5)], {"now": 4}, []),
        ([offer(starts_at=5)], {"now": 5}, [("a", 1000)]),
        ([offer(ends_at=5)], {"now": 4}, [("a", 1000)]),
        ([offer(ends_at=5)], {"now": 5}, []),
        # who is new
        ([offer(is_first_time=True)], {}, []),
        ([offer(is_first_time=True)], {"payer": NEW}, [("a", 1000)]),
        # what is left of it
        ([offer(budget_minor=3000)], {"taken": {"a": Taken(2000, 2)}}, [("a", 1000)]),
        ([offer(budget_minor=3000)], {"taken": {"a": Taken(2001, 2)}}, []),
        ([offer(quota=3)], {"taken": {"a": Taken(2000, 2)}}, [("a", 1000)]),
        ([offer(quota=3)], {"taken": {"a": Taken(2000, 3)}}, []),
        # what must be left to pay
        ([offer(amount_minor=9_999)], {}, [("a", 9_999)]),
        ([offer(amount_minor=10_000)], {}, []),
        ([offer(amount_minor=9_951)], {"least": 50}, []),
        ([offer(amount_minor=9_950)], {"least": 50}, [("a", 9_950)]),
        # several: the best of those that stand alone, then those that stack, each on what is left
        ([offer("a"), offer("b", amount_minor=2000)], {}, [("b", 2000)]),
        ([offer("b"), offer("a")], {}, [("a", 1000)]),
        ([offer("a"), offer("b", basis_points=5000, stacks=True)], {}, [("a", 1000), ("b", 4500)]),
        ([offer("b", stacks=True), offer("a", basis_points=1000, stacks=True)], {}, [("a", 1000), ("b", 1000)]),
        ([offer("a", amount_minor=9_000), offer("b", amount_minor=1_000, stacks=True)], {}, [("a", 9_000)]),
        ([offer("a", amount_minor=20_000), offer("b")], {}, [("b", 1000)]),
    ],
)
def test_an_offer_takes_off_what_its_terms_say(
    offers: list[Offer], asked: dict[str, Any], given_off: list[tuple[str, int]]
) -> None:
    assert cost(*offers, **asked) == given_off


def test_a_payment_is_given_so_many_offers_that_a_payer_can_read_them() -> None:
    many = [offer(f"s{number}", amount_minor=1, stacks=True) for number in range(20)]
    assert len(cost(*many)) == MOST_GIVEN


AMOUNTS = st.integers(1, 2_000_000)
OFFERS = st.builds(
    offer,
    st.sampled_from("abcdef"),
    amount_minor=AMOUNTS,
    stacks=st.booleans(),
    budget_minor=st.just(0) | AMOUNTS,
    quota=st.integers(0, 3),
    threshold_minor=st.just(0) | AMOUNTS,
) | st.builds(
    offer,
    st.sampled_from("ghijkl"),
    basis_points=st.integers(1, 9_999),
    most_minor=st.just(0) | AMOUNTS,
    stacks=st.booleans(),
)


@given(st.lists(OFFERS, max_size=8, unique_by=lambda one: one.offer_id), AMOUNTS, st.integers(1, 500))
def test_whatever_is_offered_enough_is_left_to_pay_and_no_offer_gives_twice(
    offers: list[Offer], amount_minor: int, least: int
) -> None:
    found = price(order(amount_minor), Deals(tuple(offers)), "alipay", "qr", least_minor=least, now=0)
    left = amount_minor - sum(one.amount_minor for one in found)
    assert not found or left >= max(least, 1)
    assert all(one.amount_minor > 0 for one in found)
    assert len({one.offer_id for one in found}) == len(found)
    by_id = {one.offer_id: one for one in offers}
    assert sum(not by_id[one.offer_id].stacks for one in found) <= 1
    assert all(not by_id[g.offer_id].budget_minor or g.amount_minor <= by_id[g.offer_id].budget_minor for g in found)


@pytest.mark.parametrize(
    ("terms", "problem"),
    [
        ({}, ""),
        ({"basis_points": 1000}, ""),
        ({"offer_id": "a b"}, "Its id is not"),
        ({"offer_id": ""}, "Its id is not"),
        ({"title_zh": ""}, "It needs a title"),
        ({"title_en": "x" * 65}, "It needs a title"),
        ({"currency": "XXX"}, "Its currency"),
        ({"amount_minor": 0}, "It takes nothing off."),
        ({"amount_minor": -1}, "An amount of it"),
        ({"quota": -1}, "An amount of it"),
        ({"basis_points": 10_000, "kind": PERCENT}, "It takes off nothing, or everything"),
        ({"basis_points": 0, "kind": PERCENT}, "It takes off nothing, or everything"),
        ({"methods": ("Alipay",)}, "It names something"),
        ({"methods": ("alipay.qr.x",)}, "It names something"),
        ({"starts_at": 5, "ends_at": 5}, "It ends before it begins."),
    ],
)
def test_what_is_no_offer_is_told_in_a_sentence(terms: dict[str, Any], problem: str) -> None:
    found = problem_with(replace(offer(), **terms))
    assert found.startswith(problem) if problem else found == ""


# ---------------------------------------------------------------------------------------------- what is held


def _payment(state: PaymentState, **more: Any) -> Payment:
    made = Payment("py1", "alipay", "qr", "ac", "live", "M", 9_000, "CNY", Terms(), 0, 0, HOUR, state=state)
    return replace(made, **more)


@pytest.mark.parametrize(
    ("payment", "held"),
    [
        (_payment(PaymentState.CREATED), True),
        (_payment(PaymentState.PENDING), True),
        (_payment(PaymentState.UNKNOWN), True),
        (_payment(PaymentState.FAILED), False),
        (_payment(PaymentState.CLOSED), False),
        (_payment(PaymentState.SUCCEEDED, is_effective=True, captured_minor=9_000), True),
        (_payment(PaymentState.SUCCEEDED, is_effective=True, captured_minor=9_000, refunded_minor=9_000), True),
        (_payment(PaymentState.SUCCEEDED, captured_minor=9_000), True),
        (_payment(PaymentState.SUCCEEDED, captured_minor=9_000, refunded_minor=8_999), True),
        (_payment(PaymentState.SUCCEEDED, captured_minor=9_000, refunded_minor=9_000), False),
    ],
)
def test_a_payment_holds_what_it_was_given_while_it_is_worth_something(payment: Payment, held: bool) -> None:
    assert holds(payment) is held


def test_what_an_open_attempt_holds_is_free_for_the_one_that_takes_its_place() -> None:
    """A payer who taps twice, or changes their mind, does not stand in their own way."""
    last = offer(quota=1)
    fact = PaymentAsked("py1", "alipay", "qr", "ac", "live", "M", Terms(), HOUR, offers=(Given("a", 1000, quota=1),))
    held = decide(order(), fact, 0).order
    taken = {"a": Taken(1000, 1)}
    deals = Deals((last,), taken)
    assert [one.amount_minor for one in price(held, deals, "alipay", "app", least_minor=1, now=0)] == [1000]
    assert price(order(), deals, "alipay", "qr", least_minor=1, now=0) == (), "but for another order it is gone"
    [payment] = held.payments
    superseded = replace(held, payments=(replace(payment, is_superseded=True),))
    assert price(superseded, deals, "alipay", "app", least_minor=1, now=0) == (), "the old one may still be paid"


def test_the_channel_is_asked_for_what_is_left_and_each_offer_is_claimed_once() -> None:
    given_off = (Given("a", 1000, budget_minor=5000), Given("b", 500))
    fact = PaymentAsked("py1", "alipay", "qr", "ac", "live", "M", Terms(), HOUR, offers=given_off)
    decision = decide(order(merchant_payer_no="u1"), fact, 0)
    [payment] = decision.order.payments
    assert (payment.amount_minor, payment.offers) == (8_500, given_off)
    claims = [claim for claim in decision.claims if isinstance(claim, OfferClaim)]
    assert [(one.given.offer_id, one.is_held, one.is_guarded, one.payer_no) for one in claims] == [
        ("a", True, True, "u1"),
        ("b", True, True, "u1"),
    ]
    assert decide(decision.order, fact, 1).claims == (), "told twice, it is claimed once"


def test_another_price_is_another_attempt() -> None:
    """What an offer took off yesterday is not what the payer is asked for now."""
    cheap = PaymentAsked("py1", "alipay", "qr", "ac", "live", "M", Terms(), HOUR, offers=(Given("a", 1000),))
    held = decide(order(), cheap, 0).order
    assert decide(held, replace(cheap, payment_id="py2"), 0).subject_id == "py1"
    with pytest.raises(Exception, match="still open"):
        decide(held, replace(cheap, payment_id="py2", offers=()), 0)
