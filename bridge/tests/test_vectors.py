"""The vectors are fresh, and our own reading of them is what they say."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from paycore_bridge import Plan, StepKind, Target, canonical_json
from paycore_bridge.contract import ErrorCode, Method
from paycore_bridge.declaration import read_table
from paycore_bridge.envelope import BadEnvelope, UsedOnce, open_envelope
from paycore_bridge.keys import KeySet, from_base64url
from paycore_bridge.messages import read_answer, read_call, read_claim
from paycore_bridge.profiles import PROFILES, js_string

from .test_contract import generator

VECTORS = Path(__file__).resolve().parent.parent / "vectors"
NAMES = sorted(path.stem for path in VECTORS.glob("*-*.json"))


def vector(name: str) -> Any:
    return json.loads((VECTORS / f"{name}.json").read_text(encoding="utf-8"))


KEYS = KeySet.from_text(json.dumps(vector("keys")["published"]))


def test_the_files_are_fresh() -> None:
    files = generator().vector_files()
    assert {path.name for path in files} == {path.name for path in VECTORS.glob("*.json")}
    stale = [path.name for path, text in files.items() if path.read_text(encoding="utf-8") != text]
    assert stale == [], "run python bridge/generate.py"


def test_every_target_and_profile_has_a_vector() -> None:
    assert {Target(vector(name)["target"]) for name in NAMES} == set(Target) - {Target.ANY}
    native = [name for name in NAMES if "wires" in vector(name)]
    seen = {profile for name in native for profile in vector(name)["wires"]}
    assert seen == {
        name
        for name, profile in PROFILES.items()
        if set(profile.targets) & {Target.ANDROID, Target.IOS, Target.HARMONY}
    }
    assert {step["kind"] for name in NAMES for step in vector(name)["steps"]} >= set(StepKind) - {StepKind.NONE}


@pytest.mark.parametrize("name", NAMES)
def test_a_vector_opens_and_says_what_it_says(name: str) -> None:
    one = vector(name)
    opened = open_envelope(
        one["envelope"],
        keys=KEYS,
        audience=one["audience"],
        now=one["now_seconds"] * 1_000_000,
        origin=one["origin"],
        take=UsedOnce().take,
    )
    assert opened.plan == Plan.from_json(canonical_json(one["claims"]["plan"]))
    assert [step.params for step in opened.plan.steps] == [step["params"] for step in one["steps"]]
    assert read_call(one["message"]).params["envelope"] == one["envelope"]
    if "claim" in one:
        claim = read_claim(read_answer(one["answer"], Method.PAY).result or {})
        assert read_table(opened.results[claim.source], claim.code).outcome is claim.outcome


@pytest.mark.parametrize("case", vector("refusals"), ids=lambda case: case["name"])
def test_a_refusal_is_refused_with_its_code(case: dict[str, Any]) -> None:
    now, used = case["now_seconds"] * 1_000_000, UsedOnce()
    for jti in case["used"]:
        used.take(jti, until=now + 1, now=now)

    def use() -> None:
        open_envelope(
            case["envelope"], keys=KEYS, audience=case["audience"], now=now, origin=case["origin"], take=used.take
        )

    if case["expect"].get("accepted"):
        use()
        return
    with pytest.raises(BadEnvelope) as caught:
        use()
    assert caught.value.code == case["expect"]["code"]
    assert caught.value.code is ErrorCode[case["expect"]["error"].upper()]


@pytest.mark.parametrize("case", vector("signatures"), ids=lambda case: case["name"])
def test_a_signature_with_zero_bytes_is_one(case: dict[str, Any]) -> None:
    key = KEYS.find(case["kid"])
    assert key is not None
    assert key.verifies(from_base64url(case["signature"]), case["data"].encode())
    assert not key.verifies(from_base64url(case["der"]), case["data"].encode())


def test_every_wire_carries_the_message_and_the_answer_untouched() -> None:
    for name in NAMES:
        one = vector(name)
        for profile, wire in one.get("wires", {}).items():
            assert _inner(wire["native"], one["message"]), (name, profile)
            quoted = js_string(one["answer"])
            nested = json.dumps(quoted)[1:-1]
            assert quoted in wire["answer"] or quoted[1:-1] in wire["answer"] or nested[2:-2] in wire["answer"], (
                name,
                profile,
            )


def _inner(native: str, message: str) -> bool:
    """Whether the message is somewhere in what the app is handed, whatever that wrapped it in."""
    if message in native:
        return True
    if "?d=" in native:
        return from_base64url(native.split("?d=")[1]).decode() == message
    return message in _texts(json.loads(native))


def _texts(plain: Any) -> list[str]:
    if isinstance(plain, str):
        return [plain]
    items = plain.values() if isinstance(plain, dict) else plain if isinstance(plain, list) else ()
    return [text for item in items for text in _texts(item)]


def test_a_literal_is_safe_inside_a_script() -> None:
    text = "</script>\u2028\u2029\"'\\\n二"
    assert json.loads(js_string(text)) == text
    assert not {"</", "\u2028", "\u2029", "\n"} & set(js_string(text))
    assert "</" not in js_string(text)


def test_a_profile_knows_where_it_exists() -> None:
    with pytest.raises(ValueError, match="does not exist on"):
        PROFILES["wk"].wire("m", "a", target=Target.ANDROID)
