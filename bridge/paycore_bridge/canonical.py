"""JSON texts that mean the same to every reader: no duplicate keys, no floats, no number JavaScript would round."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Never, TypeAlias

Json: TypeAlias = "str | int | bool | None | list[Json] | dict[str, Json]"

LARGEST_SAFE_INTEGER = 2**53 - 1
MAX_DEPTH = 16


class BadJson(ValueError):
    """This value or text cannot be carried to every shell unchanged."""


def canonical_json(value: object) -> str:
    """The one text of this value: keys sorted by code point, no spaces, no escapes beyond those JSON demands.

    Refuses what some reader would change: floats, integers beyond 2**53 - 1, lone surrogates, keys that are
    not text, nesting deeper than 16.
    """
    _refuse_what_readers_change(value, depth=0)
    return json.dumps(_plain(value), sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def parse_json(text: str) -> Json:
    """The value of a JSON text, refusing duplicate keys and everything `canonical_json` refuses."""
    try:
        value: Json = json.loads(
            text,
            object_pairs_hook=_unique_keys,
            parse_float=_no_float,
            parse_constant=_no_float,
            parse_int=_safe_integer,
        )
    except BadJson:
        raise
    except (ValueError, RecursionError) as error:
        raise BadJson("this is not a JSON text") from error
    _refuse_what_readers_change(value, depth=0)
    return value


def _unique_keys(pairs: list[tuple[str, Json]]) -> dict[str, Json]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise BadJson("an object has the same key twice")
    return found


def _no_float(text: str) -> Never:
    raise BadJson("numbers with a fraction or exponent are not used: readers round them differently")


def _safe_integer(text: str) -> int:
    if len(text) > 17:
        raise BadJson("an integer is larger than JavaScript can hold exactly")
    return int(text)


def _plain(value: object) -> object:
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value


def _refuse_what_readers_change(value: object, *, depth: int) -> None:
    if depth > MAX_DEPTH:
        raise BadJson(f"nesting deeper than {MAX_DEPTH}")
    match value:
        case None | bool():
            return
        case int():
            if abs(value) > LARGEST_SAFE_INTEGER:
                raise BadJson("an integer is larger than JavaScript can hold exactly")
        case str():
            _refuse_lone_surrogates(value)
        case Mapping():
            for key, item in value.items():
                if not isinstance(key, str):
                    raise BadJson("an object's key is not text")
                _refuse_lone_surrogates(key)
                _refuse_what_readers_change(item, depth=depth + 1)
        case list() | tuple():
            for item in value:
                _refuse_what_readers_change(item, depth=depth + 1)
        case _:
            raise BadJson(f"a {type(value).__name__} is not carried in JSON")


def _refuse_lone_surrogates(text: str) -> None:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        raise BadJson("a text holds half of a surrogate pair") from None
