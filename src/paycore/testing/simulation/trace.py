"""What happened, in order: the last lines for people, and a digest of every step to compare two runs by."""

import hashlib
from collections import deque

KEPT = 400


class Trace:
    """The story of one run. Two runs with the same digest did the same."""

    def __init__(self, keep: int = KEPT) -> None:
        self._digest = hashlib.blake2b(digest_size=16)
        self._lines: deque[str] = deque(maxlen=keep)

    def step(self, word: str) -> None:
        """The loop took this step; it counts, and nobody reads it."""
        self._digest.update(word.encode())

    def note(self, at: float, who: str, line: str) -> None:
        """Something happened that a reader wants to see."""
        text = f"{at:12.6f} {who:<8} {line}"
        self._lines.append(text)
        self._digest.update(text.encode())

    @property
    def digest(self) -> str:
        """The same for the same story, in another process too."""
        return self._digest.hexdigest()

    def last(self, count: int = KEPT) -> list[str]:
        """The last lines, oldest first."""
        return list(self._lines)[-count:]
