"""What must be so of every answer to spoilt input, in one place.

SILENT      a refusal is one fixed sentence; nothing of the caller's text, of SQL, of paths, of our classes
NO BUG      no INTERNAL or UNKNOWN, no exception past the guard, no traceback, error or warning in the log
NO CHANGE   what is refused leaves every row as it was and asks no channel anything (see `check_untouched`)
NO FORGERY  what is believed was genuine: see `genuine`
IN TIME     an answer comes within `MOST_SECONDS`
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from google.rpc import error_details_pb2, status_pb2
from grpc import StatusCode

from paycore.core.refusals import Reason, Refused
from paycore.rpc.refusals import CODES, status_of
from tests.fuzz.corpus import CANARY
from tests.fuzz.house import RIVAL_KEY, SHOP, SHOP_KEY, Ears, House
from tests.rpc.small import Said
from tests.rpc.test_bad_input_services import is_silent

MOST_SECONDS = 2.0
"""Most inputs take a millisecond; a machine that is busy with something else may take a little longer over one."""
KEPT_ALL_THE_SAME = frozenset(
    {
        Reason.WRONG_ACCOUNT,
        Reason.EVIDENCE_USED,
        Reason.EVIDENCE_MISMATCH,
        Reason.RECEIPT_WRONG_APP,
        Reason.RECEIPT_WRONG_ACCOUNT,
        Reason.RECEIPT_REVOKED,
    }
)
"""What may answer genuine evidence, which is kept although its bringer is refused."""
ALLOWED = frozenset(
    {
        StatusCode.INVALID_ARGUMENT,
        StatusCode.UNAUTHENTICATED,
        StatusCode.PERMISSION_DENIED,
        StatusCode.NOT_FOUND,
        StatusCode.RESOURCE_EXHAUSTED,
        StatusCode.OUT_OF_RANGE,
        StatusCode.ALREADY_EXISTS,
        StatusCode.ABORTED,
        StatusCode.FAILED_PRECONDITION,
    }
)
"""The codes that any input may be answered with while everything behind the server is well."""
READS = ("Get", "List", "Explain", "Watch")


class Wrong(AssertionError):
    """The house did something that no input may make it do."""


@dataclass
class Watchman:
    """Looks at the house before and after one input."""

    house: House
    ears: Ears
    shape: str = ""
    stirred: int = -1
    sent: int = 0
    began: float = 0.0

    def __enter__(self) -> Self:
        if self.stirred != self.house.stirred:
            self.shape, self.stirred = self.house.shape(), self.house.stirred
        self.sent, self.began = self.house.sent, time.perf_counter()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        seconds = time.perf_counter() - self.began
        if kind is None:
            expect(seconds < MOST_SECONDS, f"it took {seconds:.1f} s")
            expect(not self.ears.heard, f"the log complains: {self.ears.heard}")

    @property
    def has_changed(self) -> bool:
        """Whether any row is another than before."""
        return self.house.stirred != self.stirred and self.house.shape() != self.shape

    @property
    def has_spoken(self) -> bool:
        """Whether a channel was asked something."""
        return self.house.sent != self.sent

    def nothing_happened(self, why: str) -> None:
        expect(not self.has_changed, f"rows were changed by {why}")
        expect(not self.has_spoken, f"a channel was asked because of {why}")


def expect(true: bool, otherwise: str) -> None:
    """Raise Wrong unless it is so."""
    if not true:
        raise Wrong(otherwise)


def check_refusal(refused: Refused) -> None:
    """See that a refusal is one that may be given, said as it may be said."""
    status = status_of(refused)
    expect(status.code in ALLOWED, f"{status.code.name} {refused.reason}: {refused}")
    told = _read(status.code, status.details)
    expect(told.reason == refused.reason, f"the details give no reason: {told}")
    expect(is_silent(told), f"the refusal says too much: {told}")
    for secret in (CANARY, SHOP_KEY, RIVAL_KEY, SHOP):
        expect(secret.encode() not in status.details, f"the refusal repeats {secret}: {told}")


def _read(code: StatusCode, details: bytes) -> Said:
    status = status_pb2.Status.FromString(details)
    info, fields = error_details_pb2.ErrorInfo(), []
    for detail in status.details:
        bad = error_details_pb2.BadRequest()
        if not detail.Unpack(info) and detail.Unpack(bad):
            fields = [violation.field for violation in bad.field_violations]
    return Said(code.name, info.reason, status.message, dict(info.metadata), tuple(fields), None, len(details))


def check_untouched(watchman: Watchman, rpc: str, refused: Refused, *, is_genuine: bool = False) -> None:
    """See that a refusal left things alone, but for two kinds.

    Genuine evidence is kept, whoever brought it. Beginning a payment may close the one before it and then refuse.
    """
    if is_genuine and refused.reason in KEPT_ALL_THE_SAME:
        return
    if rpc in ("PayOrder", "SubmitPayment") and CODES[refused.reason] is StatusCode.FAILED_PRECONDITION:
        return
    watchman.nothing_happened(f"a refused {rpc} ({refused.reason})")
