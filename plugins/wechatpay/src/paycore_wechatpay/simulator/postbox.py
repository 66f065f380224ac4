"""WeChat Pay's notices: what is to be said, to whom, and when to say it again.

Source: "Payment notice", the intervals of repetition (24 h 4 min in all).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

SECOND = 1_000_000
MINUTE = 60 * SECOND
HOUR = 60 * MINUTE

LADDER = (
    *(15 * SECOND, 15 * SECOND, 30 * SECOND, 3 * MINUTE, 10 * MINUTE, 20 * MINUTE, 30 * MINUTE, 30 * MINUTE),
    *(30 * MINUTE, 60 * MINUTE, 3 * HOUR, 3 * HOUR, 3 * HOUR, 6 * HOUR, 6 * HOUR),
)
"""Pauses between deliveries: fifteen more after the first, over a day."""

PATIENCE = 5 * SECOND
"""How long a delivery may stay unanswered before it counts as failed. Source: "Receiving notices"."""


@dataclass(slots=True)
class Letter:
    """One notice and how far its delivery has come."""

    letter_id: str
    notice_id: str
    url: str
    merchant: str
    body: bytes
    due_at: int
    spoilt_by: str = ""
    tries: int = 0
    waits_until: int | None = None
    """End of patience with the delivery under way."""


class Postbox:
    """All notices. A delivery that is not answered in time has failed; the ladder goes on from there."""

    def __init__(self, ladder: tuple[int, ...]) -> None:
        self._ladder = ladder
        self._letters: dict[str, Letter] = {}
        self._written = 0

    def post(self, *, notice_id: str, url: str, merchant: str, body: bytes, due_at: int, spoilt_by: str = "") -> None:
        """Have this delivered from this instant on."""
        self._written += 1
        letter_id = f"{notice_id}-{self._written}"
        self._letters[letter_id] = Letter(letter_id, notice_id, url, merchant, body, due_at, spoilt_by)

    def collect(self, now: int) -> Iterator[Letter]:
        """The letters to deliver now; each counts as under way until `answered`, or until patience ends."""
        for letter in list(self._letters.values()):
            if letter.waits_until is not None and letter.waits_until <= now:
                self._failed(letter, letter.waits_until)
            if letter.letter_id in self._letters and letter.waits_until is None and letter.due_at <= now:
                letter.tries += 1
                letter.waits_until = now + PATIENCE
                yield letter

    def answered(self, letter_id: str, *, is_acknowledged: bool, now: int) -> None:
        """How a delivery ended. An acknowledgement counts however late it comes."""
        letter = self._letters.get(letter_id)
        if letter is None:
            return
        if is_acknowledged:
            del self._letters[letter_id]
        elif letter.waits_until is not None:
            self._failed(letter, now)

    def _failed(self, letter: Letter, at: int) -> None:
        letter.waits_until = None
        if letter.tries > len(self._ladder):
            del self._letters[letter.letter_id]
        else:
            letter.due_at = at + self._ladder[letter.tries - 1]

    def next_due(self) -> int | None:
        """When there may be something to collect again."""
        return min((letter.waits_until or letter.due_at for letter in self._letters.values()), default=None)

    @property
    def undelivered(self) -> int:
        """Notices that nobody has acknowledged and that are still to be tried."""
        return len(self._letters)
