"""Frames: batches of readings as a device publishes them, a byte or two a reading (docs/frame-format.md).

`encode` and `decode` need the standard library alone. `encode_numpy` and `decode_compiled` are faster, and imported
only by those who have numpy and numba.
"""

from streams.frames.decode import decode
from streams.frames.encode import encode
from streams.frames.fault import FrameError
from streams.frames.frame import KIND_CODES, KINDS, Block, ClockQuality, Column, Frame, Kind, Quality
from streams.frames.header import FrameHeader, read_header
from streams.frames.packing import Hints
from streams.frames.values import to_float32

__all__ = [
    "KINDS",
    "KIND_CODES",
    "Block",
    "ClockQuality",
    "Column",
    "Frame",
    "FrameError",
    "FrameHeader",
    "Hints",
    "Kind",
    "Quality",
    "decode",
    "encode",
    "read_header",
    "to_float32",
]
