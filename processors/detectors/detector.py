"""The contract of a detector (docs/detectors.md; held by tests/contracts/test_detector_contract.py)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from processors.manifests import SeriesInfo

Step = Callable[[Any, float, float, float, float, float], float]
"""step(state, time_s, value, resolution, minimum, maximum) -> strength.

`state` is one row of `width` float64, all 0 before the first reading; the step changes it in place. `resolution` is 0,
`minimum` and `maximum` are infinite when the manifest does not tell them. A strength of 1 is where an alarm opens by
default; it is finite and not negative for every finite value. Called once for each reading of a series that is a good
number, in the order of the log; never twice for one reading (a killed process forgets the last seconds of its state);
strictly online: nothing of what comes later is known. It is written in the part of Python that numba compiles, with
math.sqrt and without ** 0.5, so that compiled and interpreted agree to the bit.
"""

Says = Callable[[float, float, float, SeriesInfo], str]
"""says(value, usual, spread, series) -> the rest of the sentence that begins "flow of pump-001 ...".

`value` is the reading that opens the alarm, `usual` and `spread` are columns 0 and 1 of the state after it.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Detector:
    """A detector as the registry knows it. Columns 0 and 1 of the state tell what is usual and how far it spreads."""

    name: str
    version: int
    """Another number for another answer: state that an earlier version left is forgotten."""
    kind: str
    """"process": the machine misbehaves; "sensor": the sensor does."""
    width: int
    """Columns of the state, 2 at least."""
    step: Step
    says: Says
