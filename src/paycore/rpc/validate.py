"""Whether a request keeps the rules that its proto states. Rule ids are names of reasons, so no table is needed."""

from collections.abc import Iterator
from functools import cache
from typing import Any, Final

import protovalidate
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from paycore.core.refusals import Reason
from paycore.rpc.refusals import MOST_VIOLATIONS, Invalid, Violation
from paycore.rpc.soundness import TIMESTAMP, Quick, is_instant, rules_of

STANDARD: Final = {"required": Reason.FIELD_REQUIRED, "enum.defined_only": Reason.UNKNOWN_ENUM}
"""The two rules whose id is not a reason's name (see protos/paycore/v1/rules.proto)."""


@cache
def _rules() -> protovalidate.Validator:
    """The rules, compiled once for all pipelines of a process."""
    return protovalidate.Validator()


class Validator:
    """Checks requests against the rules of their protos."""

    def __init__(self) -> None:
        self._quick = Quick()
        self._rules = _rules()
        self._holders: dict[str, tuple[FieldDescriptor, ...]] = {}
        self._most: dict[str, int | None] = {}

    def check(self, request: Message) -> None:
        """Raise Invalid with every field that is wrong, at most twenty; say nothing if the request is sound."""
        if self._quick.is_sound(request):
            return
        wrong = list(self._crowds(request, "")) or list(self._bad_instants(request, ""))
        if not wrong:
            wrong = [_violation(found.proto) for found in self._rules.collect_violations(request)[:MOST_VIOLATIONS]]
        if wrong:
            raise Invalid(wrong)

    def _crowds(self, message: Message, path: str) -> Iterator[Violation]:
        """Lists and maps with more in them than they may have. CEL would first judge every part: a second for 60 KB."""
        for field, held in message.ListFields():
            place = f"{path}{field.name}"
            if field.is_repeated:
                most = self._most_of(field)
                if most is not None and len(held) > most:
                    yield Violation(place, Reason.OUT_OF_BOUNDS, "has too many items")
            elif field.message_type is not None:
                yield from self._crowds(held, f"{place}.")

    def _most_of(self, field: FieldDescriptor) -> int | None:
        """How many parts a list or map may have; None where the rules do not say."""
        name = field.full_name
        if name not in self._most:
            rules = rules_of(field, "buf.validate.field")
            self._most[name] = rules.get("paycore.v1.at_most", rules.get("paycore.v1.entries"))
        return self._most[name]

    def _bad_instants(self, message: Message, path: str) -> Iterator[Violation]:
        """Timestamps that are none: CEL takes some of them and fails on others, so they are looked at first."""
        for field in self._fields_leading_to_instants(message.DESCRIPTOR):
            place = f"{path}{field.name}"
            for held in _held(message, field):
                if held.DESCRIPTOR.full_name != TIMESTAMP:
                    yield from self._bad_instants(held, f"{place}.")
                elif not is_instant(held):
                    yield Violation(place, Reason.BAD_TIMESTAMP, "is not an instant between 1970 and 2999")

    def _fields_leading_to_instants(self, descriptor: Any) -> tuple[FieldDescriptor, ...]:
        known = self._holders.get(descriptor.full_name)
        if known is None:
            self._holders[descriptor.full_name] = ()  # a message that contains itself ends here
            known = tuple(field for field in descriptor.fields if self._leads_to_instants(field))
            self._holders[descriptor.full_name] = known
        return known

    def _leads_to_instants(self, field: FieldDescriptor) -> bool:
        held = field.message_type
        if held is None or held.GetOptions().map_entry:
            return False
        return held.full_name == TIMESTAMP or bool(self._fields_leading_to_instants(held))


def _held(message: Message, field: FieldDescriptor) -> Iterator[Message]:
    if field.is_repeated:
        yield from getattr(message, field.name)
    elif message.HasField(field.name):
        yield getattr(message, field.name)


def _violation(found: Any) -> Violation:
    """A violation in our words. Keys of maps are the caller's bytes, so the path leaves them out."""
    elements = found.field.elements if found.field else ()
    reason = STANDARD.get(found.rule_id, found.rule_id)
    return Violation(".".join(map(_step, elements)), reason, found.message)


def _step(element: Any) -> str:
    where = element.subscript
    is_place = where is not None and where.field == "index"
    return f"{element.field_name}[{where.value}]" if is_place else str(element.field_name)
