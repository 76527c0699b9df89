"""A device's account: what it says it did with the readings that it numbered (docs/protocol.md, Account)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from hub.payload import optional_text, read_object, whole
from streams.errors import JunkError
from streams.sequences import Span

RANGES_MAX = 100_000
EARLIER_MAX = 1000
PRODUCED_MAX = 1 << 48
"""Readings of one epoch: a million a second for nine years. An account that claims more is not believed."""


@dataclass(frozen=True, slots=True)
class GivenUp:
    """Readings [start, stop) that were numbered and will not be sent, and why."""

    start: int
    stop: int
    reason: str | None

    def to_json(self) -> dict[str, Any]:
        return {"start": self.start, "stop": self.stop, "reason": self.reason}


@dataclass(frozen=True, slots=True)
class Account:
    """What a device says of one epoch: every number below `produced` is acknowledged, held, dropped or thinned."""

    epoch: int
    produced: int
    time_ms: int | None = None
    held: tuple[Span, ...] = ()
    dropped: tuple[GivenUp, ...] = ()
    thinned: tuple[GivenUp, ...] = ()


def read_accounts(payload: bytes) -> tuple[Account, ...]:
    """The accounts in a payload: the present epoch first, then the earlier ones. JunkError says what is wrong."""
    source = read_object(payload, "the account")
    present = account_from(source)
    earlier = source.get("earlier") or []
    if not isinstance(earlier, list) or len(earlier) > EARLIER_MAX:
        raise JunkError(f"the account's `earlier` must be a list of at most {EARLIER_MAX} accounts")
    return (present, *(account_from(each, time_ms=present.time_ms) for each in earlier))


def account_from(source: Any, *, time_ms: int | None = None) -> Account:
    """One account out of its JSON. JunkError says what is wrong."""
    if not isinstance(source, Mapping):
        raise JunkError("an account must be a JSON object")
    return Account(
        epoch=whole(source, "epoch", "the account"),
        produced=whole(source, "produced", "the account", maximum=PRODUCED_MAX),
        time_ms=time_ms if source.get("time_ms") is None else whole(source, "time_ms", "the account"),
        held=tuple(_span(each) for each in _list(source, "held")),
        dropped=tuple(_given_up(each) for each in _list(source, "dropped")),
        thinned=tuple(_given_up(each) for each in _list(source, "thinned")),
    )


def _list(source: Mapping[str, Any], key: str) -> list[Any]:
    value = source.get(key) or []
    if not isinstance(value, list) or len(value) > RANGES_MAX:
        raise JunkError(f"the account's `{key}` must be a list of at most {RANGES_MAX} ranges")
    return value


def _span(value: Any) -> Span:
    if not isinstance(value, list) or len(value) != 2:
        raise JunkError(f"a range in the account must be [start, stop], not {str(value)[:80]}")
    return _checked({"start": value[0], "stop": value[1]})


def _given_up(value: Any) -> GivenUp:
    if not isinstance(value, Mapping):
        raise JunkError(f'readings given up must be {{"start", "stop", "reason"}}, not {str(value)[:80]}')
    start, stop = _checked(value)
    return GivenUp(start, stop, optional_text(value, "reason", "the account", length_max=200))


def _checked(source: Mapping[str, Any]) -> Span:
    what = "a range in the account"
    start, stop = whole(source, "start", what), whole(source, "stop", what, maximum=PRODUCED_MAX)
    if start > stop:
        raise JunkError(f"a range in the account ends before it starts: [{start}, {stop})")
    return start, stop
