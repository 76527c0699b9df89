"""Bounded reads from the blocks of a frame: bytes, variable-length numbers, packed bits, integer columns."""

from __future__ import annotations

from streams.frames import layout
from streams.frames.fault import Fault, refuse
from streams.frames.header import Bytes
from streams.frames.varint import MASK, unzigzag, wrap


class Reader:
    """A place in the blocks of a frame. Every read is checked against their end and raises FrameError behind it."""

    def __init__(self, data: Bytes) -> None:
        self._data = bytes(data)
        self.at = 0
        self.stop = len(self._data)

    def byte(self) -> int:
        return self.take(1)[0]

    def take(self, size: int) -> bytes:
        """The next `size` bytes."""
        if size > self.stop - self.at:
            raise refuse(Fault.TRUNCATED)
        self.at += size
        return self._data[self.at - size : self.at]

    def unsigned(self) -> int:
        """A variable-length number, 0 .. 2**64 - 1."""
        number = shift = 0
        while True:
            byte = self.byte()
            number |= (byte & 127) << shift
            if byte < 128:
                break
            shift += 7
            if shift > 63:
                raise refuse(Fault.NUMBER)
        if number > MASK:
            raise refuse(Fault.NUMBER)
        return number

    def signed(self) -> int:
        return unzigzag(self.unsigned())

    def integers(self, count: int) -> list[int]:
        """An integer column of `count` >= 1 rows."""
        descriptor = self.byte()
        predictor, coding = descriptor & 3, descriptor >> 2 & 31
        factor = 1
        if descriptor & layout.SCALED:
            factor = self.unsigned()
            if factor < 2:
                raise refuse(Fault.SCALE)
        level = self.signed()
        slope = self.signed() if predictor != layout.LEVEL else 0
        if predictor == layout.SECOND and count < 2:
            raise refuse(Fault.PREDICTOR)
        skipped = {layout.DELTA: 1, layout.SECOND: 2}.get(predictor, 0)
        residuals = [unzigzag(code) for code in self._codes(coding, count - skipped)]
        return [wrap(value * factor) for value in _predicted(predictor, level, slope, residuals)]

    def _codes(self, coding: int, count: int) -> list[int]:
        if coding == layout.CODING_ZERO:
            return [0] * count
        if coding == layout.CODING_FIXED:
            return self._fixed(count)
        return self._rice(coding - 1, count)

    def _fixed(self, count: int) -> list[int]:
        width = self.byte()
        if not 1 <= width <= 64:
            raise refuse(Fault.WIDTH)
        first = self.at * 8
        self.take((count * width + 7) // 8)
        mask = (1 << width) - 1
        return [self._bits(first + index * width) & mask for index in range(count)]

    def _rice(self, k: int, count: int) -> list[int]:
        codes: list[int] = []
        bit = self.at * 8
        mask = (1 << k) - 1
        for _ in range(count):
            bits = self._bits(bit)
            zeros = (bits & -bits).bit_length() - 1 if bits else self.stop * 8 - bit
            if bit + zeros >= self.stop * 8:
                raise refuse(Fault.TRUNCATED)
            if zeros > layout.ESCAPE:
                raise refuse(Fault.CODE)
            bits >>= zeros + 1
            if zeros == layout.ESCAPE:
                codes.append(bits & MASK)
                bit += zeros + 1 + 64
            else:
                codes.append(zeros << k | bits & mask)
                bit += zeros + 1 + k
            if bit > self.stop * 8:
                raise refuse(Fault.TRUNCATED)
        self.at = (bit + 7) >> 3
        return codes

    def _bits(self, bit: int) -> int:
        """The bits from `bit` on, lowest first; enough of them for the longest code."""
        byte = bit >> 3
        return int.from_bytes(self._data[byte : byte + 13], "little") >> (bit & 7)


def _predicted(predictor: int, level: int, slope: int, residuals: list[int]) -> list[int]:
    if predictor == layout.LEVEL:
        return [level + residual for residual in residuals]
    if predictor == layout.LINE:
        return [level + index * slope + residual for index, residual in enumerate(residuals)]
    values = [level]
    if predictor == layout.DELTA:
        for residual in residuals:
            values.append(values[-1] + slope + residual)
        return values
    values.append(level + slope)
    for residual in residuals:
        slope = wrap(slope + residual)
        values.append(values[-1] + slope)
    return values
