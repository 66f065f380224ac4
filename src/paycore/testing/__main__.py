"""`python -m paycore.testing matrix`: the capability matrix of the installed channels, or of those that are named.

With `--into FILE` it is put between the marks of a page instead.
"""

from __future__ import annotations

import sys
from pathlib import Path

USAGE = "usage: python -m paycore.testing matrix [--into FILE] [CHANNEL ...]\n"


def main(words: list[str]) -> int:
    """Print the matrix, or write it into a page; an unknown word is a usage error."""
    match words:
        case ["matrix", "--into", page, *names]:
            return _matrix(names, Path(page))
        case ["matrix", *names] if not any(name.startswith("-") for name in names):
            return _matrix(names, None)
    sys.stderr.write(USAGE)
    return 2


def _matrix(names: list[str], page: Path | None) -> int:
    from paycore.engine.host import Host
    from paycore.testing.conformance.matrix import matrix, put_into

    kinds = Host.load().kinds
    if strange := sorted(set(names) - kinds.keys()):
        sys.stderr.write(f"no such channel: {', '.join(strange)}\n")
        return 1
    text = matrix(kind for name, kind in kinds.items() if not names or name in names)
    if page is None:
        sys.stdout.write(f"{text}\n")
    else:
        page.write_text(put_into(page.read_text(encoding="utf-8"), text), encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
