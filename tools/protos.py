"""Check the contract: style, comments and promises, offline. Needs the workspace's own environment (.venv), not the generator's.

    tools/protos.py              buf lint, and buf breaking against protos/baseline.binpb, both on protos/api.binpb
    tools/protos.py --release    keep today's contract as the baseline: from now on it may only grow

That the image and the stubs are those of the texts is `tools/gen.py --check`.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
from pathlib import Path

from google.protobuf import descriptor_pb2

HOUSE = Path(__file__).resolve().parent.parent
IMAGE = HOUSE / "protos/api.binpb"
BASELINE = HOUSE / "protos/baseline.binpb"


def main() -> int:
    asked = argparse.ArgumentParser(description="Check the contract: style, comments and promises.")
    asked.add_argument("--release", action="store_true", help="keep today's contract as the baseline")
    if asked.parse_args().release:
        BASELINE.write_bytes(without_comments(IMAGE.read_bytes()))
        print("protos/baseline.binpb is today's contract")
        return 0
    return max(lint(IMAGE), breaking(IMAGE, BASELINE))


def lint(image: Path) -> int:
    """Whether every element is named and commented as buf's STANDARD and COMMENTS ask; what is not is printed."""
    return _buf("lint", str(image))


def breaking(image: Path, baseline: Path) -> int:
    """Whether callers made for the baseline still work; what would break them is printed."""
    return _buf("breaking", str(image), "--against", str(baseline))


def without_comments(image: bytes) -> bytes:
    """The image as programs see it."""
    files = descriptor_pb2.FileDescriptorSet.FromString(image)
    for file in files.file:
        file.ClearField("source_code_info")
    return files.SerializeToString(deterministic=True)


def _buf(*arguments: str) -> int:
    beside = Path(sys.executable).parent / "buf"
    buf = str(beside) if beside.exists() else shutil.which("buf")
    if buf is None:
        print("buf is missing: python tools/setup.py installs it", file=sys.stderr)
        return 2
    return subprocess.run([buf, *arguments, "--config", str(HOUSE / "buf.yaml")], check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
