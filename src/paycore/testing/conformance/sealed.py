"""A class whose tests cannot be overridden, skipped or expected to fail: a plugin keeps all of the kit or does not pass it."""

from typing import Any

OPEN = frozenset({"case"})
"""What a subclass gives."""
_KIT = "paycore.testing.conformance."
_AROUND = frozenset(
    {"setup_class", "setup_method", "teardown_class", "teardown_method", "__getattribute__", "__getattr__"}
)
_EXCUSES = frozenset({"skip", "skipif", "xfail"})


class Sealed(type):
    """The type of the kit's class. Names of the kit stay the kit's in every class that inherits it."""

    def __new__(cls, name: str, bases: tuple[type, ...], namespace: dict[str, Any], **extra: Any) -> "Sealed":
        taken = _sealed_names(bases)
        beside = {key for base in bases if not _sealed_names((base,)) for key in dir(base) if key not in dir(object)}
        overridden = sorted(taken & (namespace.keys() | beside) - OPEN)
        if overridden:
            raise TypeError(
                f"{name} overrides {', '.join(overridden)}: what the conformance kit expects is not negotiable"
            )
        if taken:
            for key, value in namespace.items():
                _refuse_excuses(name, key, value)
        return super().__new__(cls, name, bases, namespace, **extra)

    def __setattr__(cls, name: str, value: Any) -> None:
        if name in _sealed_names((cls,)) - OPEN:
            raise TypeError(f"{cls.__name__}.{name} belongs to the conformance kit and is not replaced")
        _refuse_excuses(cls.__name__, name, value)
        super().__setattr__(name, value)

    def __delattr__(cls, name: str) -> None:
        if name in _sealed_names((cls,)):
            raise TypeError(f"{cls.__name__}.{name} belongs to the conformance kit and is not taken away")
        super().__delattr__(name)


def _sealed_names(classes: tuple[type, ...]) -> set[str]:
    """Everything that the kit's own classes, anywhere above these, have defined; and what runs around a test."""
    ancestors = [one for named in classes for one in named.__mro__ if one.__module__.startswith(_KIT)]
    names = {name for one in ancestors for name in vars(one) if not name.startswith("__")}
    return names | _AROUND if ancestors else set()


def _refuse_excuses(owner: str, name: str, value: Any) -> None:
    """A mark on the whole class would excuse the kit's tests too."""
    if name == "__test__" and not value:
        raise TypeError(f"{owner} is not collected: the conformance kit is kept or not claimed")
    if name != "pytestmark":
        return
    marks = value if isinstance(value, list | tuple) else [value]
    for mark in marks:
        if getattr(mark, "name", "") in _EXCUSES:
            raise TypeError(f"{owner} is marked {mark.name}: the conformance kit takes no excuses")
