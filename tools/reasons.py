"""Write docs/reasons.md: every reason with its code, what it means and whether to ask again. A test keeps it fresh.

python tools/reasons.py
"""

from __future__ import annotations

from itertools import groupby
from pathlib import Path

from google.protobuf import descriptor_pb2

from paycore.core.refusals import Reason
from paycore.rpc.refusals import CODES, RETRY_SECONDS

HOUSE = Path(__file__).resolve().parent.parent
PAGE = HOUSE / "docs" / "reasons.md"
IMAGE = HOUSE / "protos" / "api.binpb"
REASON_FILE = "paycore/v1/reason.proto"

INTRODUCTION = """\
# Reasons

Every refusal carries a `google.rpc.Status` with an `ErrorInfo`: `domain` is `paycore`, `reason` is one of the words below, and
`metadata` holds what the caller may use (an id, a limit, the names of fields). `BadRequest` names the fields that are wrong.
`RetryInfo` stands where asking again, with the same `request_id`, is safe; the page shows the least time to wait.

The gRPC code follows from the reason alone. Decide by the reason; fall back to the code for a reason that you do not know.
What is *not* an error: a declined payment is OK with a `STATE_FAILED` payment, an unknown outcome is OK with `STATE_UNKNOWN`.

Made by `tools/reasons.py` from `protos/paycore/v1/reason.proto` and the server's own table.
"""


def render() -> str:
    """The page as it should stand."""
    meanings = comments()
    parts = [INTRODUCTION]
    for code, reasons in groupby(CODES, CODES.__getitem__):
        rows = [row(reason, meanings[reason]) for reason in reasons]
        parts.append("\n".join([f"## {code.name}\n", "| reason | meaning | ask again |", "|---|---|---|", *rows, ""]))
    return "\n".join(parts)


def row(reason: Reason, meaning: str) -> str:
    seconds = RETRY_SECONDS.get(reason)
    return f"| `{reason}` | {meaning} | {'' if seconds is None else f'after {seconds:g} s'} |"


def comments() -> dict[Reason, str]:
    """What the contract says about each reason."""
    image = descriptor_pb2.FileDescriptorSet.FromString(IMAGE.read_bytes())
    file = next(one for one in image.file if one.name == REASON_FILE)
    said = {tuple(one.path): " ".join(one.leading_comments.split()) for one in file.source_code_info.location}
    names = [value.name.removeprefix("REASON_") for value in file.enum_type[0].value]
    return {Reason(name): said[5, 0, 2, place] for place, name in enumerate(names) if place}


if __name__ == "__main__":
    PAGE.write_text(render(), encoding="utf-8")
