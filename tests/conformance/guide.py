"""The guide as data: a scaffold, the blocks of the guide, and pytest run on what they make."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree as ET

from tests.house.sources import HOUSE

GUIDE = HOUSE / "docs/write-a-channel.md"
_BLOCK = re.compile(r'```python title="channel\.py (\w+)"\n(.*?)\n```', re.DOTALL)
_IMPORTS = re.compile(r"from paycore\.channel import \(.*?(?=\n\n\n)", re.DOTALL)


def blocks() -> dict[str, str]:
    """The blocks of the guide that go into channel.py, by what each replaces, in order."""
    return dict(_BLOCK.findall(GUIDE.read_text(encoding="utf-8")))


def put(source: str, name: str, block: str) -> str:
    """The module with one block in the place of what it replaces: the imports, or the function of this name."""
    if name == "imports":
        return _IMPORTS.sub(lambda _: block, source, count=1)
    [found] = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.FunctionDef) and node.name == name]
    lines = source.split("\n")
    lines[found.lineno - 1 : found.end_lineno] = block.split("\n")
    return "\n".join(lines)


def follow(folder: Path) -> None:
    """Do to a scaffold everything that the guide says."""
    path = folder / "src/paycore_acme/channel.py"
    source = path.read_text(encoding="utf-8")
    for name, block in blocks().items():
        source = put(source, name, block)
    path.write_text(source, encoding="utf-8")


@dataclass(frozen=True)
class Ran:
    """What pytest said of a plugin's own tests."""

    passed: set[str]
    failed: dict[str, str]
    """Each check that failed, with everything that was said of it."""
    output: str


def run(folder: Path) -> Ran:
    """Run a plugin's tests as its author does, in its folder."""
    report = folder / "report.xml"
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", f"--junitxml={report}", "--tb=short"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=58, check=False)
    assert report.exists(), done.stdout + done.stderr
    passed, failed = set(), {}
    for case in ET.parse(report).iter("testcase"):
        trouble = [*case.iter("failure"), *case.iter("error"), *case.iter("skipped")]
        if trouble:
            failed[case.attrib["name"]] = "\n".join(f"{one.attrib.get('message')}\n{one.text}" for one in trouble)
        else:
            passed.add(case.attrib["name"])
    return Ran(passed, failed, done.stdout + done.stderr)
