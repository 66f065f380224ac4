"""What a channel plugin declares to the bridge: its steps' schemas, what its SDKs' codes mean, which apps it opens.

A plugin makes one `ChannelBridge` and hands it over with its kind. There is no registry here: whoever seals,
checks or explains a plan is given the declarations.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeAlias

from paycore_bridge.outcomes import ClientOutcome
from paycore_bridge.schema import BadSchema
from paycore_bridge.steps import Plan, Step, StepKind
from paycore_bridge.validation import SURFACE, StepSchema, StepSchemas

MAX_CODES = 128


class Meaning(NamedTuple):
    """What a raw code claims, and a word for the engineer who reads the log (network, duplicate, user)."""

    outcome: ClientOutcome
    reason: str = ""


UNLISTED = Meaning(ClientOutcome.UNKNOWN, "unlisted_code")
"""What every code means that no table lists. Never a success."""

Meant: TypeAlias = ClientOutcome | Meaning
_REASON = re.compile(r"[a-z][a-z0-9_]{0,39}")
_SCHEME = re.compile(r"[a-z0-9][a-z0-9+.-]{0,63}")
_FORBIDDEN_SCHEMES = frozenset(
    {"about", "blob", "content", "data", "file", "filesystem", "intent", "javascript", "view-source"}
)


@dataclass(frozen=True, slots=True)
class ResultTable:
    """From the raw codes of one vendor surface to outcomes. Total: what is not listed is UNKNOWN.

    `exact` is asked first, then the parts of `containing` in their order. A code is compared as text, since some
    surfaces answer 9000 and some "9000".
    """

    kind: StepKind
    surface: str
    exact: Mapping[str, Meaning]
    containing: tuple[tuple[str, Meaning], ...] = ()

    @classmethod
    def of(
        cls,
        kind: StepKind,
        surface: str,
        codes: Mapping[str, Meant],
        *,
        containing: Mapping[str, Meant] | None = None,
    ) -> ResultTable:
        """The table of one surface (the sdk, bridge or host that its steps name). Raises BadSchema for a bad one."""
        parts = tuple((part, _meaning(meant)) for part, meant in (containing or {}).items())
        table = cls(kind, surface, {code: _meaning(meant) for code, meant in codes.items()}, parts)
        _check_table(table)
        return table

    @property
    def source(self) -> str:
        """How results of this surface name it, such as sdk:alipay."""
        return f"{self.kind}:{self.surface}"

    def read(self, code: object) -> Meaning:
        """What this code claims. Every value has an answer."""
        text = str(code) if isinstance(code, str | int) and not isinstance(code, bool) else ""
        found = self.exact.get(text)
        if found is not None:
            return found
        return next((meaning for part, meaning in self.containing if part in text), UNLISTED)

    def as_json(self) -> dict[str, Any]:
        """The table as it travels in an envelope, so that a shell reads codes without knowing any channel."""
        plain: dict[str, Any] = {"is": {code: _plain(meaning) for code, meaning in self.exact.items()}}
        if self.containing:
            plain["has"] = [[part, *_plain(meaning)] for part, meaning in self.containing]
        return plain


def _meaning(meant: Meant) -> Meaning:
    return Meaning(meant) if isinstance(meant, ClientOutcome) else meant


def _plain(meaning: Meaning) -> list[str]:
    return [meaning.outcome.value, meaning.reason] if meaning.reason else [meaning.outcome.value]


def _check_table(table: ResultTable) -> None:
    if table.kind not in SURFACE and table.kind is not StepKind.STORE_PURCHASE:
        raise BadSchema(f"{table.kind} steps have no result codes")
    if len(table.exact) + len(table.containing) > MAX_CODES:
        raise BadSchema(f"{table.source} lists more than {MAX_CODES} codes")
    parts = [part for part, _ in table.containing]
    if any(not 1 <= len(text) <= 128 for text in [*table.exact, *parts]):
        raise BadSchema(f"{table.source} lists a code that is empty or too long")
    for meaning in [*table.exact.values(), *(meaning for _, meaning in table.containing)]:
        if meaning.reason and _REASON.fullmatch(meaning.reason) is None:
            raise BadSchema(f"{table.source}: reason {meaning.reason!r} is not lower snake case")


@dataclass(frozen=True, slots=True)
class ChannelBridge:
    """Everything that the bridge is told of one channel.

    `opens` are the schemes and hosts that its links may open (alipays, mqpay.example); a shell opens no other.
    `schemas` fit the vendor's arguments per surface and target, `results` read what the surfaces answer.
    """

    channel: str
    schemas: StepSchemas
    results: tuple[ResultTable, ...] = ()
    opens: tuple[str, ...] = ()
    _tables: Mapping[str, ResultTable] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        tables = {table.source: table for table in self.results}
        if len(tables) != len(self.results):
            raise BadSchema(f"{self.channel} declares the results of one surface twice")
        unread = {f"{one.kind}:{one.surface}" for one in self.schemas.declared} - set(tables)
        if unread:
            raise BadSchema(f"{self.channel} does not say what the codes of {min(unread)} mean")
        for opened in self.opens:
            if _SCHEME.fullmatch(opened) is None or opened in _FORBIDDEN_SCHEMES:
                raise BadSchema(f"{self.channel} may not open {opened!r}")
        object.__setattr__(self, "_tables", tables)

    @classmethod
    def of(
        cls,
        channel: str,
        *,
        schemas: Iterable[StepSchema] = (),
        results: Iterable[ResultTable] = (),
        opens: Iterable[str] = (),
    ) -> ChannelBridge:
        """One channel's declaration. Raises BadSchema when a surface has steps but no results, or is declared twice."""
        return cls(channel, StepSchemas.of(schemas), tuple(results), tuple(opens))

    def check(self, plan: Plan) -> None:
        """Raise BadStep, naming step and field, unless every step fits what this channel declares."""
        plan.check(self.schemas)

    def table(self, source: str) -> ResultTable | None:
        """The result table of this source, or None."""
        return self._tables.get(source)

    def read(self, source: str, code: object) -> Meaning:
        """What a surface's code claims; UNKNOWN for a surface or a code that this channel does not list."""
        table = self._tables.get(source)
        return UNLISTED if table is None else table.read(code)

    def tables_of(self, plan: Plan) -> dict[str, Any]:
        """The tables that a shell needs for the steps of this plan, in the form in which they travel."""
        sources = dict.fromkeys(source for step in plan.steps if (source := source_of(step)) is not None)
        return {source: self._tables[source].as_json() for source in sources if source in self._tables}


def source_of(step: Step) -> str | None:
    """How a result of this step names where it came from; None for kinds whose end no code tells."""
    name = "store" if step.kind is StepKind.STORE_PURCHASE else SURFACE.get(step.kind)
    return None if name is None else f"{step.kind}:{step.params[name]}"


def read_table(plain: Mapping[str, Any], code: object) -> Meaning:
    """What a code claims by a table in its travelling form. The reading that every shell does, in Python."""
    text = str(code) if isinstance(code, str | int) and not isinstance(code, bool) else ""
    listed = plain.get("is", {}).get(text)
    if listed is None:
        listed = next((rest for part, *rest in plain.get("has", ()) if part in text), None)
    if listed is None:
        return UNLISTED
    return Meaning(ClientOutcome.read(listed[0]), listed[1] if len(listed) > 1 else "")
