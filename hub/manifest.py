"""A device's manifest: what the series numbers in its frames mean (docs/protocol.md, Manifest)."""

from __future__ import annotations

import re
import zlib
from collections.abc import Mapping
from typing import Any

from hub.payload import optional_number, optional_text, read_object, whole
from streams.errors import JunkError

MANIFEST_BYTES_MAX = 1 << 20
SERIES_MAX = 65_536
TYPES = ("float64", "float32", "int64", "bool", "text")

_NAME = re.compile(r"[A-Za-z0-9._\-]{1,128}")


def manifest_id(payload: bytes) -> int:
    """The number by which frames name this manifest: the CRC-32 of its exact bytes."""
    return zlib.crc32(payload)


def read_manifest(payload: bytes) -> dict[str, Any]:
    """Check a manifest's payload and return it. JunkError says which series is wrong, and how."""
    if len(payload) > MANIFEST_BYTES_MAX:
        raise JunkError(f"the manifest has {len(payload)} bytes; at most {MANIFEST_BYTES_MAX} are allowed")
    manifest = read_object(payload, "the manifest")
    series = manifest.get("series")
    if not isinstance(series, list) or len(series) > SERIES_MAX:
        raise JunkError(f"the manifest needs a list `series` of at most {SERIES_MAX}")
    ids: set[int] = set()
    names: set[str] = set()
    for index, each in enumerate(series):
        _check_series(each, f"series {index} of the manifest", ids, names)
    if not isinstance(manifest.get("device") or {}, dict):
        raise JunkError("the manifest's `device` must be an object")
    return manifest


def _check_series(series: Any, what: str, ids: set[int], names: set[str]) -> None:
    if not isinstance(series, Mapping):
        raise JunkError(f"{what} must be an object")
    number = whole(series, "id", what, maximum=SERIES_MAX - 1)
    name = series.get("name")
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise JunkError(f"{what}: name must be 1 to 128 letters, digits, '.', '_' or '-', not {str(name)[:80]!r}")
    if number in ids or name in names:
        raise JunkError(f"{what}: id {number} and name {name} must both be unique in the manifest")
    ids.add(number)
    names.add(name)
    if series.get("type") not in TYPES:
        raise JunkError(f"{what}: type must be one of {', '.join(TYPES)}, not {str(series.get('type'))[:80]!r}")
    for key in ("resolution", "interval_s", "minimum", "maximum"):
        optional_number(series, key, what)
    for key in ("unit", "description"):
        optional_text(series, key, what)
