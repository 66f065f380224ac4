"""A validator for the part of JSON Schema 2020-12 that step schemas use, and for no more than that part.

A schema with a keyword outside the part is refused when it is compiled, so nothing is ever half checked.
Patterns must read the same in Python and in ECMAScript; `$` means the end of the text in both.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any, NamedTuple, TypeAlias

from paycore_bridge.canonical import canonical_json


class Problem(NamedTuple):
    """One way in which a value breaks a schema: where (names joined by dots, empty for the whole) and what."""

    path: str
    what: str

    def under(self, name: str) -> Problem:
        """The same problem seen from the object or array that holds the value."""
        return Problem(f"{name}.{self.path}" if self.path else name, self.what)

    def __str__(self) -> str:
        return f"{self.path} {self.what}" if self.path else self.what


Check: TypeAlias = Callable[[Any], Iterator[Problem]]

_NOTES = {"$schema", "$id", "title", "description", "examples"}
_TYPES: dict[str, Callable[[Any], bool]] = {
    "object": lambda value: isinstance(value, dict),
    "array": lambda value: isinstance(value, list),
    "string": lambda value: isinstance(value, str),
    "integer": lambda value: isinstance(value, int) and not isinstance(value, bool),
    "boolean": lambda value: isinstance(value, bool),
    "null": lambda value: value is None,
}


class BadSchema(ValueError):
    """A schema uses something outside the part of JSON Schema that this package checks."""


def compile_schema(schema: Mapping[str, Any]) -> Check:
    """A function that yields every way in which a value breaks this schema, and nothing if it fits."""
    unknown = set(schema) - set(_KEYWORDS) - _NOTES - {"additionalProperties"}
    if unknown:
        raise BadSchema(f"keyword {min(unknown)!r} is not supported in step schemas")
    checks = [_KEYWORDS[keyword](argument) for keyword, argument in schema.items() if keyword in _KEYWORDS]
    if "additionalProperties" in schema:
        checks.append(_additional_properties(schema["additionalProperties"], schema.get("properties", {})))
    return partial(_all_of, checks)


def _all_of(checks: list[Check], value: Any) -> Iterator[Problem]:
    for check in checks:
        yield from check(value)


def _same(left: Any, right: Any) -> bool:
    """Equality as JSON means it: true is not 1, at any depth."""
    if isinstance(left, str) or isinstance(right, str):
        return bool(left == right)
    return left == right and canonical_json(left) == canonical_json(right)


def _type(name: str) -> Check:
    if name not in _TYPES:
        raise BadSchema(f"type {name!r} is not supported in step schemas")
    fits = _TYPES[name]

    def check(value: Any) -> Iterator[Problem]:
        if not fits(value):
            yield Problem("", f"must be of type {name}")

    return check


def _const(expected: Any) -> Check:
    def check(value: Any) -> Iterator[Problem]:
        if not _same(value, expected):
            yield Problem("", f"must be {expected!r}")

    return check


def _enum(allowed: list[Any]) -> Check:
    def check(value: Any) -> Iterator[Problem]:
        if not any(_same(value, one) for one in allowed):
            yield Problem("", "must be one of " + ", ".join(map(repr, allowed)))

    return check


def _properties(schemas: Mapping[str, Any]) -> Check:
    compiled = {name: compile_schema(schema) for name, schema in schemas.items()}

    def check(value: Any) -> Iterator[Problem]:
        if isinstance(value, dict):
            for name in sorted(compiled.keys() & value.keys()):
                yield from (problem.under(name) for problem in compiled[name](value[name]))

    return check


def _additional_properties(rule: bool | Mapping[str, Any], named: Mapping[str, Any]) -> Check:
    others = None if isinstance(rule, bool) else compile_schema(rule)

    def check(value: Any) -> Iterator[Problem]:
        if not isinstance(value, dict) or rule is True:
            return
        for name in sorted(value.keys() - named.keys()):
            if others is None:
                yield Problem(name, "is not a known field")
            else:
                yield from (problem.under(name) for problem in others(value[name]))

    return check


def _required(names: list[str]) -> Check:
    def check(value: Any) -> Iterator[Problem]:
        if isinstance(value, dict):
            yield from (Problem(name, "is missing") for name in names if name not in value)

    return check


def _items(schema: Mapping[str, Any]) -> Check:
    fits = compile_schema(schema)

    def check(value: Any) -> Iterator[Problem]:
        if isinstance(value, list):
            for index, item in enumerate(value):
                yield from (problem.under(str(index)) for problem in fits(item))

    return check


def _unique_items(wanted: bool) -> Check:
    def check(value: Any) -> Iterator[Problem]:
        if wanted and isinstance(value, list):
            if any(_same(one, other) for index, one in enumerate(value) for other in value[:index]):
                yield Problem("", "holds the same item twice")

    return check


def _pattern(pattern: str) -> Check:
    try:
        found = re.compile(re.sub(r"(?<!\\)\$$", r"\\Z", pattern)).search
    except re.error as error:
        raise BadSchema("a pattern is not a regular expression") from error

    def check(value: Any) -> Iterator[Problem]:
        if isinstance(value, str) and found(value) is None:
            yield Problem("", "does not have the required form")

    return check


def _bound(kind: type, measure: Callable[[Any], int], words: str, *, upper: bool) -> Callable[[int], Check]:
    def make(limit: int) -> Check:
        def check(value: Any) -> Iterator[Problem]:
            if not isinstance(value, kind) or isinstance(value, bool):
                return
            size = measure(value)
            if size > limit if upper else size < limit:
                yield Problem("", words.format(limit))

        return check

    return make


def _number(value: int) -> int:
    return value


_KEYWORDS: dict[str, Callable[[Any], Check]] = {
    "type": _type,
    "const": _const,
    "enum": _enum,
    "properties": _properties,
    "required": _required,
    "items": _items,
    "uniqueItems": _unique_items,
    "pattern": _pattern,
    "minimum": _bound(int, _number, "must be at least {}", upper=False),
    "maximum": _bound(int, _number, "must be at most {}", upper=True),
    "minLength": _bound(str, len, "is shorter than {} characters", upper=False),
    "maxLength": _bound(str, len, "is longer than {} characters", upper=True),
    "minItems": _bound(list, len, "has fewer than {} items", upper=False),
    "maxItems": _bound(list, len, "has more than {} items", upper=True),
    "minProperties": _bound(dict, len, "has fewer than {} fields", upper=False),
    "maxProperties": _bound(dict, len, "has more than {} fields", upper=True),
}
