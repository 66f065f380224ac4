"""What a channel declares to the bridge, and the total reading of codes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from paycore_bridge import BadSchema, BadStep, ClientOutcome, Plan, Qr, SdkCall, Step, StepKind, StepSchema, Target
from paycore_bridge.declaration import UNLISTED, ChannelBridge, Meaning, ResultTable, read_table, source_of

TABLE = ResultTable.of(
    StepKind.JSAPI,
    "Wallet",
    {"pay:ok": ClientOutcome.SUCCESS_CLAIMED, "6002": Meaning(ClientOutcome.UNKNOWN, "network")},
    containing={"cancel": ClientOutcome.CANCELLED, "fail": Meaning(ClientOutcome.FAILED, "wallet")},
)
BRIDGE = ChannelBridge.of(
    "shop",
    schemas=[StepSchema(StepKind.SDK, "shop", {"type": "object", "required": ["order"]}, Target.ANDROID)],
    results=[ResultTable.of(StepKind.SDK, "shop", {"0": ClientOutcome.SUCCESS_CLAIMED}), TABLE],
    opens=["shoppay", "pay.shop.example"],
)


@pytest.mark.parametrize(
    ("code", "meaning"),
    [
        ("pay:ok", Meaning(ClientOutcome.SUCCESS_CLAIMED)),
        ("pay:ok ", UNLISTED),
        ("6002", Meaning(ClientOutcome.UNKNOWN, "network")),
        (6002, Meaning(ClientOutcome.UNKNOWN, "network")),
        ("pay:fail cancel", Meaning(ClientOutcome.CANCELLED)),
        ("pay:fail (no money)", Meaning(ClientOutcome.FAILED, "wallet")),
        ("", UNLISTED),
        (None, UNLISTED),
        (True, UNLISTED),
        ({"code": 0}, UNLISTED),
    ],
)
def test_a_code_means_one_thing(code: object, meaning: Meaning) -> None:
    assert TABLE.read(code) == meaning
    assert read_table(TABLE.as_json(), code) == meaning


@given(st.one_of(st.text(), st.integers(), st.none(), st.booleans(), st.floats(), st.binary()))
def test_every_code_has_a_meaning_and_success_is_only_what_is_listed(code: object) -> None:
    meaning = TABLE.read(code)
    assert meaning == read_table(TABLE.as_json(), code)
    assert (meaning.outcome is ClientOutcome.SUCCESS_CLAIMED) == (code == "pay:ok")


def test_a_source_nobody_lists_is_unknown() -> None:
    assert BRIDGE.read("sdk:other", "0") == UNLISTED
    assert BRIDGE.read("sdk:shop", "0").outcome is ClientOutcome.SUCCESS_CLAIMED


def test_only_the_tables_of_the_plan_travel() -> None:
    step = Step.of(SdkCall("shop", {"order": "1"}), target=Target.ANDROID)
    plan = Plan.of(step, Step.of(Qr("q")))
    BRIDGE.check(plan)
    assert source_of(step) == "sdk:shop"
    assert source_of(plan.steps[1]) is None
    assert BRIDGE.tables_of(plan) == {"sdk:shop": {"is": {"0": ["success_claimed"]}}}
    with pytest.raises(BadStep, match="order is missing"):
        BRIDGE.check(Plan.of(Step.of(SdkCall("shop", {"Order": "1"}), target=Target.ANDROID)))


@pytest.mark.parametrize("opened", ["javascript", "file", "intent", "JAVASCRIPT", "a b", ""])
def test_a_channel_opens_no_dangerous_scheme(opened: str) -> None:
    with pytest.raises(BadSchema, match="may not open"):
        ChannelBridge.of("shop", opens=[opened])


def test_a_declaration_is_whole() -> None:
    schema = StepSchema(StepKind.SDK, "shop", {"type": "object"})
    with pytest.raises(BadSchema, match="what the codes of sdk:shop mean"):
        ChannelBridge.of("shop", schemas=[schema])
    with pytest.raises(BadSchema, match="twice"):
        ChannelBridge.of("shop", results=[TABLE, TABLE])
    with pytest.raises(BadSchema, match="no result codes"):
        ResultTable.of(StepKind.QR, "x", {})
    with pytest.raises(BadSchema, match="snake"):
        ResultTable.of(StepKind.SDK, "x", {"1": Meaning(ClientOutcome.FAILED, "Not So")})
    with pytest.raises(BadSchema, match="empty"):
        ResultTable.of(StepKind.SDK, "x", {}, containing={"": ClientOutcome.SUCCESS_CLAIMED})
    with pytest.raises(BadSchema, match="more than"):
        ResultTable.of(StepKind.SDK, "x", {str(code): ClientOutcome.FAILED for code in range(200)})
