"""Our validator agrees with an independent one on every schema we ship."""

from __future__ import annotations

import json
from importlib.resources import files
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator  # type: ignore[import-untyped]

from paycore_bridge import Step, StepKind, schema_of
from paycore_bridge.schema import compile_schema
from paycore_bridge.validation import plan_schema

from .test_steps import BAD_CONTENTS, CONTENTS, a_plan

SCHEMAS: dict[str, dict[str, Any]] = {kind.value: schema_of(kind) for kind in StepKind} | {"plan": plan_schema()}


def test_every_shipped_schema_is_used_and_valid() -> None:
    shipped = {path.name for path in files("paycore_bridge").joinpath("schemas").iterdir()}
    assert shipped == {f"{name}.json" for name in SCHEMAS}
    for schema in SCHEMAS.values():
        Draft202012Validator.check_schema(schema)


def fits(schema: dict[str, Any], value: object) -> bool:
    """Whether ours says that the value fits."""
    return next(compile_schema(schema)(value), None) is None


def agree(schema: dict[str, Any], value: object) -> bool:
    """Whether the value fits, both validators having said the same."""
    ours = fits(schema, value)
    assert ours == Draft202012Validator(schema).is_valid(value)
    return ours


def mutations(value: Any) -> st.SearchStrategy[Any]:
    """The value with one thing changed somewhere: a field dropped, added, or given another value."""
    other = st.sampled_from(
        [None, True, False, 0, 1, -1, 10, 11, "", "a", "A", "x" * 70, [], {}, [1, 1], [True, 1], {"a": 1}]
    )
    options: list[st.SearchStrategy[Any]] = [other]
    if isinstance(value, dict):
        options += [within(name, inner, value) for name, inner in value.items()]
        options += [st.just({key: value[key] for key in value if key != name}) for name in value]
        options.append(other.map(lambda extra: value | {"extra": extra}))
    if isinstance(value, list):
        options.append(st.just(value + value))
        options += [inside(index, inner, value) for index, inner in enumerate(value)]
    if isinstance(value, str):
        options.append(st.sampled_from([value + "é", value + " ", value.upper(), value[1:], value * 300]))
    return st.one_of(options)


def within(name: str, inner: Any, value: dict[str, Any]) -> st.SearchStrategy[Any]:
    """The object with one field mutated."""
    return mutations(inner).map(lambda new: value | {name: new})


def inside(index: int, inner: Any, value: list[Any]) -> st.SearchStrategy[Any]:
    """The array with one item mutated."""
    return mutations(inner).map(lambda new: [*value[:index], new, *value[index + 1 :]])


SAMPLES = [(kind.value, json.loads(json.dumps(a_plan().steps[index].params))) for index, kind in enumerate(CONTENTS)]
SAMPLES.append(("plan", json.loads(a_plan().to_json())))


@pytest.mark.parametrize(("name", "sample"), SAMPLES, ids=[name for name, _ in SAMPLES])
def test_both_validators_say_the_same_about_mutated_samples(name: str, sample: Any) -> None:
    assert agree(SCHEMAS[name], sample)
    verdicts: set[bool] = set()

    @settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
    @given(mutations(sample))
    def compare(mutated: Any) -> None:
        verdicts.add(agree(SCHEMAS[name], mutated))

    compare()
    assert False in verdicts


def test_both_validators_say_the_same_about_the_bad_steps() -> None:
    for words, content, _ in BAD_CONTENTS:
        params = Step.of(content).params
        if isinstance(params.get("url"), str) and params["url"].endswith("\n"):
            continue  # the independent validator's `$` lets a final line feed pass; ours refuses it, as ECMAScript does
        assert not agree(SCHEMAS[content.kind.value], params), words


@given(st.lists(st.sampled_from([0, False, 1, True, "1", None, [0], [False], {"a": 1}, {"a": True}]), max_size=4))
def test_sameness_tells_numbers_from_booleans_at_any_depth(values: list[object]) -> None:
    # Not against jsonschema: it sorts before it compares neighbours and so misses the second [0] of [[0], [False], [0]].
    are_different = len({json.dumps(value, sort_keys=True) for value in values}) == len(values)
    assert fits({"type": "array", "uniqueItems": True}, values) == are_different
    for value in values:
        agree({"enum": [1, [False], {"a": True}]}, value)
        agree({"const": 0}, value)
