"""The runtime that a payment page loads: plain scripts, no build step, no framework, no inline code.

`script` gives what is sent: the file as it stands here, without its indentation and the lines that are only remarks.
"""

from __future__ import annotations

from functools import cache
from importlib.resources import files

CORE = "core"
ADDONS = ("hybrid", "jsbridge", "frames", "store", "wallets", "plan")
"""What a page adds when it needs it; each stands on the core alone."""


@cache
def source(name: str) -> str:
    """One of the scripts as it is written."""
    if name != CORE and name not in ADDONS:
        raise KeyError(name)
    return files("paycore_bridge.runtime").joinpath(f"{name}.js").read_text(encoding="utf-8")


@cache
def script(*names: str) -> str:
    """These scripts as one text to send; the core alone when none is named."""
    return "".join(_lean(source(name)) for name in names or (CORE,))


def _lean(text: str) -> str:
    """The scripts use no texts that go over several lines, so that a line stands for itself."""
    lines = [line.strip() for line in text.splitlines()]
    return "".join(f"{line}\n" for line in lines if line and not line.startswith("//"))
