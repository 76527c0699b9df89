# mypy: allow-untyped-defs, allow-untyped-calls, disable-error-code="assignment, call-arg"
"""The decoder of frames as machine code: thousands of frame bodies in one call, straight into arrays of rows.

Every function returns the place behind what it read, or minus a `Fault`. A place is always checked against the end
of the frame before the result is used; the buffer has PADDING bytes behind the last frame, so that the 8-byte loads
of packed bits never leave it. All kernels stand in this one file because numba's cache watches one file a kernel.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numba.cpython.unsafe.numbers import trailing_zeros

from streams.frames import layout
from streams.frames.fault import Fault

PADDING = 16
COMPILED_IN = 0x5C318DC5
"""CRC-32 of layout.py and fault.py, whose numbers become part of the machine code. numba's cache sees only when this
file changes, so this line has to change with them (a test says to what)."""

_U = np.uint64
# Indices of the inner loops are unsigned: numba then makes no check for negative ones, and LLVM merges the loads.
_POWERS = np.array(layout.POWERS)
_SIXTIETHS = np.array([60.0 * 10.0**power for power in range(3, 9)])
_MARKED = np.array([0, *layout.MARKED_PATTERNS], np.uint64).view(np.int64)

_TRUNCATED = -int(Fault.TRUNCATED)
_NUMBER = -int(Fault.NUMBER)
_ROWS = -int(Fault.ROWS)
_COLUMNS = -int(Fault.COLUMNS)
_NO_COLUMNS = -int(Fault.NO_COLUMNS)
_COUNT = -int(Fault.COUNT)
_UNIT = -int(Fault.UNIT)
_CODE = -int(Fault.CODE)
_WIDTH = -int(Fault.WIDTH)
_PREDICTOR = -int(Fault.PREDICTOR)
_SCALE = -int(Fault.SCALE)
_SERIES = -int(Fault.SERIES)
_TAG = -int(Fault.TAG)
_PATCH = -int(Fault.PATCH)
_STEP = -int(Fault.STEP)
_EXPONENT = -int(Fault.EXPONENT)
_FLOAT32 = -int(Fault.FLOAT32)
_BOOL = -int(Fault.BOOL)
_DICTIONARY = -int(Fault.DICTIONARY)
_TEXT = -int(Fault.TEXT)
_WORD = -int(Fault.WORD)
_QUALITY = -int(Fault.QUALITY)
_BLOCKS = -int(Fault.BLOCKS)

_KIND_FLOAT64, _KIND_FLOAT32, _KIND_INT64, _KIND_BOOL, _KIND_TEXT = range(5)


@njit(cache=True)
def _load(b, p):
    """8 bytes, little endian; one load instruction once it is compiled."""
    at = _U(p)
    return (
        _U(b[at])
        | _U(b[at + _U(1)]) << _U(8)
        | _U(b[at + _U(2)]) << _U(16)
        | _U(b[at + _U(3)]) << _U(24)
        | _U(b[at + _U(4)]) << _U(32)
        | _U(b[at + _U(5)]) << _U(40)
        | _U(b[at + _U(6)]) << _U(48)
        | _U(b[at + _U(7)]) << _U(56)
    )


@njit(cache=True)
def _bits(b, bit, width):
    """`width` bits, 1 to 64, from the place `bit`."""
    low = _load(b, bit >> 3) >> _U(bit & 7)
    if width <= 56:
        return low & ((_U(1) << _U(width)) - _U(1))
    high = _load(b, (bit + 32) >> 3) >> _U((bit + 32) & 7)
    return (low & _U(0xFFFFFFFF)) | (high & ((_U(1) << _U(width - 32)) - _U(1))) << _U(32)


@njit(cache=True)
def _signed(code):
    return np.int64(code >> _U(1)) ^ -np.int64(code & _U(1))


@njit(cache=True)
def _unsigned(b, p, stop):
    """A variable-length number and the place behind it."""
    number = _U(0)
    shift = _U(0)
    while p < stop:
        byte = b[p]
        p += 1
        if shift == _U(63) and (byte & 127) > 1:
            return _U(0), _NUMBER
        number |= _U(byte & 127) << shift
        if byte < 128:
            return number, p
        shift += _U(7)
        if shift > _U(63):
            return _U(0), _NUMBER
    return _U(0), _TRUNCATED


@njit(cache=True)
def _fixed(b, p, stop, out, o, n):
    if p >= stop:
        return _TRUNCATED
    width = np.int64(b[p])
    if width < 1 or width > 64:
        return _WIDTH
    bit = (p + 1) * 8
    if bit + n * width > stop * 8:
        return _TRUNCATED
    for i in range(n):
        out[_U(o + i)] = _signed(_bits(b, bit, width))
        bit += width
    return (bit + 7) >> 3


@njit(cache=True)
def _rice(b, p, stop, k, out, o, n):
    bit = p * 8
    limit = stop * 8
    mask = (_U(1) << _U(k)) - _U(1)
    for i in range(n):
        if bit >= limit:
            return _TRUNCATED
        window = _load(b, bit >> 3) >> _U(bit & 7)
        zeros = np.int64(trailing_zeros(window))
        if zeros < layout.ESCAPE:
            out[_U(o + i)] = _signed((window >> _U(zeros + 1)) & mask | _U(zeros) << _U(k))
            bit += zeros + 1 + k
        elif zeros > layout.ESCAPE:
            return _CODE
        elif bit + zeros + 1 + 64 > limit:
            return _TRUNCATED
        else:
            out[_U(o + i)] = _signed(_bits(b, bit + zeros + 1, 64))
            bit += zeros + 1 + 64
    if bit > limit:
        return _TRUNCATED
    return (bit + 7) >> 3


@njit(cache=True)
def _residuals(b, p, stop, coding, out, o, n):
    if coding == layout.CODING_ZERO:
        for i in range(n):
            out[_U(o + i)] = 0
        return p
    if coding == layout.CODING_FIXED:
        return _fixed(b, p, stop, out, o, n)
    return _rice(b, p, stop, coding - 1, out, o, n)


@njit(cache=True)
def _integers(b, p, stop, out, o, n):
    """An integer column into out[o : o + n], n >= 1. Arithmetic is modulo 2**64."""
    if p >= stop:
        return _TRUNCATED
    descriptor = np.int64(b[p])
    p += 1
    predictor = descriptor & 3
    factor = _U(1)
    if descriptor & layout.SCALED:
        factor, p = _unsigned(b, p, stop)
        if p < 0:
            return p
        if factor < _U(2):
            return _SCALE
    code, p = _unsigned(b, p, stop)
    level = _signed(code)
    slope = np.int64(0)
    if predictor != layout.LEVEL and p >= 0:
        code, p = _unsigned(b, p, stop)
        slope = _signed(code)
    if p < 0:
        return p
    if predictor == layout.SECOND and n < 2:
        return _PREDICTOR
    skipped = 0 if predictor in (layout.LEVEL, layout.LINE) else (1 if predictor == layout.DELTA else 2)
    p = _residuals(b, p, stop, (descriptor >> 2) & 31, out, o + skipped, n - skipped)
    if p < 0:
        return p
    if predictor == layout.LEVEL:
        for i in range(o, o + n):
            out[_U(i)] += level
    elif predictor == layout.LINE:
        for i in range(n):
            out[_U(o + i)] += level + i * slope
    elif predictor == layout.DELTA:
        out[o] = level
        for i in range(o + 1, o + n):
            level += slope + out[_U(i)]
            out[_U(i)] = level
    else:
        out[o] = level
        level += slope
        out[o + 1] = level
        for i in range(o + 2, o + n):
            slope += out[_U(i)]
            level += slope
            out[_U(i)] = level
    if factor != _U(1):
        by = np.int64(factor)
        for i in range(o, o + n):
            out[_U(i)] *= by
    return p


@njit(cache=True)
def _widened(pattern):
    """The float64 pattern that equals a float32 pattern."""
    sign = pattern >> 31 << 63
    exponent = pattern >> 23 & 255
    mantissa = pattern & 0x7FFFFF
    if exponent == 255:
        return sign | np.int64(2047) << 52 | mantissa << 29
    if exponent:
        return sign | (exponent + 896) << 52 | mantissa << 29
    if mantissa == 0:
        return sign
    exponent = 897
    while mantissa < 0x800000:
        mantissa <<= 1
        exponent -= 1
    return sign | exponent << 52 | (mantissa & 0x7FFFFF) << 29


@njit(cache=True)
def _split(b, p, stop, work, patterns, o, n):
    p = _integers(b, p, stop, work, 0, n)
    if p < 0:
        return p
    for i in range(n):
        if work[_U(i)] < 0 or work[_U(i)] > 255:
            return _EXPONENT
    if p + 3 * n > stop:
        return _TRUNCATED
    for i in range(n):
        bits = np.int64(b[p]) | np.int64(b[p + 1]) << 8 | np.int64(b[p + 2]) << 16
        p += 3
        patterns[_U(o + i)] = _widened(bits >> 23 << 31 | work[_U(i)] << 23 | bits & 0x7FFFFF)
    return p


@njit(cache=True)
def _narrow_patterns(b, p, stop, work, patterns, o, n):
    p = _integers(b, p, stop, work, 0, n)
    if p < 0:
        return p
    for i in range(n):
        if work[_U(i)] < 0 or work[_U(i)] > 0xFFFFFFFF:
            return _FLOAT32
        patterns[_U(o + i)] = _widened(work[_U(i)])
    return p


@njit(cache=True)
def _corrections(b, p, stop, work, patterns, o, n):
    p = _integers(b, p, stop, work, 0, n)
    if p < 0:
        return p
    for i in range(n):
        patterns[_U(o + i)] += work[_U(i)]
    return p


@njit(cache=True)
def _decimals(b, p, stop, tag, work, values, patterns, o, n):
    p = _integers(b, p, stop, work, 0, n)
    if p < 0:
        return p
    if tag < layout.SIXTIETHS:
        divisor = _POWERS[tag & 15]
    else:
        divisor = _SIXTIETHS[tag - layout.SIXTIETHS]
    for i in range(n):
        values[_U(o + i)] = work[_U(i)] / divisor
    return p if tag < layout.CORRECTED else _corrections(b, p, stop, work, patterns, o, n)


@njit(cache=True)
def _float32_decimals(b, p, stop, tag, work, values, o, n):
    p = _integers(b, p, stop, work, 0, n)
    if p < 0:
        return p
    divisor = _POWERS[tag - layout.FLOAT32_DECIMAL]
    for i in range(n):
        values[_U(o + i)] = np.float64(np.float32(work[_U(i)] / divisor))
    return p


@njit(cache=True)
def _steps(b, p, stop, tag, work, values, patterns, o, n):
    if p + 8 > stop:
        return _TRUNCATED
    patterns[o] = np.int64(_load(b, p))
    step = values[o]
    if not (step > 0 and step < np.inf):
        return _STEP
    p = _integers(b, p + 8, stop, work, 0, n)
    if p < 0:
        return p
    for i in range(n):
        values[_U(o + i)] = work[_U(i)] * step
    return p if tag == layout.STEP else _corrections(b, p, stop, work, patterns, o, n)


@njit(cache=True)
def _floats(b, p, stop, tag, work, values, patterns, o, n):
    """The values of a float64 or float32 column."""
    if tag < layout.STEP:
        return _decimals(b, p, stop, tag, work, values, patterns, o, n)
    if tag <= layout.STEP_CORRECTED:
        return _steps(b, p, stop, tag, work, values, patterns, o, n)
    if tag == layout.PATTERN:
        return _integers(b, p, stop, patterns, o, n)
    if tag in (layout.NARROW_SPLIT, layout.FLOAT32_SPLIT):
        return _split(b, p, stop, work, patterns, o, n)
    if tag in (layout.NARROW_PATTERN, layout.FLOAT32_PATTERN):
        return _narrow_patterns(b, p, stop, work, patterns, o, n)
    return _float32_decimals(b, p, stop, tag, work, values, o, n)


@njit(cache=True)
def _patches(b, p, stop, kind, work, patterns, o, n):
    p = _integers(b, p, stop, work, 0, n)
    if p < 0:
        return p
    size = 8 if kind == _KIND_FLOAT64 else 4
    for i in range(n):
        mark = work[_U(i)]
        if mark == 0:
            continue
        if mark < 0 or mark > layout.MARK_LITERAL:
            return _PATCH
        if mark < layout.MARK_LITERAL:
            patterns[_U(o + i)] = _MARKED[mark]
            continue
        if p + size > stop:
            return _TRUNCATED
        pattern = np.int64(_load(b, p))
        patterns[_U(o + i)] = pattern if size == 8 else _widened(pattern & 0xFFFFFFFF)
        p += size
    return p


@njit(cache=True)
def _whole(b, p, stop, kind, values, integers, o, n):
    """The values of an int64 or bool column."""
    p = _integers(b, p, stop, integers, o, n)
    if p < 0:
        return p
    for i in range(o, o + n):
        values[_U(i)] = integers[_U(i)]
    if kind == _KIND_BOOL:
        for i in range(o, o + n):
            if integers[_U(i)] < 0 or integers[_U(i)] > 1:
                return _BOOL
    return p


@njit(cache=True)
def _is_utf8(b, p, stop):
    while p < stop:
        c = b[p]
        p += 1
        if c < 0x80:
            continue
        low, high = 0x80, 0xBF  # what the second byte may be
        if 0xC2 <= c <= 0xDF:
            more = 1
        elif 0xE0 <= c <= 0xEF:
            more = 2
            low = 0xA0 if c == 0xE0 else 0x80
            high = 0x9F if c == 0xED else 0xBF
        elif 0xF0 <= c <= 0xF4:
            more = 3
            low = 0x90 if c == 0xF0 else 0x80
            high = 0x8F if c == 0xF4 else 0xBF
        else:
            return False
        if p + more > stop or b[p] < low or b[p] > high:
            return False
        for i in range(p + 1, p + more):
            if b[i] < 0x80 or b[i] > 0xBF:
                return False
        p += more
    return True


@njit(cache=True)
def _texts(b, p, stop, work, values, text, dictionary, known, o, n):
    """A text column. Its words go to dictionary[known:] as (start, stop); text gets their places there."""
    size, p = _unsigned(b, p, stop)
    if p < 0:
        return p, known
    if size < _U(1) or size > _U(n):
        return _DICTIONARY, known
    words = np.int64(size)
    for word in range(words):
        length, p = _unsigned(b, p, stop)
        if p < 0:
            return p, known
        if length > _U(layout.TEXT_BYTES_MAX):
            return _TEXT, known
        behind = p + np.int64(length)
        if behind > stop:
            return _TRUNCATED, known
        if not _is_utf8(b, p, behind):
            return _TEXT, known
        dictionary[known + word, 0] = p
        dictionary[known + word, 1] = behind
        p = behind
    p = _integers(b, p, stop, work, 0, n)
    if p < 0:
        return p, known
    for i in range(n):
        if work[_U(i)] < 0 or work[_U(i)] >= words:
            return _WORD, known
        text[_U(o + i)] = known + work[_U(i)]
        values[_U(o + i)] = np.nan
    return p, known + words


@njit(cache=True)
def _qualities(b, p, stop, work, quality, o, n):
    p = _integers(b, p, stop, work, 0, n)
    if p < 0:
        return p
    for i in range(n):
        if work[_U(i)] < 0 or work[_U(i)] > 2:
            return _QUALITY
        quality[_U(o + i)] = work[_U(i)]
    return p


@njit(cache=True)
def _kind_of(encoding):
    if encoding <= layout.PATTERN:
        return _KIND_FLOAT64
    if encoding in (layout.FLOAT32_SPLIT, layout.FLOAT32_PATTERN):
        return _KIND_FLOAT32
    if layout.FLOAT32_DECIMAL <= encoding <= layout.FLOAT32_DECIMAL + layout.FLOAT32_DIGITS_MAX:
        return _KIND_FLOAT32
    if layout.INT64 <= encoding <= layout.TEXT:
        return _KIND_INT64 + encoding - layout.INT64
    return -1


@njit(cache=True)
def _times(b, p, stop, unit_before, reference, times, o, n):
    """A time column; returns the place behind it, its unit and its first tick."""
    if p >= stop:
        return _TRUNCATED, 0, np.int64(0)
    unit = np.int64(b[p])
    if unit not in (0, 3, 6, 9):
        return _UNIT, 0, np.int64(0)
    p = _integers(b, p + 1, stop, times, o, n)
    if p < 0:
        return p, 0, np.int64(0)
    scale = np.int64(1)
    for _ in range(unit):
        scale *= 10
    offset = reference if unit == unit_before else np.int64(0)
    first = times[o] + offset
    for i in range(o, o + n):
        times[_U(i)] = (times[_U(i)] + offset) * scale
    return p, unit, first


@njit(cache=True)
def _block_head(b, p, stop, left, columns_left):
    """Rows and columns of a block that may hold `left` readings and so many columns, and the place behind them."""
    rows, p = _unsigned(b, p, stop)
    if p < 0:
        return p, 0, 0
    columns, p = _unsigned(b, p, stop)
    if p < 0:
        return p, 0, 0
    if rows > _U(layout.ROWS_MAX):
        return _ROWS, 0, 0
    if columns > _U(columns_left):
        return _COLUMNS, 0, 0
    n, m = np.int64(rows), np.int64(columns)
    if n and m == 0:
        return _NO_COLUMNS, 0, 0
    if n * m > left:
        return _COUNT, 0, 0
    return p, n, m


@njit(cache=True)
def _column_head(b, p, stop, n):
    """Series, tag and kind of a column of n rows, and the place behind them."""
    series, p = _unsigned(b, p, stop)
    if p < 0:
        return p, 0, 0, 0
    if p >= stop:
        return _TRUNCATED, 0, 0, 0
    if series > _U(layout.SERIES_MAX):
        return _SERIES, 0, 0, 0
    tag = np.int64(b[p])
    kind = _kind_of(tag & layout.TAG_MASK)
    if kind < 0 or (tag & layout.PATCHED and kind > _KIND_FLOAT32) or (n == 0 and tag != tag & layout.TAG_MASK):
        return _TAG, 0, 0, 0
    return p + 1, np.int64(series), tag, kind


@njit(cache=True)
def decode_bodies(b, starts, stops, counts, row_start, series, kind, times, values, dictionary, status):
    """Decode bodies b[starts[f] : stops[f]] that declare counts[f] readings; a count below 0 is passed over.

    Fills row_start (one more entry than frames) and, for a frame that is refused, its fault in `status`; such a
    frame has no rows. The arrays of rows hold the sum of the counts. Returns the entries of `dictionary`, (start, stop)
    of each text in `b`, and three more arrays of rows: integers (0 where there is none), places in the dictionary (-1)
    and qualities (0). These have no rows at all if no column needs them, which spares much memory to be written.
    """
    rows = len(values)
    patterns = values.view(np.int64)
    integers, text, quality = np.empty(0, np.int64), np.empty(0, np.int32), np.empty(0, np.uint8)
    work = np.empty(layout.ROWS_MAX, np.int64)
    known = 0
    o = 0
    for f in range(len(starts)):
        row_start[f] = o
        if counts[f] < 0:
            continue
        p, stop, first, last = starts[f], stops[f], o, o + counts[f]
        unit, reference, words = np.int64(-1), np.int64(0), known
        blocks_left, columns_left = layout.BLOCKS_MAX, layout.COLUMNS_MAX
        while 0 <= p < stop:
            if blocks_left == 0:
                p = _BLOCKS
                break
            p, n, columns = _block_head(b, p, stop, last - o, columns_left)
            blocks_left -= 1
            columns_left -= columns
            block = o
            if p >= 0 and n:
                p, unit, reference = _times(b, p, stop, unit, reference, times, o, n)
            for column in range(columns):
                if p >= 0:
                    p, number, tag, code = _column_head(b, p, stop, n)
                if p < 0:
                    break
                if n == 0:
                    continue
                if column:
                    for i in range(n):
                        times[_U(o + i)] = times[_U(block + i)]
                for i in range(o, o + n):
                    series[_U(i)] = number
                    kind[_U(i)] = code
                if code <= _KIND_FLOAT32:
                    p = _floats(b, p, stop, tag & layout.TAG_MASK, work, values, patterns, o, n)
                elif code <= _KIND_BOOL:
                    if not len(integers):
                        integers = np.zeros(rows, np.int64)
                    p = _whole(b, p, stop, code, values, integers, o, n)
                else:
                    if not len(text):
                        text = np.full(rows, -1, np.int32)
                    p, words = _texts(b, p, stop, work, values, text, dictionary, words, o, n)
                if p >= 0 and tag & layout.PATCHED:
                    p = _patches(b, p, stop, code, work, patterns, o, n)
                if p >= 0 and tag & layout.QUALIFIED:
                    if not len(quality):
                        quality = np.zeros(rows, np.uint8)
                    p = _qualities(b, p, stop, work, quality, o, n)
                o += n
        if p >= 0 and o != last:
            p = _COUNT
        if p >= 0:
            known = words
            continue
        status[f] = -p
        integers[first:last] = 0
        text[first:last] = -1
        quality[first:last] = 0
        o = first
    row_start[len(starts)] = o
    return known, integers, text, quality
