"""`python -m paycore.testing matrix`: the capability matrix of the installed channels, or of those that are named."""

from __future__ import annotations

import sys


def main(words: list[str]) -> int:
    """Print it; an unknown word is a usage error."""
    if words[:1] != ["matrix"]:
        sys.stderr.write("usage: python -m paycore.testing matrix [CHANNEL ...]\n")
        return 2
    from paycore.engine.host import Host
    from paycore.testing.conformance.matrix import matrix

    kinds = Host.load().kinds
    strange = sorted(set(words[1:]) - kinds.keys())
    if strange:
        sys.stderr.write(f"no such channel: {', '.join(strange)}\n")
        return 1
    sys.stdout.write(matrix(kind for name, kind in kinds.items() if not words[1:] or name in words[1:]) + "\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
