"""Make the virtual environments that everything here runs in. Runs on a bare Python 3.11: standard library only.

    tools/setup.py            .venv: the lock requirements/dev.txt and our distributions, linked to this checkout
    tools/setup.py codegen    .venvs/codegen: the generator of the stubs, kept apart because it is old on purpose

A second run with nothing changed does nothing. uv is used where it works, else pip, else the way out is named.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

HOUSE = Path(__file__).resolve().parent.parent


class CannotSetUp(Exception):
    """This machine lacks something; the sentence says what to install."""


@dataclass(frozen=True)
class Room:
    """One virtual environment: where it lies, what is locked for it, what of ours is linked into it."""

    venv: Path
    lock: Path
    ours: list[Path] = field(default_factory=list)

    @property
    def python(self) -> Path:
        return self.venv / "bin" / "python"

    @property
    def stamp(self) -> Path:
        return self.venv / ".paycore-ready"

    def digest(self) -> str:
        """What this room is made from, in one word: when it changes, the room is made anew."""
        parts = [self.lock, *(folder / "pyproject.toml" for folder in self.ours)]
        return hashlib.sha256(b"\0".join(part.read_bytes() for part in parts)).hexdigest()

    def is_ready(self) -> bool:
        return self.python.exists() and self.stamp.exists() and self.stamp.read_text() == self.digest()


def workspace() -> Room:
    plugins = sorted(path.parent for path in HOUSE.glob("plugins/*/pyproject.toml"))
    return Room(HOUSE / ".venv", HOUSE / "requirements/dev.txt", [HOUSE, HOUSE / "bridge", *plugins])


def codegen() -> Room:
    return Room(HOUSE / ".venvs/codegen", HOUSE / "requirements/codegen.txt")


def main(argv: list[str]) -> int:
    room = codegen() if argv == ["codegen"] else workspace()
    try:
        make(room)
    except CannotSetUp as problem:
        print(f"\nset-up stopped: {problem}", file=sys.stderr)
        return 1
    return 0


def make(room: Room) -> None:
    if room.is_ready():
        room.stamp.touch()
        return
    if sys.version_info < (3, 11):  # noqa: UP036 - the one file that an older Python may run
        raise CannotSetUp(f"paycore needs Python 3.11 or newer, this is {sys.version.split()[0]}; try make PYTHON=...")
    began = time.monotonic()
    digest = room.digest()
    create(room)
    install_lock(room)
    link_ours(room)
    compile_ours(room)
    room.stamp.write_text(digest)
    say(f"{room.venv.relative_to(HOUSE)} is ready after {time.monotonic() - began:.0f} s")


def create(room: Room) -> None:
    """A venv without pip inside: Debian's bare python3 can make that one, and pip or uv work on it from outside."""
    if room.python.exists():
        return
    say(f"making {room.venv.relative_to(HOUSE)} with Python {sys.version.split()[0]}")
    room.venv.parent.mkdir(exist_ok=True)
    if run([sys.executable, "-m", "venv", "--without-pip", str(room.venv)]):
        return
    shutil.rmtree(room.venv, ignore_errors=True)
    raise CannotSetUp("this Python has no venv module. On Debian: apt-get install python3-venv")


def install_lock(room: Room) -> None:
    pins = room.lock.read_text().count("==")
    say(f"installing {pins} pinned packages (fewer, where the system needs fewer) from {room.lock.relative_to(HOUSE)}")
    # The lock is complete and hashed: nothing is resolved here, nothing unlisted can slip in.
    install(room, ["--require-hashes", "--no-deps", "-r", str(room.lock)])


def link_ours(room: Room) -> None:
    if room.ours:
        say("linking " + ", ".join(folder.name if folder != HOUSE else "paycore" for folder in room.ours))
        links = [word for folder in room.ours for word in ("-e", str(folder))]
        install(room, ["--no-deps", "--no-build-isolation", *links])


def install(room: Room, what: list[str]) -> None:
    for tool in installers(room):
        if run([*tool, *what]):
            return
        say(f"{Path(tool[0]).name} could not")
    raise CannotSetUp(
        "neither uv nor pip could install; see their messages above. Without either, on Debian: "
        "apt-get install python3-pip"
    )


def installers(room: Room) -> list[list[str]]:
    """Every way to install into the room that this machine offers, quickest first."""
    found: list[list[str]] = []
    if uv := shutil.which("uv"):
        found.append([uv, "pip", "install", "--quiet", "--compile-bytecode", "--python", str(room.python)])
    if next(room.venv.glob("lib/python*/site-packages/pip"), None):
        found.append([str(room.python), "-m", "pip", *PIP])
    if has_pip():
        found.append([sys.executable, "-m", "pip", "--python", str(room.python), *PIP])
    elif importlib.util.find_spec("ensurepip"):
        run([str(room.python), "-m", "ensurepip", "--default-pip"])
        found.append([str(room.python), "-m", "pip", *PIP])
    return found


PIP = ["install", "--quiet", "--quiet", "--disable-pip-version-check", "--no-warn-script-location"]


def has_pip() -> bool:
    return importlib.util.find_spec("pip") is not None


def compile_ours(room: Room) -> None:
    """Byte code now, or every first start is three times slower."""
    folders = [str(folder) for folder in (HOUSE / "src", HOUSE / "bridge", HOUSE / "plugins") if folder.exists()]
    if room.ours:
        run([str(room.python), "-m", "compileall", "-q", "-x", r"node_modules|/tests/", *folders])


def run(command: list[str]) -> bool:
    """Whether the command went well. Its complaints go to the terminal."""
    hindering = (
        "PYTHONDONTWRITEBYTECODE",
        "PIP_NO_COMPILE",
        "PYTHONHOME",
        "PYTHONPATH",
        "VIRTUAL_ENV",
        "PIP_USER",
        "PIP_TARGET",
    )
    environment = {name: value for name, value in os.environ.items() if name not in hindering}
    environment["UV_PYTHON_DOWNLOADS"] = "never"
    environment["UV_SYSTEM_CERTS"] = "1"
    environment["PIP_ROOT_USER_ACTION"] = "ignore"
    return subprocess.run(command, cwd=HOUSE, env=environment, stdout=sys.stderr, check=False).returncode == 0


def say(line: str) -> None:
    print(f"· {line}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
