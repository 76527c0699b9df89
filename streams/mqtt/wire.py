"""The primitive fields of MQTT: integers, varints, text, binary (5.0, 1.5), read with every bound checked."""

from __future__ import annotations

from streams.mqtt.malformed import MalformedPacket

VARINT_MAX = 268_435_455


class Cursor:
    """Reads fields one after another; MalformedPacket when the packet ends before a field does."""

    __slots__ = ("_at", "_data", "_end")

    def __init__(self, data: bytes, at: int, end: int) -> None:
        self._data = data
        self._at = at
        self._end = end

    @property
    def left(self) -> int:
        return self._end - self._at

    def take(self, size: int) -> bytes:
        start, stop = self._at, self._at + size
        if stop > self._end:
            raise MalformedPacket(f"the packet ends {stop - self._end} bytes too early")
        self._at = stop
        return bytes(self._data[start:stop])

    def byte(self) -> int:
        return self.take(1)[0]

    def uint16(self) -> int:
        return int.from_bytes(self.take(2), "big")

    def uint32(self) -> int:
        return int.from_bytes(self.take(4), "big")

    def varint(self) -> int:
        number = 0
        for shift in (0, 7, 14, 21):
            byte = self.byte()
            number |= (byte & 0x7F) << shift
            if byte < 0x80:
                if byte == 0 and shift:
                    raise MalformedPacket("a variable byte integer is longer than it must be")
                return number
        raise MalformedPacket("a variable byte integer is longer than four bytes")

    def binary(self) -> bytes:
        return self.take(self.uint16())

    def text(self) -> str:
        """UTF-8 without NUL and without surrogates (5.0, 1.5.4)."""
        try:
            text = self.binary().decode("utf-8")
        except UnicodeDecodeError:
            raise MalformedPacket("text is not UTF-8") from None
        if "\0" in text:
            raise MalformedPacket("text holds a NUL")
        return text

    def rest(self) -> bytes:
        return self.take(self.left)

    def part(self, size: int) -> Cursor:
        """A cursor over the next `size` bytes, which are taken."""
        start = self._at
        self.take(size)
        return Cursor(self._data, start, start + size)

    def finish(self) -> None:
        if self.left:
            raise MalformedPacket(f"{self.left} bytes stand after the end of the packet")


def put_varint(out: bytearray, number: int) -> None:
    if not 0 <= number <= VARINT_MAX:
        raise ValueError(f"{number} does not fit a variable byte integer")
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)


def put_binary(out: bytearray, data: bytes) -> None:
    if len(data) > 0xFFFF:
        raise ValueError(f"a field of {len(data)} bytes is above the 65535 of MQTT")
    out += len(data).to_bytes(2, "big")
    out += data


def put_text(out: bytearray, text: str) -> None:
    put_binary(out, text.encode("utf-8"))
