"""The reference shells say what the contract says. They cannot run here; what can be compared is compared."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from paycore_bridge import Target
from paycore_bridge.contract import CLAIMS, VERSION, ErrorCode, Method
from paycore_bridge.envelope import CLOCK_SKEW_SECONDS, MAX_LIFETIME_SECONDS, TYPE
from paycore_bridge.jws import ALGORITHM
from paycore_bridge.rules import BadOrigin, arkweb_permission, checked

SHELLS = Path(__file__).resolve().parent.parent / "shells"
SOURCES = {
    Target.IOS: SHELLS / "ios/PayCoreShell.swift",
    Target.ANDROID: SHELLS / "android/PayCoreShell.kt",
    Target.HARMONY: SHELLS / "harmony/PayCoreShell.ets",
}
NOT_A_SHELLS = {ErrorCode.TIMEOUT, ErrorCode.USER_ACTIVATION_REQUIRED, ErrorCode.USER_DENIED}
"""The page's own, and those of apps that have a sheet of their own."""


@pytest.fixture(params=list(SOURCES), ids=str)
def target(request: pytest.FixtureRequest) -> Target:
    found: Target = request.param
    return found


def test_it_says_that_no_device_has_run_it(target: Target) -> None:
    assert "UNTESTED ON DEVICES" in SOURCES[target].read_text(encoding="utf-8")[:400]


def test_it_has_a_case_for_every_method(target: Target) -> None:
    text = SOURCES[target].read_text(encoding="utf-8")
    assert set(re.findall(r"[\"'](paycore\.[a-z]+)[\"']", text)) >= {method.value for method in Method} | {
        "paycore.event"
    }


def test_it_refuses_with_the_codes_of_the_contract(target: Target) -> None:
    text = SOURCES[target].read_text(encoding="utf-8")
    said = {int(code) for code in re.findall(r"-32\d{3}", text)}
    assert said == {int(code) for code in ErrorCode} - {int(code) for code in NOT_A_SHELLS}


def test_it_takes_one_algorithm_one_type_one_version_and_known_claims(target: Target) -> None:
    text = SOURCES[target].read_text(encoding="utf-8")
    for word in (ALGORITHM, TYPE, VERSION, f"{target}:", "unlisted_code"):
        assert word in text, word
    assert f"iat + {MAX_LIFETIME_SECONDS}" in text
    assert f"iat - {CLOCK_SKEW_SECONDS}" in text
    listed = re.search(r"[\"']v[\"'], [\"']iss[\"'].*?[\])]", text, flags=re.DOTALL)
    assert listed is not None
    assert set(re.findall(r"[\"'](\w+)[\"']", listed.group())) == set(CLAIMS["properties"])


def test_the_seal_is_checked_before_anything_is_read_or_used_up(target: Target) -> None:
    text = SOURCES[target].read_text(encoding="utf-8")
    body = text[text.index("before an SDK is touched") :]
    order = [
        r"paycore-plan\+jws",
        r"\bexp <= iat \+ 300|exp > iat \+ 300|exp <= iat",
        r"contains\(audience\)|audience !in|includes\(this\.audience\)",
        r"exp(?:ired|IRED)|EXPIRED",
        r"replayed|REPLAYED|take\(",
    ]
    places = [match.start() for pattern in order if (match := re.search(pattern, body)) is not None]
    assert len(places) == len(order)
    assert places == sorted(places)


@pytest.mark.parametrize(
    "origins",
    [[], ["*"], ["https://*.example"], ["http://pay.example"], ["https://pay.example/"], ["https://PAY.example"], ["https://pay.example:443"], ["https://"]],
)  # fmt: skip
def test_no_rule_is_made_for_what_is_no_origin(origins: list[str]) -> None:
    with pytest.raises(BadOrigin):
        arkweb_permission(origins)


def test_an_origin_is_listed_once() -> None:
    assert checked(["https://a.example", "https://a.example"]) == ("https://a.example",)
