"""The three drawings of a code show the same modules, and a reader that is not ours reads the text back."""

from __future__ import annotations

import re
import string
import struct
import subprocess
import sys
import zlib
from xml.etree import ElementTree as ET

import pytest
import zxingcpp
from hypothesis import given, settings
from hypothesis import strategies as st

from paycore_bridge import qr

TEXTS = [
    "https://qr.alipay.com/bax09876543210abcdef1",
    "weixin://wxpay/bizpayurl?pr=AbCdEf0",
    "https://pay.example/q/01JDE5Q0C3VZ8T1Y2WQK5N7R4M",
    "HTTP://PAY.EXAMPLE/PLAIN-CAPITALS-0123456789",
    "支付 128.00 元",
    "0",
]


def grey(modules: qr.Matrix, scale: int = 4) -> memoryview:
    """The modules as a picture for the independent reader."""
    rows = qr.padded(modules)
    side = len(rows) * scale
    pixels = bytes(0 if rows[y // scale][x // scale] else 255 for y in range(side) for x in range(side))
    return memoryview(pixels).cast("B", (side, side))


def read_png(data: bytes) -> qr.Matrix:
    """A small PNG reader for 1-bit greyscale: checks the CRCs and gives the pixels, True for dark."""
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    chunks: dict[bytes, bytes] = {}
    at = 8
    while at < len(data):
        (length,) = struct.unpack_from(">I", data, at)
        name, body = data[at + 4 : at + 8], data[at + 8 : at + 8 + length]
        assert struct.unpack_from(">I", data, at + 8 + length)[0] == zlib.crc32(name + body)
        chunks[name], at = body, at + 12 + length
    width, height, depth, colour, compression, filtering, interlace = struct.unpack(">IIBBBBB", chunks[b"IHDR"])
    assert (depth, colour, compression, filtering, interlace) == (1, 0, 0, 0, 0)
    pixels, stride = zlib.decompress(chunks[b"IDAT"]), (width + 7) // 8 + 1
    assert len(pixels) == stride * height
    assert not any(pixels[::stride])
    rows = (pixels[y * stride + 1 : (y + 1) * stride] for y in range(height))
    return tuple(tuple(not row[x // 8] >> (7 - x % 8) & 1 for x in range(width)) for row in rows)


def read_back(pixels: qr.Matrix) -> str:
    """The text in a picture, by a reader that is not ours."""
    side = len(pixels)
    picture = memoryview(bytes(0 if is_dark else 255 for row in pixels for is_dark in row)).cast("B", (side, side))
    found = zxingcpp.read_barcode(picture)
    assert found is not None
    text: str = found.text
    return text


def shrink(pixels: qr.Matrix, scale: int) -> qr.Matrix:
    """The modules of a picture; fails if any module is not of one colour throughout."""
    modules = tuple(row[::scale] for row in pixels[::scale])
    assert pixels == tuple(tuple(one for one in row for _ in range(scale)) for row in modules for _ in range(scale))
    return modules


def read_svg(text: str) -> qr.Matrix:
    """Fill the path by the even-odd rule: whatever is right of an upright edge changes its colour."""
    root = ET.fromstring(text)
    size = int(root.attrib["viewBox"].split()[2])
    grid = [[False] * size for _ in range(size)]
    path = root[1].attrib["d"]
    assert root[1].attrib["fill-rule"] == "evenodd"
    moves = re.findall(r"([Mhv])(-?\d+)(?: (\d+))?|([HV])(\d+)", path)
    assert "".join(f"{a}{b}{c and ' ' + c}{d}{e}" for a, b, c, d, e in moves) == path
    x, y, start_y = 0, 0, 0
    for relative, by, then, absolute, to in moves:
        if relative == "M":
            assert y == start_y, "a walk is closed by a level line"
            x, y, start_y = int(by), int(then), int(then)
        elif (relative or absolute) in "hH":
            x = x + int(by) if relative else int(to)
        else:
            end = y + int(by) if relative else int(to)
            for row in range(min(y, end), max(y, end)):
                grid[row][x:] = [not is_dark for is_dark in grid[row][x:]]
            y = end
    assert y == start_y
    return tuple(map(tuple, grid))


def read_terminal(text: str, style: qr.Terminal) -> qr.Matrix:
    rows: list[tuple[bool, ...]] = []
    for line in text.splitlines():
        if style is qr.Terminal.COLOUR:
            assert line.startswith("\x1b[38;5;16;48;5;231m")
            assert line.endswith("\x1b[0m")
            line = line.removeprefix("\x1b[38;5;16;48;5;231m").removesuffix("\x1b[0m")
        ink = style is not qr.Terminal.DARK
        rows.append(tuple((char in "▀█") == ink for char in line))
        rows.append(tuple((char in "▄█") == ink for char in line))
    return tuple(rows)


@pytest.mark.parametrize("text", TEXTS)
def test_every_drawing_shows_the_same_modules_with_a_quiet_zone(text: str) -> None:
    modules = qr.matrix(text)
    expected = qr.padded(modules)
    assert not any(expected[0])
    assert not any(expected[3])
    assert any(expected[4])
    assert shrink(read_png(qr.png(modules, scale=3)), 3) == expected
    assert read_svg(qr.svg(modules)) == expected
    for style in qr.Terminal:
        drawn = read_terminal(qr.terminal(modules, style=style), style)
        assert drawn[: len(expected)] == expected
        assert not any(any(row) for row in drawn[len(expected) :])


@pytest.mark.parametrize("text", TEXTS)
def test_an_independent_reader_reads_the_text_from_the_png(text: str) -> None:
    assert read_back(read_png(qr.png(qr.matrix(text), scale=4))) == text


@pytest.mark.parametrize("text", TEXTS)
def test_an_independent_reader_reads_the_text_from_the_svg(text: str) -> None:
    modules = read_svg(qr.svg(qr.matrix(text)))
    assert read_back(tuple(tuple(one for one in row for _ in range(4)) for row in modules for _ in range(4))) == text


@settings(max_examples=25, deadline=None)
@given(st.text(alphabet=st.characters(min_codepoint=32, exclude_categories=["Cs", "Cc"]), min_size=1, max_size=120))
def test_any_text_is_read_back(text: str) -> None:
    found = zxingcpp.read_barcode(grey(qr.matrix(text)))
    assert found is not None
    assert found.bytes.decode("utf-8") == text


URLS = st.text(alphabet=string.ascii_letters + string.digits + "/?=&._~-", min_size=20, max_size=60)
LONG_URL = "https://pay.example.com/pay/" + "cs01M8MXAZYZK9ZCF4FB078FEDFV/" * 9 + "?code=Abcdef"


@pytest.mark.parametrize("text", TEXTS)
def test_typical_codes_are_smaller_than_two_kilobytes(text: str) -> None:
    modules = qr.matrix(text)
    assert len(qr.svg(modules)) < 2048
    assert len(qr.png(modules)) < 2048
    assert len(qr.terminal(modules)) < 2048


@settings(max_examples=40, deadline=None)
@given(URLS)
def test_what_channels_want_scanned_is_under_two_kilobytes_in_every_form(rest: str) -> None:
    """Codes of WeChat and Alipay and pages of our own: up to 84 bytes, 37 modules a side."""
    for start in ("weixin://wxpay/bizpayurl?pr=", "https://qr.alipay.com/bax", "https://pay.example.com/"):
        modules = qr.matrix((start + rest)[:84])
        assert len(modules) <= 37
        assert len(qr.svg(modules, label="Scan to pay")) < 2048
        assert len(qr.png(modules)) < 2048


def test_a_long_address_is_under_two_kilobytes_as_a_png() -> None:
    assert len(LONG_URL) == 301
    picture = qr.png(qr.matrix(LONG_URL), scale=4)
    assert len(picture) < 2048 < len(qr.svg(qr.matrix(LONG_URL)))
    assert read_back(read_png(picture)) == LONG_URL


@pytest.mark.parametrize("correction", ["L", "M", "Q", "H"])
def test_more_correction_never_makes_a_smaller_code(correction: str) -> None:
    assert len(qr.matrix(TEXTS[0], correction=correction)) >= len(qr.matrix(TEXTS[0], correction="L"))


def test_a_label_cannot_leave_its_attribute() -> None:
    root = ET.fromstring(qr.svg(qr.matrix("a"), label='"><script>&'))
    assert root.attrib["aria-label"] == '"><script>&'
    assert len(root) == 2


def test_a_text_too_long_is_refused() -> None:
    with pytest.raises(qr.QrTooLong):
        qr.matrix("a" * 3000)


@pytest.mark.parametrize("scale", [0, -1, 65])
def test_a_senseless_scale_is_refused(scale: int) -> None:
    with pytest.raises(ValueError, match="between 1 and 64"):
        qr.png(qr.matrix("a"), scale=scale)


def test_importing_the_package_loads_neither_qrcode_nor_paycore() -> None:
    script = "import sys, paycore_bridge, paycore_bridge.qr; print([m for m in sys.modules if m.split('.')[0] in ('qrcode', 'PIL', 'paycore')])"
    loaded = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60
    ).stdout
    assert loaded.strip() == "[]"
