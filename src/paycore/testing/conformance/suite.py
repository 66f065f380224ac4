"""The class that a plugin's tests inherit."""

import pytest

from paycore.testing.conformance.case import Case
from paycore.testing.conformance.checks.actions import Actions
from paycore.testing.conformance.checks.closing import Closing
from paycore.testing.conformance.checks.extras import Extras
from paycore.testing.conformance.checks.identity import Identity
from paycore.testing.conformance.checks.money import ExactMoney
from paycore.testing.conformance.checks.notices import Notices
from paycore.testing.conformance.checks.offered import Offered
from paycore.testing.conformance.checks.quiet import Quiet
from paycore.testing.conformance.checks.refunds import Refunds
from paycore.testing.conformance.checks.replies import Replies
from paycore.testing.conformance.checks.sameness import Sameness
from paycore.testing.conformance.checks.secrets import Secrets
from paycore.testing.conformance.checks.storm import Storms
from paycore.testing.conformance.sealed import Sealed
from paycore.testing.conformance.stand import Stand


class ChannelConformance(
    Identity,
    Quiet,
    ExactMoney,
    Sameness,
    Replies,
    Notices,
    Closing,
    Refunds,
    Secrets,
    Actions,
    Extras,
    Offered,
    Storms,
    metaclass=Sealed,
):
    """Every check of the kit. Inherit it, give `case`, and override nothing else: that is a TypeError."""

    @pytest.fixture
    def case(self) -> Case:
        """The plugin under test; every subclass gives its own."""
        pytest.fail("a class that inherits ChannelConformance gives the fixture `case`")

    @pytest.fixture
    def stand(self, request: pytest.FixtureRequest) -> Stand:
        """The plugin's channel, opened on a fresh simulator of its own."""
        try:
            case = request.getfixturevalue("case")
        except pytest.skip.Exception:
            pytest.fail("the conformance kit is not skipped: a plugin keeps all of it")
        assert isinstance(case, Case), "the fixture `case` gives a Case"
        return Stand(case)
