"""Every way in which a frame can be wrong, with the sentence that says so. Both decoders report these."""

from __future__ import annotations

from enum import IntEnum

from streams.errors import JunkError
from streams.frames import layout


class Fault(IntEnum):
    """Why a frame is refused. The numbers are internal; the compiled decoder returns them."""

    NONE = 0
    TRUNCATED = 1
    NUMBER = 2
    ROWS = 3
    COLUMNS = 4
    NO_COLUMNS = 5
    COUNT = 6
    UNIT = 7
    CODE = 8
    WIDTH = 9
    PREDICTOR = 10
    SCALE = 11
    SERIES = 12
    TAG = 13
    PATCH = 14
    STEP = 15
    EXPONENT = 16
    FLOAT32 = 17
    BOOL = 18
    DICTIONARY = 19
    TEXT = 20
    WORD = 21
    QUALITY = 22
    BLOCKS = 23


SENTENCES = {
    Fault.TRUNCATED: "a column goes on behind the end of the frame",
    Fault.NUMBER: "a variable-length number does not fit 64 bits",
    Fault.ROWS: f"a block declares more than {layout.ROWS_MAX} rows",
    Fault.COLUMNS: f"its blocks declare more than {layout.COLUMNS_MAX} columns",
    Fault.BLOCKS: f"it has more than {layout.BLOCKS_MAX} blocks",
    Fault.NO_COLUMNS: "a block has rows and no columns",
    Fault.COUNT: "its blocks hold another number of readings than its header declares",
    Fault.UNIT: "a time column has an unknown unit",
    Fault.CODE: f"a Rice code begins with more than {layout.ESCAPE} zeros",
    Fault.WIDTH: "a fixed-width column has a width that is not 1 to 64 bits",
    Fault.PREDICTOR: "a second-difference column has fewer than two rows",
    Fault.SCALE: "a scaled integer column has a factor below 2",
    Fault.SERIES: f"a series number is over {layout.SERIES_MAX}",
    Fault.TAG: "a column has an unknown tag",
    Fault.PATCH: "a patch mark is not 0 to 5",
    Fault.STEP: "the step of a column is not a finite number above 0",
    Fault.EXPONENT: "a float32 exponent is not 0 to 255",
    Fault.FLOAT32: "a float32 pattern is not of 32 bits",
    Fault.BOOL: "a bool is neither 0 nor 1",
    Fault.DICTIONARY: "a text dictionary is empty, or has more entries than its column has rows",
    Fault.TEXT: f"a text is longer than {layout.TEXT_BYTES_MAX} bytes, or not UTF-8",
    Fault.WORD: "a text column points outside its dictionary",
    Fault.QUALITY: "a quality is not 0, 1 or 2",
}


class FrameError(JunkError):
    """These bytes are not a frame that we can read: quarantine them."""


def refuse(fault: int) -> FrameError:
    """The error to raise for a fault inside the blocks."""
    return FrameError(f"frame refused: {SENTENCES[Fault(fault)]}")
