"""The numbers of frame format 1 (docs/frame-format.md): limits, tags, scales. Both sides of the codec use them."""

from __future__ import annotations

MAGIC = b"\xfeP"  # no UTF-8 text, CBOR item or protobuf message begins so
VERSION = 1
FLAG_CLOCK = 0b011
FLAG_DEFLATED = 0b100
FLAGS_KNOWN = FLAG_CLOCK | FLAG_DEFLATED
HEADER_BYTES_MIN = 8 + 3  # magic, version, flags, manifest; epoch, sequence, count of one byte each
CRC_BYTES = 4

FRAME_BYTES_MAX = 1 << 20
BODY_BYTES_MAX = 1 << 20
"""Bytes of the blocks, after inflating."""
READINGS_MAX = 1 << 20
ROWS_MAX = 1 << 16
COLUMNS_MAX = 1 << 16
"""Of all blocks of a frame."""
BLOCKS_MAX = 1 << 16
COLUMN_BYTES_MIN = 4
SERIES_MAX = (1 << 16) - 1
TEXT_BYTES_MAX = (1 << 16) - 1
NUMBER_MAX = (1 << 63) - 1
"""Largest epoch, and largest sequence number of the reading after the last."""

TIME_UNITS = (9, 6, 3, 0)
"""Powers of ten of the units of a time column, in nanoseconds; the largest that divides every time is used."""

# Integer columns: one descriptor byte = predictor | coding << 2 | scaled << 7.
LEVEL, DELTA, SECOND, LINE = range(4)
CODING_ZERO = 0
CODING_FIXED = 31  # 1..30 are Rice codes with parameter 0..29
RICE_MAX = 29
ESCAPE = 24
"""A Rice quotient of this many zeros means: 64 plain bits follow."""
SCALED = 0x80

# Value columns: one tag byte = encoding | patched << 6 | qualified << 7.
TAG_MASK = 0x3F
PATCHED = 0x40
QUALIFIED = 0x80

DECIMAL = 0  # + power of ten, 0..15
DECIMAL_DIGITS_MAX = 15
CORRECTED = 16  # + power of ten, 0..15
SIXTIETHS = 32  # + power of ten - 3, powers 3..8
SIXTIETHS_DIGITS_MIN = 3
SIXTIETHS_DIGITS_MAX = 8
STEP = 38
STEP_CORRECTED = 39
NARROW_SPLIT = 40
NARROW_PATTERN = 41
PATTERN = 42
FLOAT32_SPLIT = 44
FLOAT32_PATTERN = 45
FLOAT32_DECIMAL = 48  # + power of ten, 0..9
FLOAT32_DIGITS_MAX = 9
INT64 = 58
BOOL = 59
TEXT = 60

# Patches: one mark a row for what no integer stands for.
MARK_LITERAL = 5
MARKED_PATTERNS = {1 << 63: 1, 0x7FF8 << 48: 2, 0x7FF0 << 48: 3, 0xFFF0 << 48: 4}
"""-0.0, NaN, +inf and -inf as float64 patterns, and their marks; other NaNs are literals."""

POWERS = tuple(10.0**power for power in range(DECIMAL_DIGITS_MAX + 1))
"""Exact in float64."""


def divisor_of(tag: int) -> float:
    """What the integers of a decimal, corrected or sixtieths column are divided by."""
    if tag < CORRECTED:
        return POWERS[tag - DECIMAL]
    if tag < SIXTIETHS:
        return POWERS[tag - CORRECTED]
    return 60.0 * POWERS[tag - SIXTIETHS + SIXTIETHS_DIGITS_MIN]
