"""A page token is good for one app and one question, and nobody else can make one."""

from __future__ import annotations

import pytest

from paycore.core.refusals import Reason, Refused
from paycore.rpc.pages import Pages
from paycore.v1 import order_pb2, refund_pb2

PAGES = Pages((b"k" * 32,))
MARK = [1_800_000_000_000_000, "or01"]


def question(token: str = "", page_size: int = 0) -> order_pb2.ListOrdersRequest:
    return order_pb2.ListOrdersRequest(states=[order_pb2.Order.STATE_PAID], page_token=token, page_size=page_size)


def test_a_token_leads_on() -> None:
    token = PAGES.token("ap1", question(), MARK)
    assert PAGES.mark("ap1", question(token)) == MARK


def test_the_size_of_the_page_may_change_on_the_way() -> None:
    token = PAGES.token("ap1", question(page_size=10), MARK)
    assert PAGES.mark("ap1", question(token, page_size=20)) == MARK


def test_the_first_page_has_no_token() -> None:
    assert PAGES.mark("ap1", question()) is None


def test_no_size_means_the_usual_one() -> None:
    assert PAGES.size(question()) == 50
    assert PAGES.size(question(page_size=7)) == 7


TOKEN = PAGES.token("ap1", question(), MARK)
FORGED = {
    "cut": TOKEN[:-4],
    "cut by one": TOKEN[:-1],
    "longer": TOKEN + "AAAA",
    "not base64": "====",
    "empty content": "AAAAAAAAAAAAAAAAAAAAAA==",
    "of another key": Pages((b"x" * 32,)).token("ap1", question(), MARK),
    "of another app": PAGES.token("ap2", question(), MARK),
    "of other filters": PAGES.token("ap1", order_pb2.ListOrdersRequest(), MARK),
    "of another method": PAGES.token("ap1", refund_pb2.ListRefundsRequest(), MARK),
    "the same bytes spelt otherwise": TOKEN[:-2] + chr(ord(TOKEN[-2]) + 1) + "=",
    "one letter changed": TOKEN[:-6] + ("A" if TOKEN[-6] != "A" else "B") + TOKEN[-5:],
}


@pytest.mark.parametrize("token", FORGED.values(), ids=FORGED.keys())
def test_any_other_token_is_refused(token: str) -> None:
    with pytest.raises(Refused) as refused:
        PAGES.mark("ap1", question(token))
    assert refused.value.reason is Reason.BAD_PAGE_TOKEN
    assert refused.value.fields == ("page_token",)


def test_a_token_outlives_the_rotation_of_the_key() -> None:
    rotated = Pages((b"n" * 32, b"k" * 32))
    assert rotated.mark("ap1", question(TOKEN)) == MARK
    assert rotated.token("ap1", question(), MARK) != TOKEN
