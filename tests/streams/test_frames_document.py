"""docs/frame-format.md says what the code does: its example, its tables, its limits."""

from __future__ import annotations

import re
import zlib
from pathlib import Path

from streams.frames import ClockQuality, Kind, decode, encode, layout
from tests.streams.frame_samples import exact

DOCUMENT = (Path(__file__).parents[2] / "docs" / "frame-format.md").read_text()


def section(title: str) -> str:
    """The text of the section whose title begins so."""
    return re.split(r"^#+ ", DOCUMENT.split(f" {title}", 1)[1], maxsplit=1, flags=re.MULTILINE)[0]


def test_the_example_is_a_frame_and_says_what_it_says() -> None:
    lines = re.findall(r"^    ((?:[0-9a-f]{2} )+) ", section("6. An example"), re.MULTILINE)
    data = bytes.fromhex("".join(lines))
    assert len(data) == 49
    frame = decode(data)
    assert (frame.epoch, frame.sequence, frame.manifest, frame.count) == (1_790_000_000, 100, 0x1234ABCD, 8)
    assert frame.clock_quality is ClockQuality.SYNCHRONISED
    (block,) = frame.blocks
    assert [time_ns // 10**6 - 1_790_000_000_000 for time_ns in block.times_ns] == [0, 1003, 1998, 3001]
    temperature, switch = block.columns
    assert [exact(value) for value in temperature.values] == [exact(value) for value in (21.37, 21.4, 21.38, 21.41)]
    assert (switch.kind, switch.values, switch.quality) == (Kind.BOOL, [False] * 4, bytes([0, 0, 2, 0]))
    assert encode(frame) == data


def test_every_encoding_of_the_code_is_in_the_table() -> None:
    rows = re.findall(
        r"^\| (\d+)(?: \+ e)?[^|]*\| (float64|float32|int64|bool|text) ", section("5. Column"), re.MULTILINE
    )
    documented = {int(first): kind for first, kind in rows}
    assert documented == {
        layout.DECIMAL: "float64", layout.CORRECTED: "float64", layout.SIXTIETHS: "float64", layout.STEP: "float64",
        layout.STEP_CORRECTED: "float64", layout.NARROW_SPLIT: "float64", layout.NARROW_PATTERN: "float64",
        layout.PATTERN: "float64", layout.FLOAT32_SPLIT: "float32", layout.FLOAT32_PATTERN: "float32",
        layout.FLOAT32_DECIMAL: "float32", layout.INT64: "int64", layout.BOOL: "bool", layout.TEXT: "text",
    }  # fmt: skip


def test_the_limits_are_those_of_the_code() -> None:
    for limit in (
        layout.FRAME_BYTES_MAX,
        layout.READINGS_MAX,
        layout.ROWS_MAX,
        layout.TEXT_BYTES_MAX,
        layout.BLOCKS_MAX,
    ):
        assert f"{limit:,}" in DOCUMENT
    assert layout.BODY_BYTES_MAX == layout.FRAME_BYTES_MAX, "the document states one number for both"


def test_what_is_compiled_in_is_what_the_sources_say() -> None:
    sources = b"".join((Path(layout.__file__).parent / name).read_bytes() for name in ("layout.py", "fault.py"))
    wanted = f"0x{zlib.crc32(sources):08X}"
    text = (Path(layout.__file__).parent / "kernels_compiled.py").read_text()
    assert f"COMPILED_IN = {wanted}" in text, f"numba's cache would not notice: set COMPILED_IN = {wanted}"
