"""Makes evidence: what was said, by whom, in a form that can be kept and shown. Nothing that a device or a signature needs."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from enum import Enum
from typing import Any

from paycore.core.findings import PaymentFinding, RefundFinding
from paycore.store import Evidence

_WITHHELD = frozenset({"plan_json"})
"""Fields that hold what was signed for the payer's device; only their size and hash are kept."""


def heard(
    order_id: str,
    subject_id: str,
    via: str,
    finding: PaymentFinding | RefundFinding,
    at: int,
    **about: str,
) -> Evidence:
    """What a channel said about a payment or a refund. The same words said again are the same evidence."""
    content = {
        "finding": type(finding).__name__,
        **_plain(finding),
        **{name: word for name, word in about.items() if word},
    }
    return evidence(order_id, subject_id, via, content, at, verified=finding.authenticated)


def evidence(
    order_id: str, subject_id: str, via: str, content: Mapping[str, Any], at: int, *, verified: bool
) -> Evidence:
    """Any piece of evidence. `content` is plain data without secrets."""
    text = json.dumps(content, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
    digest = hashlib.sha256(f"{via}\n{subject_id}\n{verified}\n{text}".encode()).hexdigest()
    return Evidence(
        order_id=order_id, subject_id=subject_id, via=via, digest=digest, at=at, content=text, verified=verified
    )


def _plain(value: Any) -> Any:
    """A finding as JSON data, without what is not set."""
    if is_dataclass(value) and not isinstance(value, type):
        return {
            field.name: _withheld(part) if field.name in _WITHHELD else _plain(part)
            for field in fields(value)
            if field.name != "authenticated" and (part := getattr(value, field.name)) not in (None, "", ())
        }
    if isinstance(value, tuple):
        return [_plain(part) for part in value]
    return value.value if isinstance(value, Enum) else value


def _withheld(text: str) -> dict[str, Any]:
    return {"characters": len(text), "sha256": hashlib.sha256(text.encode()).hexdigest()}
