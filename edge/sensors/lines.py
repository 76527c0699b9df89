"""What devices say as text: JSON, `name=value` pairs, a pattern, or one value; and lines out of a stream of bytes."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Mapping

from edge.sensors.declared import SeriesOptions, unique
from edge.sensors.sensor import Bad, Given, Value
from streams.errors import JunkError
from streams.settings import setting

LINE_BYTES_MAX = 65536

# a name begins where a word begins: looking from each of its letters would take the square of the length
_PAIR = re.compile(r"""(?<![^\s,;])([^\s=,;"]+)\s*=\s*(?:"([^"]*)"|([^\s,;]*))""")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class TextSeriesOptions(SeriesOptions):
    """A series that is found in text."""

    field: str = setting("", "Member of the JSON (a.b.0), name of the pair, group of the pattern; empty: the name.")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class TextOptions:
    """How to read what a device says."""

    format: str = setting("json", "How it is written.", choices=("json", "pairs", "pattern", "value"))
    pattern: str = setting("", "A regular expression with named groups, for the format pattern.")
    series: tuple[TextSeriesOptions, ...] = setting((), "What to find, one table a series.")

    def __post_init__(self) -> None:
        unique(self.series)
        if (self.format == "pattern") != bool(self.pattern):
            raise ValueError("the format pattern needs a pattern, and no other format takes one")
        try:
            groups = re.compile(self.pattern).groupindex
        except re.error as error:
            raise ValueError(f"pattern {self.pattern!r} is no regular expression: {error}") from None
        missing = [each.field or each.name for each in self.series if (each.field or each.name) not in groups]
        if self.pattern and missing:
            raise ValueError(f"pattern {self.pattern!r} has no group {missing[0]}; write (?P<{missing[0]}>...)")


class TextReader:
    """Finds the series in a piece of text. Pure."""

    def __init__(self, options: TextOptions) -> None:
        self._options = options
        self._pattern = re.compile(options.pattern)
        self._fields = {each.name: each.field or each.name for each in options.series}

    def read(self, text: str) -> dict[str, Value | Bad]:
        """Values by the names of their series, of those that are there. JunkError when it makes no reading."""
        found = self._raw(text)
        values = {each.name: each.value(found[each.name]) for each in self._options.series if each.name in found}
        if not values:
            raise JunkError(f"it says nothing of {', '.join(sorted(set(self._fields.values())))}")
        return values

    def read_all(self, text: str) -> list[Given]:
        """A value for each series, in their order. JunkError when it makes no reading."""
        found = self.read(text)
        return [found.get(name, Bad(f"nothing was said of {field}")) for name, field in self._fields.items()]

    def _raw(self, text: str) -> Mapping[str, object]:
        match self._options.format:
            case "json":
                return self._members(text)
            case "pairs":
                pairs = {pair[1]: pair[3] if pair[2] is None else pair[2] for pair in _PAIR.finditer(text)}
                return {name: pairs[field] for name, field in self._fields.items() if field in pairs}
            case "pattern":
                match = self._pattern.search(text)
                if match is None:
                    raise JunkError("the pattern does not match")
                groups = match.groupdict()
                return {name: groups[field] for name, field in self._fields.items() if groups[field] is not None}
        return {name: text.strip() for name in self._fields}

    def _members(self, text: str) -> Mapping[str, object]:
        try:
            document = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise JunkError(f"it is not JSON: {error}") from None
        found: dict[str, object] = {}
        for name, field in self._fields.items():
            there, member = _member(document, field)
            if there and member is not None:
                found[name] = member
        return found


def _member(document: object, field: str) -> tuple[bool, object]:
    """Follow a path such as `a.b.0`; a member whose own name has dots in it is found too."""
    if isinstance(document, dict) and field in document:
        return True, document[field]
    at = document
    for part in field.split("."):
        if isinstance(at, dict) and part in at:
            at = at[part]
        elif isinstance(at, list) and part.isdecimal() and len(part) < 10 and int(part) < len(at):
            at = at[int(part)]
        else:
            return False, None
    return True, at


class LineSplitter:
    """Bytes as they come, lines as they end. A line that is too long is told as such and skipped. Pure.

    `skip_first`: the first line may lack its beginning, and could be misread; it is left out.
    """

    def __init__(self, end: bytes = b"\n", *, skip_first: bool = False) -> None:
        self._end = end
        self._skip_first = skip_first
        self._begun = b""
        self._skipping = False

    def feed(self, data: bytes) -> list[str | None]:
        """The lines that `data` ends; None for one that was too long."""
        *ended, begun = (self._begun + data).split(self._end)
        lines: list[str | None] = []
        for line in ended:
            if self._skip_first:
                self._skip_first = False
            elif self._skipping or len(line) > LINE_BYTES_MAX:
                lines.append(None)
            else:
                lines.append(line.decode("utf-8", "replace").rstrip("\r\n"))
            self._skipping = False
        if self._skipping or len(begun) > LINE_BYTES_MAX + len(self._end) - 1:
            self._skipping = True
            begun = begun[-(len(self._end) - 1) :] if len(self._end) > 1 else b""
        self._begun = begun
        return lines
