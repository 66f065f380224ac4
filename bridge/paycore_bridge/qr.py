"""QR codes drawn three ways from one matrix: for a terminal, as SVG, as a 1-bit PNG. No image library.

Computing a matrix takes 5 to 70 ms, so a server does it off its event loop. Drawing one takes well under 1 ms.
"""

from __future__ import annotations

import struct
import zlib
from enum import Enum
from itertools import groupby
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
    """The code as one SVG path of horizontal runs on a white ground, with a label for screen readers."""
    size = len(modules) + 2 * QUIET_ZONE
    name = escape(label, {'"': "&quot;"})
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {size} {size}" role="img" aria-label="{name}"'
        f' shape-rendering="crispEdges"><path fill="#fff" d="M0 0h{size}v{size}H0z"/>'
        f'<path stroke="#000" d="{path(modules)}"/></svg>'
    )


def path(modules: Matrix) -> str:
    """The code as the `d` of an SVG path to be stroked one unit wide, quiet zone included: `len(modules) + 8` units square.

    Pen movements draw every dark run once: each row by relative moves from where the row before ended.
    """
    moves: list[str] = []
    pen_x, pen_y = 0, 0
    for y, row in enumerate(modules):
        x = 0
        for is_dark, run in groupby(row):
            length = len(tuple(run))
            if is_dark:
                start = f"m{x - pen_x}{_signed(y - pen_y)}" if moves else f"M{QUIET_ZONE + x} {QUIET_ZONE + y}.5"
                moves.append(f"{start}h{length}")
                pen_x, pen_y = x + length, y
            x += length
    return "".join(moves)


def _signed(number: int) -> str:
    """A number that follows another in a path: a minus sign separates by itself, a digit needs a space."""
    return str(number) if number < 0 else f" {number}"


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
