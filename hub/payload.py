"""Reading the JSON that devices send: one UTF-8 object, no NaN, every number in its bounds (docs/protocol.md)."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any, NoReturn

from streams.errors import JunkError

NUMBER_MAX = (1 << 63) - 1  # epochs, sequence numbers and times are 63 bits
TEXT_MAX = 4096


def read_object(payload: bytes, what: str) -> dict[str, Any]:
    """The object that `payload` holds. JunkError names `what` and the fault."""
    try:
        value = json.loads(payload.decode("utf-8"), parse_constant=_refuse_constant, parse_float=_finite)
    except (ValueError, RecursionError) as error:
        raise JunkError(f"{what} is not JSON in UTF-8 ({str(error)[:120]})") from None
    if not isinstance(value, dict):
        raise JunkError(f"{what} must be one JSON object, not {_shown(value)}")
    return value


def whole(source: Mapping[str, Any], key: str, what: str, *, maximum: int = NUMBER_MAX) -> int:
    """The whole number from 0 to `maximum` under `key`. JunkError when it is not there or is something else."""
    value = source.get(key)
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= maximum:
        raise JunkError(f"{what}: {key} must be a whole number from 0 to {maximum}, not {_shown(value)}")
    return value


def optional_number(source: Mapping[str, Any], key: str, what: str) -> float | None:
    """The finite number under `key`, or None when there is none."""
    value = source.get(key)
    if value is None:
        return None
    if not isinstance(value, (int, float)) or isinstance(value, bool) or not _is_finite(value):
        raise JunkError(f"{what}: {key} must be a number or null, not {_shown(value)}")
    return value


def text(source: Mapping[str, Any], key: str, what: str, *, length_max: int = TEXT_MAX) -> str:
    """The text under `key`, at most `length_max` characters."""
    value = source.get(key)
    if not isinstance(value, str) or len(value) > length_max:
        raise JunkError(f"{what}: {key} must be text of at most {length_max} characters, not {_shown(value)}")
    return value


def optional_text(source: Mapping[str, Any], key: str, what: str, *, length_max: int = TEXT_MAX) -> str | None:
    """The text under `key`, or None when there is none."""
    return None if source.get(key) is None else text(source, key, what, length_max=length_max)


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _finite(digits: str) -> float:
    value = float(digits)
    if not math.isfinite(value):
        raise ValueError(f"{digits[:40]} is more than a float holds")
    return value


def _is_finite(value: int | float) -> bool:
    try:
        return math.isfinite(value)
    except OverflowError:  # a whole number that no float holds
        return False


def _shown(value: Any) -> str:
    return repr(value)[:80]
