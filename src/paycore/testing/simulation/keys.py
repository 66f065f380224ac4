"""Private keys are parsed once in a process: it takes some fifty milliseconds for each, and a world starts dozens of servers."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

from cryptography.hazmat.primitives import serialization

LOADERS = ("load_pem_private_key", "load_der_private_key")


@cache
def _parsed(name: str, given: Callable[..., Any], raw: bytes) -> Any:
    return given(raw, password=None)


def _once(name: str, given: Callable[..., Any]) -> Callable[..., Any]:
    def load(data: bytes, password: bytes | None = None, *arguments: Any, **more: Any) -> Any:
        if password is not None or arguments or more:
            return given(data, password, *arguments, **more)
        return _parsed(name, given, bytes(data))

    return load


@contextmanager
def parsing_once() -> Iterator[None]:
    """While this lasts, the same bytes are the same key. A key never changes, so nobody can tell."""
    before = {name: getattr(serialization, name) for name in LOADERS}
    for name, given in before.items():
        setattr(serialization, name, _once(name, given))
    try:
        yield
    finally:
        for name, given in before.items():
            setattr(serialization, name, given)
