"""The conformance kit: what every channel plugin has to keep, whatever its channel is like.

    from paycore.testing.conformance import Case, ChannelConformance

    class TestConformance(ChannelConformance):
        @pytest.fixture
        def case(self) -> Case:
            return Case(kind=ACME, simulator=AcmeSimulator)

That is all: inherit one class, give one fixture. What the kit expects cannot be overridden; a case only says what the kit
cannot know (what a payer hands in, which product is bought). A capability that the kind does not declare turns its checks
round: then it must not be there, and must not be offered. `storm(case, seed)` is one more storm than the kit's own few.
"""

import pytest

for _group in ("sealed", "stand", "checks"):
    pytest.register_assert_rewrite(f"paycore.testing.conformance.{_group}")

from paycore.testing.conformance.case import Case  # noqa: E402 - asserts are rewritten first
from paycore.testing.conformance.checks.storm import storm  # noqa: E402
from paycore.testing.conformance.suite import ChannelConformance  # noqa: E402

__all__ = ["Case", "ChannelConformance", "storm"]
