"""Units as people write them: a manifest names them by UCUM code."""

from __future__ import annotations

_WRITTEN = {"1": "", "Cel": "°C", "deg": "°", "W/m2": "W/m²", "m3/h": "m³/h", "m/s2": "m/s²", "um": "µm"}


def written(code: str | None) -> str:
    """Cel -> °C; empty for a plain number."""
    return _WRITTEN.get(code or "", code or "")
