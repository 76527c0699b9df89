"""Errors, split by what the caller does next. A message names the thing, the value and the remedy."""

from __future__ import annotations


class PenstockError(Exception):
    """Base of every error that Penstock raises on purpose."""

    exit_status = 1


class MisuseError(PenstockError):
    """We, or the person at the keyboard, asked for something that cannot be: mend the call and try again."""

    exit_status = 2


class JunkError(PenstockError):
    """The peer sent what cannot be understood: refuse or quarantine it, go on with the next."""


class TryLaterError(PenstockError):
    """Nothing is wrong with the request; the same call may succeed after `retry_after_s` seconds."""

    def __init__(self, message: str, *, retry_after_s: float) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class CorruptError(PenstockError):
    """Bytes at rest are not what was written: isolate the range, keep a copy, report it."""


class DiskError(PenstockError):
    """The disk refused a write or a sync: nothing that depended on it may be acknowledged."""
