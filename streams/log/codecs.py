"""What Kafka's clients may have compressed the records of a batch with. Never more than a bound is unpacked."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable

from streams.errors import CorruptError, MisuseError

UNPACKED_BYTES_MAX = 64 << 20

_XERIAL = b"\x82SNAPPY\x00"  # Java's clients cut what they compress into blocks, librdkafka's do not
_XERIAL_HEADER_BYTES = 16
_BLOCK = struct.Struct(">i")


def unpack(codec: int, data: bytes) -> bytes:
    """The records behind a codec's number. CorruptError: they cannot be unpacked; MisuseError: a package is missing."""
    if codec not in _CODECS:
        raise CorruptError(f"codec {codec} is none of Kafka's")
    name, package, function = _CODECS[codec]
    try:
        found = function(data)
    except ImportError:
        raise MisuseError(
            f"records are compressed with {name} and the package {package} is not installed; "
            "install it with: pip install 'penstock[codecs]'"
        ) from None
    except CorruptError:
        raise
    except Exception as error:  # each package has errors of its own
        raise CorruptError(f"records that are compressed with {name} cannot be unpacked: {error}") from None
    if len(found) > UNPACKED_BYTES_MAX:
        raise _too_much(name)
    return found


def _gzip(data: bytes) -> bytes:
    unpacker = zlib.decompressobj(wbits=31)
    found = unpacker.decompress(data, UNPACKED_BYTES_MAX + 1)
    if len(found) <= UNPACKED_BYTES_MAX and (not unpacker.eof or unpacker.unused_data):
        raise CorruptError("records that are compressed with gzip do not end where their batch does")
    return found


def _snappy(data: bytes) -> bytes:
    from cramjam import snappy

    blocks = _xerial_blocks(data) if data.startswith(_XERIAL) else [data]
    found: list[bytes] = []
    left = UNPACKED_BYTES_MAX
    for block in blocks:
        left -= snappy.decompress_raw_len(block)  # which it says itself, before anything is allocated
        if left < 0:
            raise _too_much("snappy")
        found.append(bytes(snappy.decompress_raw(block)))
    return b"".join(found)


def _xerial_blocks(data: bytes) -> list[bytes]:
    blocks: list[bytes] = []
    at = _XERIAL_HEADER_BYTES
    while at < len(data):
        (size,) = _BLOCK.unpack_from(data, at)
        at += _BLOCK.size
        if not 0 < size <= len(data) - at:
            raise CorruptError(f"a block of {size} bytes is not in the {len(data) - at} bytes of snappy that are left")
        blocks.append(data[at : at + size])
        at += size
    return blocks


def _lz4(data: bytes) -> bytes:
    from lz4.frame import LZ4FrameDecompressor

    unpacker = LZ4FrameDecompressor()
    found: bytes = unpacker.decompress(data, UNPACKED_BYTES_MAX + 1)
    if len(found) <= UNPACKED_BYTES_MAX and (not unpacker.eof or unpacker.unused_data):
        raise CorruptError("records that are compressed with lz4 do not end where their batch does")
    return found


def _zstd(data: bytes) -> bytes:
    from zstandard import ZstdDecompressor

    unpacker = ZstdDecompressor(max_window_size=UNPACKED_BYTES_MAX)
    with unpacker.stream_reader(data, read_across_frames=True) as stream:
        found: bytes = stream.read(UNPACKED_BYTES_MAX + 1)
    return found


def _too_much(name: str) -> CorruptError:
    return CorruptError(f"records that are compressed with {name} are more than {UNPACKED_BYTES_MAX} bytes unpacked")


_CODECS: dict[int, tuple[str, str, Callable[[bytes], bytes]]] = {
    1: ("gzip", "zlib", _gzip),
    2: ("snappy", "cramjam", _snappy),
    3: ("lz4", "lz4", _lz4),
    4: ("zstd", "zstandard", _zstd),
}
