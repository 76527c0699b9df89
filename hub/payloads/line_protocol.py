"""InfluxDB line protocol: measurement, tags, fields, a time in nanoseconds.

    weather,location=us-midwest temperature=82,ok=t 1465839830100400200

A field is a series; its name is all that stands before it: `weather,location=us-midwest temperature`.
"""

from __future__ import annotations

import math
import re

from hub.payloads.reading import INT64_MAX, INT64_MIN, Reading, Readings
from streams.errors import JunkError
from streams.frames import Kind

_BLANK = re.compile(r"(?:[ \t\r\n]+|#[^\n]*)*")
_MEASUREMENT = re.compile(r"(?:\\[^\n]|[^\\, \n])+")
_KEY = re.compile(r"(?:\\[^\n]|[^\\,= \n])+")
_STRING = re.compile(r'"((?:\\[\s\S]|[^"\\])*)"')
_PLAIN = re.compile(r"[^, \r\n]+")
_SPACES = re.compile(r" +")
_TIME = re.compile(r"-?\d{1,19}")
_LINE_END = re.compile(r"[ \t\r]*(?:\n|\Z)")
_NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?")
_WHOLE = re.compile(r"[+-]?\d{1,20}[iu]")
_BOOLS = dict.fromkeys(("t", "T", "true", "True", "TRUE"), True) | dict.fromkeys(
    ("f", "F", "false", "False", "FALSE"), False
)


def read_lines(payload: bytes, now_ns: int) -> list[Reading]:
    """See the head of this file. Raises JunkError that names the line."""
    try:
        text = payload.decode()
    except UnicodeDecodeError as error:
        raise JunkError(f"line protocol is not UTF-8 ({error.reason})") from None
    lines = _Lines(text)
    found = Readings()
    while lines.has_more():
        lines.take(found, now_ns)
    return found


class _Lines:
    """A place in the text."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0

    def has_more(self) -> bool:
        """Move to the next line that is neither blank nor a comment."""
        found = _BLANK.match(self._text, self._at)
        assert found is not None
        self._at = found.end()
        return self._at < len(self._text)

    def take(self, found: Readings, now_ns: int) -> None:
        """Add the readings of this line."""
        series = self._unescaped(self._expect(_MEASUREMENT, "a measurement"), ", ")
        while self._skip(","):
            tag = self._unescaped(self._expect(_KEY, "the key of a tag"), ",= ")
            self._expect_sign("=")
            series += f",{tag}={self._unescaped(self._expect(_KEY, 'the value of a tag'), ',= ')}"
        self._expect(_SPACES, "a space before the fields")
        fields: list[tuple[str, Kind, float | int | bool | str]] = []
        while True:
            key = self._unescaped(self._expect(_KEY, "the key of a field"), ",= ")
            self._expect_sign("=")
            fields.append((key, *self._value()))
            if not self._skip(","):
                break
        time_ns = self._time(now_ns)
        for key, kind, value in fields:
            found.put(f"{series} {key}", kind, value, time_ns, None)

    def _value(self) -> tuple[Kind, float | int | bool | str]:
        if self._text.startswith('"', self._at):
            text = self._expect(_STRING, "the end of a string")
            return Kind.TEXT, self._unescaped(text[1:-1], '"\\')
        word = self._expect(_PLAIN, "the value of a field")
        if word in _BOOLS:
            return Kind.BOOL, _BOOLS[word]
        if _WHOLE.fullmatch(word):
            number = int(word[:-1])
            if not INT64_MIN <= number <= INT64_MAX or (word[-1] == "u" and number < 0):
                raise self._fault(f"{word!r} does not fit 64 bits")
            return Kind.INT64, number
        if not _NUMBER.fullmatch(word) or not math.isfinite(float(word)):
            raise self._fault(f"{word[:40]!r} is no value; text stands in quotes")
        return Kind.FLOAT64, float(word)

    def _time(self, now_ns: int) -> int:
        spaces = _SPACES.match(self._text, self._at)
        if spaces is not None:
            self._at = spaces.end()
        time = _TIME.match(self._text, self._at) if spaces is not None else None
        if time is not None:
            self._at = time.end()
        end = _LINE_END.match(self._text, self._at)
        if end is None:
            raise self._fault("the end of the line is expected")
        self._at = end.end()
        return now_ns if time is None else int(time[0])

    def _expect(self, pattern: re.Pattern[str], what: str) -> str:
        found = pattern.match(self._text, self._at)
        if found is None:
            raise self._fault(f"{what} is expected")
        self._at = found.end()
        return found[0]

    def _expect_sign(self, sign: str) -> None:
        if not self._skip(sign):
            raise self._fault(f"{sign!r} is expected")

    def _skip(self, sign: str) -> bool:
        found = self._text.startswith(sign, self._at)
        self._at += found
        return found

    def _unescaped(self, text: str, signs: str) -> str:
        return re.sub(rf"\\([{re.escape(signs)}])", r"\1", text) if "\\" in text else text

    def _fault(self, fault: str) -> JunkError:
        line = self._text.count("\n", 0, self._at) + 1
        return JunkError(f"line {line} of line protocol: {fault}, not {self._text[self._at : self._at + 30]!r}")
