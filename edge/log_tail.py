"""The last lines that this process logged, for whoever asks from afar."""

from __future__ import annotations

import collections
import logging

_LINES_MAX = 1000
_LINE_LENGTH_MAX = 1000

_lines: collections.deque[str] = collections.deque(maxlen=_LINES_MAX)


class _Tail(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        _lines.append(self.format(record)[:_LINE_LENGTH_MAX])


def keep_log_tail() -> None:
    """Keep the last lines from now on; once a process."""
    root = logging.getLogger()
    if not any(isinstance(each, _Tail) for each in root.handlers):
        tail = _Tail()
        tail.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
        root.addHandler(tail)


def log_tail() -> list[str]:
    """The last lines, oldest first; none when nobody asked to keep them."""
    return list(_lines)
