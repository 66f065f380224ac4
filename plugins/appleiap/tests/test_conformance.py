"""Apple in-app purchase through the conformance kit."""

from __future__ import annotations

import pytest

from paycore.testing.conformance import Case, ChannelConformance
from paycore_appleiap import APPLEIAP, AppStoreSimulator


class TestConformance(ChannelConformance):
    @pytest.fixture
    def case(self) -> Case:
        return Case(kind=APPLEIAP, simulator=AppStoreSimulator, product_id="com.example.game.gold100")
