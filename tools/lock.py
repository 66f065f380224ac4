"""Remake the hashed locks in requirements/.

A lock carries names, versions and hashes; no index, no path and no host, so that everybody installs through
the index that they trust. Needs uv.

    tools/lock.py            keep the pins that still fit
    tools/lock.py --upgrade  take the newest that fit
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

HOUSE = Path(__file__).resolve().parent.parent
REQUIREMENTS = HOUSE / "requirements"


def main() -> int:
    uv = shutil.which("uv")
    if uv is None:
        print("making locks needs uv: python3 -m pip install uv", file=sys.stderr)
        return 1
    options = [option for option in sys.argv[1:] if option == "--upgrade"]
    own = "\n".join(sorted(own_requirements()))
    compile_lock(uv, options, wanted=f"{(REQUIREMENTS / 'dev.in').read_text()}\n{own}\n", lock=REQUIREMENTS / "dev.txt")
    compile_lock(uv, options, wanted=(REQUIREMENTS / "codegen.in").read_text(), lock=REQUIREMENTS / "codegen.txt")
    return 0


def own_requirements() -> set[str]:
    """What our distributions ask of others, extras included. One of ours needing another of ours is not in it."""
    projects = [tomllib.loads(path.read_text())["project"] for path in distributions()]
    ours = {plain_name(project["name"]) for project in projects}
    wanted = {requirement for project in projects for requirement in requirements_of(project)}
    return {requirement for requirement in wanted if plain_name(requirement) not in ours}


def distributions() -> list[Path]:
    return [HOUSE / "pyproject.toml", HOUSE / "bridge/pyproject.toml", *sorted(HOUSE.glob("plugins/*/pyproject.toml"))]


def requirements_of(project: dict[str, Any]) -> Iterator[str]:
    yield from project.get("dependencies", [])
    for extra in project.get("optional-dependencies", {}).values():
        yield from extra


def plain_name(requirement: str) -> str:
    name = re.split(r"[\s\[<>=!~;(@]", requirement.strip(), maxsplit=1)[0]
    return re.sub(r"[-_.]+", "-", name).lower()


def compile_lock(uv: str, options: list[str], *, wanted: str, lock: Path) -> None:
    flags = ["--quiet", "--universal", "--generate-hashes", "--no-header", "--no-annotate"]
    flags += ["--no-emit-index-url", "--no-emit-find-links", "--python", sys.executable, "--no-python-downloads"]
    command = [uv, "pip", "compile", "-", *flags, *options, "--output-file", str(lock.relative_to(HOUSE))]
    subprocess.run(command, input=wanted, text=True, cwd=HOUSE, check=True)
    print(f"{lock.relative_to(HOUSE)}: {lock.read_text().count('==')} pins")


if __name__ == "__main__":
    raise SystemExit(main())
