"""WeChat Pay through the conformance kit, and through more of its storms.

WECHATPAY_STORMS=500 runs so many of them; so many were, once.
"""

from __future__ import annotations

import os
from collections.abc import Mapping

import pytest

from paycore.testing.conformance import Case, ChannelConformance, storm
from paycore_wechatpay import WECHATPAY, WechatPaySimulator

STORMS = int(os.environ.get("WECHATPAY_STORMS", "50"))


def auth_code(number: int) -> Mapping[str, str]:
    """What a scanner reads from a payer's phone: a fresh code each time."""
    return {"auth_code": f"13{number:016d}"}


OPENID = {"openid": "oUpF8uMuAJO_M2pxb1Q9zNjWeS6o"}
CASE = Case(
    kind=WECHATPAY,
    simulator=WechatPaySimulator,
    inputs={"jsapi": OPENID, "mini_program": OPENID, "codepay": auth_code},
    client={"client_ip": "203.0.113.7"},
)


class TestConformance(ChannelConformance):
    @pytest.fixture
    def case(self) -> Case:
        return CASE


@pytest.mark.parametrize("seed", range(100, 100 + STORMS))
async def test_after_every_storm_the_books_agree(seed: int) -> None:
    await storm(CASE, seed)
