"""One measured figure, beside a peer measured in the same run where one can be had."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """A figure. `ratio` = value / peer_value; whether more is better follows from the unit."""

    name: str
    value: float
    unit: str
    peer: str | None = None
    peer_value: float | None = None
    note: str = ""

    @property
    def ratio(self) -> float | None:
        return None if not self.peer_value else self.value / self.peer_value

    @property
    def more_is_better(self) -> bool:
        """Rates ("readings/s", "MB/s") grow, everything else (bytes, times, memory) shrinks."""
        return self.unit.endswith("/s")

    def to_json(self) -> str:
        fields = asdict(self) | {"ratio": self.ratio}
        return json.dumps({key: _rounded(value) for key, value in fields.items()})


def _rounded(value: object) -> object:
    return float(f"{value:.4g}") if isinstance(value, float) else value
