"""WeChat Pay through the conformance kit."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from paycore.testing.conformance import Case, ChannelConformance
from paycore_wechatpay import WECHATPAY, WechatPaySimulator


def auth_code(number: int) -> Mapping[str, str]:
    """What a scanner reads from a payer's phone: a fresh code each time."""
    return {"auth_code": f"13{number:016d}"}


OPENID = {"openid": "oUpF8uMuAJO_M2pxb1Q9zNjWeS6o"}


class TestConformance(ChannelConformance):
    @pytest.fixture
    def case(self) -> Case:
        return Case(
            kind=WECHATPAY,
            simulator=WechatPaySimulator,
            inputs={"jsapi": OPENID, "mini_program": OPENID, "codepay": auth_code},
            client={"client_ip": "203.0.113.7"},
        )
