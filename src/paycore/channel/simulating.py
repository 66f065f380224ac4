"""What the simulators of channels have in common: faults that were asked for, notices that are tried again, pages for a payer.

A simulator may use any of it. What a channel has its own way of (which faults, which ladder, what stands in a notice and
how it is signed) stays with its plugin.
"""

import base64
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from html import escape
from typing import Generic, TypeVar

from paycore.channel.talk import Reply

F = TypeVar("F")
N = TypeVar("N")
C = TypeVar("C")

# ---------------------------------------------------------------------------------------------- what goes wrong on demand


@dataclass(slots=True)
class _PlannedCall(Generic[F]):
    """A fault that waits for its call: which call ("*" for any), about which id ("" for any), how often."""

    fault: F
    call: str
    subject: str
    times: int

    def meets(self, call: str, subject: str) -> bool:
        return self.times > 0 and self.call in ("*", call) and self.subject in ("", subject)


@dataclass(slots=True)
class PlannedNotice(Generic[N]):
    """A fault that waits for the next notice of an event ("*" for any)."""

    fault: N
    event: str
    times: int
    delay: int
    """Microseconds, for a notice that comes late."""


@dataclass(slots=True)
class Faults(Generic[F, N]):
    """The faults that were asked for and have not happened yet: on calls, and on notices. Nothing else ever goes wrong."""

    _calls: list[_PlannedCall[F]] = field(default_factory=list)
    _notices: list[PlannedNotice[N]] = field(default_factory=list)

    def plan(self, fault: F, call: str = "*", *, subject: str = "", times: int = 1) -> None:
        """Let this happen to the next calls of this name, as the simulator names its calls."""
        self._calls.append(_PlannedCall(fault, call, subject, times))

    def plan_notice(self, fault: N, event: str = "*", *, times: int = 1, delay: int = 0) -> None:
        """Let this happen to the next notices of this event, as the simulator names its events."""
        self._notices.append(PlannedNotice(fault, event, times, delay))

    def take(self, call: str, subject: str) -> F | None:
        """The fault for this call, used up by asking."""
        found = next((one for one in self._calls if one.meets(call, subject)), None)
        if found is None:
            return None
        found.times -= 1
        return found.fault

    def take_notice(self, event: str) -> PlannedNotice[N] | None:
        """The fault for a notice of this event, used up by asking."""
        found = next((one for one in self._notices if one.times > 0 and one.event in ("*", event)), None)
        if found is not None:
            found.times -= 1
        return found

    def clear(self) -> None:
        """Nothing goes wrong any more."""
        self._calls.clear()
        self._notices.clear()


# ---------------------------------------------------------------------------------------------- notices


@dataclass(slots=True)
class Letter(Generic[C]):
    """One notice and how far its delivery has come."""

    letter_id: str
    url: str
    content: C
    """What is to be said; the simulator signs it for each delivery."""
    due_at: int
    tries: int = 0
    waits_until: int | None = None
    """End of patience with the delivery under way."""


class Postbox(Generic[C]):
    """All notices. A delivery that is not answered in time has failed; the ladder goes on from there.

    `ladder` holds the pauses between deliveries, `patience` how long one may stay unanswered; both microseconds.
    """

    def __init__(self, ladder: tuple[int, ...], *, patience: int) -> None:
        self._ladder = ladder
        self._patience = patience
        self._letters: dict[str, Letter[C]] = {}
        self._written = 0

    def post(self, notice_id: str, url: str, content: C, *, due_at: int) -> None:
        """Have this delivered from this instant on. The same notice may be posted twice: each is a letter of its own."""
        self._written += 1
        letter_id = f"{notice_id}-{self._written}"
        self._letters[letter_id] = Letter(letter_id, url, content, due_at)

    def collect(self, now: int) -> Iterator[Letter[C]]:
        """The letters to deliver now; each counts as under way until `answered`, or until patience ends."""
        for letter in list(self._letters.values()):
            if letter.waits_until is not None and letter.waits_until <= now:
                self._failed(letter, letter.waits_until)
            if letter.letter_id in self._letters and letter.waits_until is None and letter.due_at <= now:
                letter.tries += 1
                letter.waits_until = now + self._patience
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

    def _failed(self, letter: Letter[C], at: int) -> None:
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


# ---------------------------------------------------------------------------------------------- pages

_STYLE = """
:root{color-scheme:light dark;--ink:#17202a;--soft:#5d6b78;--paper:#f4f6f8;--card:#fff;--line:#dfe5ea;--go:LIGHT;--on-go:#fff}
@media(prefers-color-scheme:dark){:root{--ink:#eef2f5;--soft:#9fb0bf;--paper:#10161c;--card:#1a232c;--line:#2c3945;--go:DARK;--on-go:#06121f}}
*{box-sizing:border-box}
body{margin:0;min-height:100vh;display:grid;place-items:center;background:var(--paper);color:var(--ink);font:16px/1.5 system-ui,sans-serif}
main{width:min(26rem,100% - 2rem);margin:1rem;padding:2rem;background:var(--card);border:1px solid var(--line);border-radius:1rem}
h1{margin:0;font-size:1rem;font-weight:600;color:var(--go)}
p{margin:.5rem 0;color:var(--soft);overflow-wrap:anywhere}
strong.amount{display:block;margin:1rem 0;font-size:2.5rem;line-height:1.1;letter-spacing:-.02em;color:var(--ink)}
button,a.button{display:block;width:100%;min-height:3rem;margin-top:.75rem;padding:.75rem;border:1px solid transparent;border-radius:.75rem;background:var(--go);color:var(--on-go);font:inherit;font-weight:600;text-align:center;text-decoration:none;cursor:pointer}
button.quiet{background:transparent;border-color:var(--line);color:var(--ink)}
:focus-visible{outline:3px solid var(--go);outline-offset:2px}
ul{margin:1rem 0 0;padding:0;list-style:none}
li{padding:.75rem 0;border-top:1px solid var(--line)}
""".strip()


class Pages:
    """The pages where a person pays: plain HTML, no script. Whoever writes content escapes what comes from the books."""

    def __init__(self, *, light: str = "#0b6bcb", dark: str = "#4aa3ff") -> None:
        """The colour of what can be pressed, on a light and on a dark ground."""
        self._style = _STYLE.replace("LIGHT", light).replace("DARK", dark)
        digest = base64.b64encode(hashlib.sha256(self._style.encode()).digest()).decode()
        self._headers = {
            "content-type": "text/html; charset=utf-8",
            "cache-control": "no-store",
            "referrer-policy": "no-referrer",
            "x-content-type-options": "nosniff",
            "content-security-policy": "default-src 'none'; form-action 'self'; base-uri 'none'; "
            f"frame-ancestors 'none'; style-src 'sha256-{digest}'",
        }

    def page(self, title: str, content: str, *, status: int = 200) -> Reply:
        """A whole page around escaped content."""
        html = (
            f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>'
            '<meta name="viewport" content="width=device-width,initial-scale=1">'
            f"<style>{self._style}</style></head><body><main>{content}</main></body></html>"
        )
        return Reply(status, dict(self._headers), html.encode("utf-8"))

    def sorry(self, zh: str, en: str, *, status: int) -> Reply:
        """Something that cannot be done, in both languages."""
        return self.page(en, f"<h1>{escape(zh)}</h1><p>{escape(en)}</p>", status=status)
