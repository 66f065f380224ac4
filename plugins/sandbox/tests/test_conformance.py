"""The sandbox through the conformance kit, whose reference it is."""

from __future__ import annotations

import pytest

from paycore.testing.conformance import Case, ChannelConformance
from paycore_sandbox import SANDBOX, SandboxSimulator


class TestConformance(ChannelConformance):
    @pytest.fixture
    def case(self) -> Case:
        return Case(kind=SANDBOX, simulator=SandboxSimulator)
