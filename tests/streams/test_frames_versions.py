"""A program of version n reads n - 1 as well: the mechanism, tried with a version 0 that never was.

Version 0 of these tests has its header in another order and its blocks with all bits turned over.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator

import pytest

from streams.frames import ClockQuality, FrameError, FrameHeader, Kind, decode, encode, header, layout, read_header
from streams.frames.decode_compiled import batches, decode_many
from streams.frames.fault import FrameError as Refused
from tests.streams.frame_samples import decoded_rows, rows, simple

NEW = simple(Kind.FLOAT64, [20.5, 20.25, 21.0])
OLD = simple(Kind.TEXT, ["on", "off"])


def version_0(data: bytes) -> bytes:
    """The frame as a device of version 0 would have sent it; small numbers."""
    found = read_header(data)
    head = bytes([0xFE, 0x50, 0, found.count]) + found.epoch.to_bytes(8, "big") + found.sequence.to_bytes(8, "big")
    body = bytes(255 - byte for byte in data[found.body_start : found.body_stop])
    return head + body + zlib.crc32(head + body).to_bytes(4, "big")


def read_header_0(data: header.Bytes) -> FrameHeader:
    stop = len(data) - 4
    if zlib.crc32(bytes(data[:stop])) != int.from_bytes(data[stop:], "big"):
        raise Refused("frame refused: damaged (version 0)")
    epoch, sequence = int.from_bytes(data[4:12], "big"), int.from_bytes(data[12:20], "big")
    return FrameHeader(0, epoch, sequence, data[3], 0, ClockQuality.UNKNOWN, False, 20, stop)


def read_body_0(data: header.Bytes, found: FrameHeader) -> header.Bytes:
    return bytes(255 - byte for byte in data[found.body_start : found.body_stop])


@pytest.fixture
def with_version_0(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setitem(header.FORMATS, 0, header.Format(read_header_0, read_body_0))
    yield


@pytest.mark.usefixtures("with_version_0")
def test_frames_of_two_versions_are_read_side_by_side() -> None:
    new, old = encode(NEW), version_0(encode(OLD))
    assert rows(decode(old)) == rows(OLD)
    decoded = decode_many([new, old, new])
    assert not decoded.errors
    assert [decoded_rows(decoded, index) for index in range(3)] == [rows(NEW), rows(OLD), rows(NEW)]
    assert [found.version for found in decoded.headers if found] == [1, 0, 1]
    assert (read_header(old).sequence, read_header(old).count) == (OLD.sequence, OLD.count)
    assert [list(batch) for batch in batches([new, old], readings_max=4)] == [[0], [1]]


@pytest.mark.usefixtures("with_version_0")
def test_a_damaged_frame_of_the_older_version_is_refused() -> None:
    old = bytearray(version_0(encode(OLD)))
    old[22] ^= 1
    with pytest.raises(FrameError, match="damaged"):
        decode(bytes(old))
    assert decode_many([bytes(old)]).errors == {0: "frame refused: damaged (version 0)"}


def test_a_version_that_is_not_known_is_refused_with_those_that_are(monkeypatch: pytest.MonkeyPatch) -> None:
    newer = encode(NEW)[:2] + b"\x07" + encode(NEW)[3:]
    with pytest.raises(FrameError, match=r"format version 7; this program reads version 1$"):
        decode(newer)
    monkeypatch.setitem(header.FORMATS, 0, header.Format(read_header_0, read_body_0))
    assert "this program reads version 0 and 1" in decode_many([newer]).errors[0]


def test_the_present_version_and_the_one_before_it_are_read() -> None:
    assert set(header.FORMATS) == {version for version in (layout.VERSION - 1, layout.VERSION) if version > 0}
