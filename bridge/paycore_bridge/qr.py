"""QR codes drawn three ways from one matrix: for a terminal, as SVG, as a 1-bit PNG. No image library.

Computing a matrix takes 5 to 70 ms and an SVG of it up to 20 more, so a server does it off its event loop.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from enum import Enum
from itertools import groupby, pairwise
from typing import TypeAlias
from xml.sax.saxutils import escape

Matrix: TypeAlias = tuple[tuple[bool, ...], ...]

QUIET_ZONE = 4


class QrTooLong(ValueError):
    """The text does not fit into a QR code of this correction level."""


class Terminal(Enum):
    """What the terminal can show: colours of our own (safe on any background), or only its own two."""

    COLOUR = "colour"
    DARK = "dark"
    LIGHT = "light"


def matrix(content: str, *, correction: str = "M") -> Matrix:
    """The modules of the smallest code for this text, True meaning dark, without the quiet zone.

    `correction` is L, M, Q or H. Raises QrTooLong when no code is large enough.
    """
    from qrcode import constants
    from qrcode.exceptions import DataOverflowError
    from qrcode.main import QRCode

    level = getattr(constants, f"ERROR_CORRECT_{correction}")
    code: QRCode = QRCode(error_correction=level, border=0)
    try:
        code.add_data(content.encode("utf-8"))
        code.make(fit=True)
    except (DataOverflowError, ValueError) as error:
        raise QrTooLong("the text is too long for a QR code") from error
    return tuple(tuple(bool(module) for module in row) for row in code.get_matrix())


def padded(modules: Matrix, border: int = QUIET_ZONE) -> Matrix:
    """The same code with its quiet zone of light modules around it."""
    width = len(modules) + 2 * border
    blank = (False,) * width
    sides = (False,) * border
    return (blank,) * border + tuple(sides + row + sides for row in modules) + (blank,) * border


_HALF_BLOCKS = {(False, False): " ", (True, False): "▀", (False, True): "▄", (True, True): "█"}
_BLACK_ON_WHITE = "\x1b[38;5;16;48;5;231m"
_RESET = "\x1b[0m"


def terminal(modules: Matrix, *, style: Terminal = Terminal.COLOUR) -> str:
    """The code in half blocks, two modules a character, one line of text for two rows.

    COLOUR sets black on white itself and so can be scanned on every theme. DARK and LIGHT use no escape
    sequence and are right only on a terminal of that background.
    """
    rows = list(padded(modules))
    if len(rows) % 2:
        rows.append((False,) * len(rows[0]))
    inked = style is not Terminal.DARK
    lines = [
        "".join(_HALF_BLOCKS[upper == inked, lower == inked] for upper, lower in zip(top, bottom, strict=True))
        for top, bottom in zip(rows[::2], rows[1::2], strict=True)
    ]
    if style is Terminal.COLOUR:
        lines = [f"{_BLACK_ON_WHITE}{line}{_RESET}" for line in lines]
    return "\n".join(lines) + "\n"


def svg(modules: Matrix, *, label: str = "QR code") -> str:
    """The code as one SVG path on a white ground, with a label for screen readers.

    Under 2 KB up to 37 modules a side: 84 bytes of text at correction M, 106 at L. What is longer is smaller as `png`.
    """
    size = len(modules) + 2 * QUIET_ZONE
    name = escape(label, {'"': "&quot;"})
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {size} {size}" role="img" aria-label="{name}"'
        f' shape-rendering="crispEdges"><path fill="#fff" d="M0 0h{size}v{size}H0z"/>'
        f'<path fill-rule="evenodd" d="{path(modules)}"/></svg>'
    )


def path(modules: Matrix) -> str:
    """The code as the `d` of an SVG path to be filled by the even-odd rule, quiet zone included: `len(modules) + 8` units square.

    The rule counts, along each row, the upright edges between light and dark; level lines do not matter to it. So the pen
    draws every upright edge once, as long as it goes on, and walks level to the next: the one that is shortest to write.
    Since a row has an even number of them, a walk ends on the level where it began.
    """
    edges = set(_upright_edges(modules))
    at_level: list[list[_Edge]] = [[] for _ in range(len(modules) + 1)]
    for edge in edges:
        at_level[edge[1]].append(edge)
        at_level[edge[2]].append(edge)
    moves: list[str] = []
    for start in sorted(edges, key=lambda edge: (edge[1], edge[0])):
        if start in edges:
            x, y, _ = start
            moves.append(f"M{QUIET_ZONE + x} {QUIET_ZONE + y}")
            while near := [edge for edge in at_level[y] if edge in edges]:
                edge = min(near, key=lambda one: (len(_stroke(x, y, one)), abs(one[0] - x), one))
                edges.remove(edge)
                moves.append(_stroke(x, y, edge))
                x, y = edge[0], _other_end(edge, y)
    return "".join(moves)


_Edge: TypeAlias = tuple[int, int, int]
"""An upright line between light and dark: its x, and the y of its upper and lower end."""


def _upright_edges(modules: Matrix) -> Iterator[_Edge]:
    for x, (left, right) in enumerate(pairwise(zip(*padded(modules, 1), strict=True))):
        y = -1
        for is_edge, run in groupby(one != other for one, other in zip(left, right, strict=True)):
            length = len(tuple(run))
            if is_edge:
                yield x, y, y + length
            y += length


def _other_end(edge: _Edge, y: int) -> int:
    return edge[1] + edge[2] - y


def _stroke(x: int, y: int, edge: _Edge) -> str:
    """How a pen at this place writes an edge that begins or ends on its level."""
    return _pen("h", x, edge[0]) + _pen("v", y, _other_end(edge, y))


def _pen(letter: str, start: int, end: int) -> str:
    """The shorter of a relative and an absolute move; nothing where there is none."""
    return "" if start == end else min(f"{letter}{end - start}", f"{letter.upper()}{QUIET_ZONE + end}", key=len)


def png(modules: Matrix, *, scale: int = 6) -> bytes:
    """The code as a 1-bit greyscale PNG, each module `scale` pixels wide, quiet zone included."""
    if not 1 <= scale <= 64:
        raise ValueError("scale is between 1 and 64")
    rows = padded(modules)
    side = len(rows) * scale
    pixels = b"".join((b"\0" + _packed(row, scale)) * scale for row in rows)
    header = struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + _chunk(b"IHDR", header)
        + _chunk(b"IDAT", zlib.compress(pixels, 9))
        + _chunk(b"IEND", b"")
    )


def _packed(row: tuple[bool, ...], scale: int) -> bytes:
    """One row of pixels, a bit each, 1 meaning light; unused bits at the end are 0."""
    bits = "".join(("0" if is_dark else "1") * scale for is_dark in row)
    bits += "0" * (-len(bits) % 8)
    return int(bits, 2).to_bytes(len(bits) // 8, "big")


def _chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
