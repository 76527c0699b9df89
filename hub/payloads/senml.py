"""SenML (RFC 8428), as JSON and as CBOR: records whose base fields hold for those that follow.

Values: `v` is a number, `vb` a bool, `vs` a text, `vd` a text too (its base64url). A sum `s` is a series of its own,
with `.sum` behind the name. `ut` is left out. Names are those of the RFC (4.5.1), anything else is refused; a field
that must be understood (its name ends in `_`) and is not, too.
"""

from __future__ import annotations

import base64
import io
import json
import math
import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Any, NoReturn

import cbor2

from hub.payloads.reading import Reading, Readings
from hub.payloads.times import from_seconds
from streams.errors import JunkError
from streams.frames import Kind

VERSION = 10
RELATIVE_MAX_S = 1 << 28
"""A smaller time is relative to now (4.5.3)."""
SECONDS_MAX = 9_223_372_036
LABELS = {
    -1: "bver", -2: "bn", -3: "bt", -4: "bu", -5: "bv", -6: "bs",
    0: "n", 1: "u", 2: "v", 3: "vs", 4: "vb", 5: "s", 6: "t", 7: "ut", 8: "vd",
}  # fmt: skip
"""The integers that stand for labels in CBOR (table 6)."""
_BASES = frozenset({"bn", "bt", "bu", "bv", "bs", "bver"})
_VALUES = ("v", "vb", "vs", "vd")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9\-:./_]*")


def read_senml(payload: bytes, now_ns: int) -> list[Reading]:
    """A pack in JSON or CBOR, whichever it is: no text begins like a CBOR array. Raises JunkError."""
    return read_senml_cbor(payload, now_ns) if payload[:1] > b"\x7f" else read_senml_json(payload, now_ns)


def read_senml_json(payload: bytes, now_ns: int) -> list[Reading]:
    """A pack in JSON. Raises JunkError."""
    try:
        pack = json.loads(payload.decode(), object_pairs_hook=_once, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise JunkError(f"SenML is not JSON in UTF-8 ({str(error)[:120]})") from None
    return _resolved(pack, now_ns)


def read_senml_cbor(payload: bytes, now_ns: int) -> list[Reading]:
    """A pack in CBOR. Raises JunkError."""
    source = io.BytesIO(payload)
    try:
        pack = cbor2.load(source)
    except (cbor2.CBORDecodeError, ValueError, ArithmeticError, RecursionError, TypeError, MemoryError) as error:
        raise JunkError(f"SenML is not CBOR ({str(error)[:120]})") from None
    if source.tell() != len(payload):
        raise JunkError(f"SenML has {len(payload) - source.tell()} bytes behind its end")
    if not isinstance(pack, (list, tuple)):
        raise JunkError(f"SenML must be an array of records, not {type(pack).__name__}")
    return _resolved([_labelled(record) for record in pack], now_ns)


def _labelled(record: Any) -> Any:
    if not isinstance(record, Mapping):
        return record
    return {LABELS.get(label, str(label)) if type(label) is int else label: each for label, each in record.items()}


def _resolved(pack: Any, now_ns: int) -> list[Reading]:
    """The readings of a pack whose labels are those of JSON."""
    if not isinstance(pack, list):
        raise JunkError(f"SenML must be an array of records, not {type(pack).__name__}")
    found = Readings()
    bases: dict[str, Any] = {}
    for index, record in enumerate(pack):
        what = f"record {index} of SenML"
        if not isinstance(record, Mapping):
            raise JunkError(f"{what} must be an object, not {type(record).__name__}")
        _check_labels(record, what)
        bases |= {label: value for label, value in record.items() if label in _BASES}
        version = bases.get("bver", VERSION)
        if not isinstance(version, int) or isinstance(version, bool) or version > VERSION:
            raise JunkError(f"{what} is of version {str(version)[:40]}; this program reads up to {VERSION}")
        if record.keys() - _BASES:
            _take(found, bases, record, now_ns, what)
    return found


def _check_labels(record: Mapping[Any, Any], what: str) -> None:
    for label in record:
        if not isinstance(label, str):
            raise JunkError(f"{what} has a label that is no text: {label!r:.80}")
        if label.endswith("_"):
            raise JunkError(f"{what} has a field that must be understood and is not: {label[:80]!r}")


def _take(found: Readings, bases: Mapping[str, Any], record: Mapping[str, Any], now_ns: int, what: str) -> None:
    name = _text(bases, "bn", what) + _text(record, "n", what)
    if not _NAME.fullmatch(name):
        raise JunkError(f"{what}: {name[:80]!r} is not a name of SenML")
    unit = _text(record, "u", what) or _text(bases, "bu", what) or None
    time_ns = _time(_number(bases, "bt", what) + _number(record, "t", what), now_ns, what)
    values = [label for label in _VALUES if label in record]
    if len(values) > 1:
        raise JunkError(f"{what} has more than one value: {', '.join(values)}")
    if "s" in record or "bs" in bases:
        total = _number(bases, "bs", what) + _number(record, "s", what)
        found.put(f"{name}.sum", Kind.FLOAT64, float(total), time_ns, unit)
    elif not values and "bv" not in bases:
        raise JunkError(f"{what} has neither a value nor a sum")
    if values:
        _take_value(found, name, values[0], bases, record, time_ns, unit, what)
    elif "bv" in bases:
        found.take(name, _number(bases, "bv", what), time_ns, unit)


def _take_value(
    found: Readings,
    name: str,
    label: str,
    bases: Mapping[str, Any],
    record: Mapping[str, Any],
    time_ns: int,
    unit: str | None,
    what: str,
) -> None:
    value = record[label]
    if label == "v":
        number = _number(record, "v", what)
        found.take(name, number + _number(bases, "bv", what) if "bv" in bases else number, time_ns, unit)
    elif label == "vb":
        if not isinstance(value, bool):
            raise JunkError(f"{what}: vb must be true or false, not {value!r:.80}")
        found.take(name, value, time_ns, unit)
    elif label == "vd" and isinstance(value, bytes):
        found.take(name, base64.urlsafe_b64encode(value).rstrip(b"=").decode(), time_ns, unit)
    else:
        found.take(name, _text(record, label, what), time_ns, unit)


def _time(seconds: int | float, now_ns: int, what: str) -> int:
    if not abs(seconds) <= SECONDS_MAX:
        raise JunkError(f"{what}: the time {seconds!r:.40} is none")
    return from_seconds(seconds) + (now_ns if seconds < RELATIVE_MAX_S else 0)


def _number(source: Mapping[str, Any], label: str, what: str) -> int | float:
    value = source.get(label, 0)
    if isinstance(value, Decimal) and value.is_finite():
        value = float(value)
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise JunkError(f"{what}: {label} must be a number, not {value!r:.80}")
    if isinstance(value, float) and not math.isfinite(value):
        raise JunkError(f"{what}: {label} must be a finite number")
    if abs(value) > 1 << 1023:
        raise JunkError(f"{what}: {label} is more than a float64 holds")
    return value


def _text(source: Mapping[str, Any], label: str, what: str) -> str:
    value = source.get(label, "")
    if not isinstance(value, str):
        raise JunkError(f"{what}: {label} must be text, not {value!r:.80}")
    return value


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    record = dict(pairs)
    if len(record) != len(pairs):
        raise ValueError("a record names a field twice")
    return record


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")
