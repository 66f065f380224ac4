"""Which seeds are run: those that failed once, a fixed five hundred, and others every day."""

import json
import os
from datetime import UTC, datetime
from pathlib import Path

HERE = Path(__file__).parent
FIXED = range(500)
FRESH = 500
CHUNK = 20


def regressions() -> list[tuple[int, str]]:
    """Seeds that showed a fault once, and which. A seed is its world only while nobody changes what worlds are made of;
    the fault itself has a test of its own in the room where it was mended."""
    return [(entry["seed"], entry["showed"]) for entry in json.loads((HERE / "regressions.json").read_text())]


def catching() -> dict[str, int]:
    """The seed that is known to catch each planted bug."""
    found: dict[str, int] = json.loads((HERE / "planted.json").read_text())
    return found


def fresh_base() -> int:
    """Where today's seeds begin; PAYCORE_STORM_BASE begins elsewhere, or on another day's."""
    given = os.environ.get("PAYCORE_STORM_BASE")
    return int(given) if given else int(datetime.now(UTC).strftime("%Y%m%d")) * 1000


def chunks(seeds: range) -> list[range]:
    """The seeds in handfuls, so that cores share them."""
    return [seeds[begin : begin + CHUNK] for begin in range(0, len(seeds), CHUNK)]


def shown(seeds: range) -> str:
    """The name of a handful."""
    return f"{seeds[0]}-{seeds[-1]}"
