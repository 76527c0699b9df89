"""The contract of a thinning: readings of one series come in, in their order; those to keep come out.

It leaves out only what can be worked out from what it keeps, and never by more than its error: by holding the last kept
value (deadband), or by a straight line from one kept reading to the next (swinging door). A reading that is bad, not a
finite number, or not later than the one before is always kept. What a thinning `holds` is not decided yet: it stays
in the journal until it is, so that a kill does not take it.
"""

from __future__ import annotations

from typing import NamedTuple, Protocol

from edge.sensors.sensor import Value


class Reading(NamedTuple):
    """One reading; `time_ns` is nanoseconds since 1970 UTC."""

    time_ns: int
    value: Value
    quality: int


class Thinning(Protocol):
    """Thins one series."""

    name: str
    """As settings, manifest and ledger call it."""

    @property
    def held(self) -> Reading | None:
        """The reading that is neither kept nor left out yet."""
        ...

    def take(self, reading: Reading) -> list[Reading]:
        """Take the next reading; returns what is to be kept now, in the order of time of arrival."""
        ...

    def flush(self) -> list[Reading]:
        """The end: returns what is held, to be kept."""
        ...
