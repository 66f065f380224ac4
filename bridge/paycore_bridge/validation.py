"""Checks of steps and plans against the JSON Schemas in this package and against those a channel plugin declares."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from typing import Any

from paycore_bridge.canonical import BadJson, canonical_json, parse_json
from paycore_bridge.schema import BadSchema, Check, compile_schema
from paycore_bridge.steps import BadStep, Plan, Step, StepKind, Target

MAX_PARAMS_BYTES = 16 * 1024

# Which parameter names the vendor's surface, for the kinds whose arguments belong to a vendor.
SURFACE: dict[StepKind, str] = {
    StepKind.SDK: "sdk",
    StepKind.JSAPI: "bridge",
    StepKind.MINI_PROGRAM: "host",
}


@dataclass(frozen=True, slots=True)
class StepSchema:
    """What one vendor surface takes on one target: a JSON Schema for the step's `arguments`.

    `surface` is the sdk, bridge or host that the step names. A schema for Target.ANY serves every target that
    has none of its own.
    """

    kind: StepKind
    surface: str
    schema: Mapping[str, Any]
    target: Target = Target.ANY


@dataclass(frozen=True, slots=True)
class StepSchemas:
    """The step schemas one channel plugin declares, compiled once and handed to every check of its plans."""

    declared: tuple[StepSchema, ...]
    _checks: Mapping[tuple[StepKind, str, Target], Check] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        checks: dict[tuple[StepKind, str, Target], Check] = {}
        for one in self.declared:
            key = (one.kind, one.surface, one.target)
            if one.kind not in SURFACE:
                raise BadSchema(f"{one.kind} steps have no vendor arguments to declare")
            if key in checks:
                raise BadSchema(f"{one.kind} {one.surface} for {one.target} is declared twice")
            checks[key] = compile_schema(one.schema)
        object.__setattr__(self, "_checks", checks)

    @classmethod
    def of(cls, declared: Iterable[StepSchema]) -> StepSchemas:
        """Compile a plugin's declarations. Raises BadSchema for one that this package cannot check in full."""
        return cls(tuple(declared))

    def find(self, kind: StepKind, surface: str, target: Target) -> Check | None:
        """The check for this surface on this target, else its check for any target, else None."""
        return self._checks.get((kind, surface, target)) or self._checks.get((kind, surface, Target.ANY))


@cache
def _schema_text(name: str) -> str:
    return files("paycore_bridge").joinpath("schemas", f"{name}.json").read_text(encoding="utf-8")


def schema_of(kind: StepKind) -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of the parameters of this kind of step."""
    schema: dict[str, Any] = json.loads(_schema_text(kind.value))
    return schema


def plan_schema() -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of a stored plan."""
    schema: dict[str, Any] = json.loads(_schema_text("plan"))
    return schema


@cache
def _params_check(kind: StepKind) -> Check:
    return compile_schema(schema_of(kind))


@cache
def _plan_check() -> Check:
    return compile_schema(plan_schema())


def check_step(step: Step, schemas: StepSchemas | None = None) -> None:
    """Raise BadStep, naming the field, unless a shell can run this step.

    Checked: the parameters are the canonical text of an object of at most 16 KiB, they fit the schema of the
    kind, and, when a plugin's schemas are given, the vendor's arguments fit the one declared for this target.
    """
    if len(step.params_json.encode("utf-8", "surrogatepass")) > MAX_PARAMS_BYTES:
        raise BadStep(f"{step.kind} step: parameters are longer than {MAX_PARAMS_BYTES} bytes")
    params = step.params
    if canonical_json(params) != step.params_json:
        raise BadStep(f"{step.kind} step: parameters are not in canonical form")
    _refuse(f"{step.kind} step", _params_check(step.kind), params)
    if schemas is not None and step.kind in SURFACE:
        _check_arguments(step, params, schemas)


def check_plan(plan: Plan, schemas: StepSchemas | None = None) -> None:
    """Raise BadStep, naming step and field, unless the plan can be stored, signed and run."""
    plain = json.loads(plan.to_json())
    _refuse("plan", _plan_check(), plain)
    for index, step in enumerate(plan.steps):
        try:
            check_step(step, schemas)
        except BadStep as error:
            raise BadStep(f"step {index}: {error}") from error


def plain_plan(text: str) -> dict[str, Any]:
    """The plain data of a stored plan, already fitting the plan schema."""
    try:
        plain = parse_json(text)
    except BadJson as error:
        raise BadStep(f"plan: {error}") from error
    _refuse("plan", _plan_check(), plain)
    assert isinstance(plain, dict)
    return plain


def _check_arguments(step: Step, params: Mapping[str, Any], schemas: StepSchemas) -> None:
    surface = params[SURFACE[step.kind]]
    check = schemas.find(step.kind, surface, step.target)
    if check is None:
        raise BadStep(f"{step.kind} step: {surface} is not declared for target {step.target}")
    _refuse(f"{step.kind} step, {surface} on {step.target}", check, params["arguments"])


def _refuse(what: str, check: Check, value: Any) -> None:
    problem = next(check(value), None)
    if problem is not None:
        raise BadStep(f"{what}: {problem}")
