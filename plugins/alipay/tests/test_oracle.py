"""Held against what python-alipay-sdk said of the same bytes (see oracle.py), in both directions."""

from __future__ import annotations

import pytest

from paycore.channel import Paid, RawNotice
from paycore_alipay import signing, wire

from .questions import VectorAlipay, channels, question
from .support import NOW, PAYMENT, vectors

KEPT = vectors("oracle")


def test_we_still_sign_the_bytes_that_the_oracle_judged() -> None:
    assert question() == KEPT["question"]


def test_the_oracle_verified_all_of_it_and_nothing_that_was_spoilt() -> None:
    answer = KEPT["answer"]
    assert len(answer["ours"]) == 16
    assert set(answer["ours"].values()) == {True}
    assert set(answer["spoilt"].values()) == {False}
    assert len(answer["notices"]) == 3
    assert set(answer["notices"].values()) == {True}
    assert len(answer["answers"]) == 6
    assert set(answer["answers"].values()) == {True}


@pytest.mark.parametrize("way", ["app", "wap", "page"])
def test_what_the_oracle_signs_is_taken_by_our_alipay(way: str) -> None:
    alipay, order = VectorAlipay(), KEPT["answer"]["orders"][way]
    opened = alipay.open_app(order, NOW) if way == "app" else alipay.open_page(f"https://x/gateway.do?{order}", NOW)
    assert opened == PAYMENT
    assert alipay.books.trades[PAYMENT].amount_minor == 12800


def test_what_the_oracle_signs_as_alipay_is_believed() -> None:
    words = KEPT["question"]["notice"] | {"sign_type": "RSA2", "sign": KEPT["answer"]["signed_notice"]}
    raw = RawNotice("POST", "/", {}, wire.write_form(words).encode())
    [about] = channels()["key"].read_notice(raw, NOW).findings
    assert isinstance(about.finding, Paid)


def test_in_certificate_mode_the_oracle_signs_what_we_sign() -> None:
    order = wire.texts(wire.read_form(KEPT["answer"]["orders"]["app by certificates"].encode()))
    keys = channels()["certificates"]._active()
    assert keys.certificates.items() <= order.items()
    assert signing.sign(keys.private, signing.request_text(order).encode()) == order["sign"]
