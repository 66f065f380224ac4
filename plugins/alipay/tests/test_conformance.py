"""Alipay through the conformance kit, in key mode and in certificate mode."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import cycle

import pytest

from paycore.testing.conformance import Case, ChannelConformance
from paycore_alipay import ALIPAY
from paycore_alipay.simulator import AlipaySimulator, KeyRing

from .support import BUYER

INPUTS: dict[str, Mapping[str, str] | Callable[[int], Mapping[str, str]]] = {
    "jsapi": {"buyer_open_id": BUYER},
    "mini_program": {"buyer_open_id": "074a1CcTG1LelxKe4xQC0zgNdId0nxi95b5lsNpazWYoCo5"},
    "barcode": lambda number: {"auth_code": f"28{number:016d}"},
}


RINGS = cycle([KeyRing() for _ in range(4)])
"""Keys for the simulators, taken in turn: two that stand beside each other never share theirs."""


def simulator() -> AlipaySimulator:
    return AlipaySimulator(ring=next(RINGS))


class CertifiedSimulator(AlipaySimulator):
    """An Alipay whose merchants are all in certificate mode."""

    def settings(self, base_url: str, *given: object, **more: object) -> Mapping[str, str]:
        return super().settings(base_url, *given, **{**more, "by_certificates": True})  # type: ignore[arg-type]


class TestConformance(ChannelConformance):
    @pytest.fixture
    def case(self) -> Case:
        return Case(kind=ALIPAY, simulator=simulator, inputs=INPUTS)


class TestConformanceByCertificates(ChannelConformance):
    @pytest.fixture
    def case(self) -> Case:
        return Case(kind=ALIPAY, simulator=lambda: CertifiedSimulator(ring=next(RINGS)), inputs=INPUTS)
