"""What devices send as JSON is either understood or refused with a sentence; nothing else can happen."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub.account import Account, GivenUp, read_accounts
from hub.events import JunkEvent, decode, dump
from hub.manifest import MANIFEST_BYTES_MAX, manifest_id, read_manifest
from hub.payload import optional_number, read_object
from streams import names
from streams.errors import JunkError
from tests.hub.records import MANIFEST

SERIES = {"id": 0, "name": "a", "type": "float64"}


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"{",
        b"[]",
        b"1",
        b"null",
        b'"x"',
        b"\xff\xfe",
        b'{"a": NaN}',
        b'{"a": Infinity}',
        b'{"a": 1e999}',
        b'{"a": ' + b"9" * 5000 + b"}",
        b"[" * 100_000,
        b'{"a":' * 100_000,
    ],
    ids=lambda payload: repr(payload[:20]),
)
def test_what_is_not_one_json_object_is_refused(payload: bytes) -> None:
    with pytest.raises(JunkError, match=r"^the thing "):
        read_object(payload, "the thing")


def test_a_number_no_float_holds_is_refused() -> None:
    with pytest.raises(JunkError, match="must be a number"):
        optional_number({"a": 10**400}, "a", "the thing")


def test_a_good_manifest_is_read_and_named_by_its_bytes() -> None:
    payload = json.dumps(MANIFEST).encode()
    assert read_manifest(payload) == MANIFEST
    assert manifest_id(b"penstock") == 0xAF16E2EC


@pytest.mark.parametrize(
    ("series", "fault"),
    [
        ([SERIES, {**SERIES, "name": "b"}], "unique"),
        ([SERIES, {**SERIES, "id": 1}], "unique"),
        ([{**SERIES, "id": 65_536}], "id must be a whole number from 0 to 65535"),
        ([{**SERIES, "id": True}], "id must be a whole number"),
        ([{**SERIES, "id": -1}], "id must be a whole number"),
        ([{**SERIES, "name": "a b"}], "name must be"),
        ([{**SERIES, "name": "x" * 129}], "name must be"),
        ([{**SERIES, "name": ""}], "name must be"),
        ([{**SERIES, "type": "float16"}], "type must be one of"),
        ([{**SERIES, "type": ["bool"]}], "type must be one of"),
        ([{**SERIES, "unit": 3}], "unit must be text"),
        ([{**SERIES, "interval_s": "1"}], "interval_s must be a number"),
        ([{**SERIES, "minimum": True}], "minimum must be a number"),
        (["x"], "must be an object"),
        ({}, "needs a list"),
        (None, "needs a list"),
    ],
)
def test_a_bad_manifest_is_refused_with_its_fault(series: Any, fault: str) -> None:
    with pytest.raises(JunkError, match=fault):
        read_manifest(json.dumps({"series": series}).encode())


def test_a_manifest_over_a_mebibyte_is_refused() -> None:
    with pytest.raises(JunkError, match="at most 1048576"):
        read_manifest(b" " * (MANIFEST_BYTES_MAX + 1))


def test_the_protocols_account_is_read() -> None:
    payload = b"""{"epoch": 1790000000, "produced": 123456, "time_ms": 5, "held": [[120000, 123456]],
        "dropped": [{"start": 10, "stop": 20, "reason": "disk full"}],
        "thinned": [{"start": 30, "stop": 40, "reason": "deadband"}],
        "earlier": [{"epoch": 1780000000, "produced": 77, "held": [], "dropped": [], "thinned": []}], "new": 1}"""
    assert read_accounts(payload) == (
        Account(
            1790000000,
            123456,
            5,
            ((120000, 123456),),
            (GivenUp(10, 20, "disk full"),),
            (GivenUp(30, 40, "deadband"),),
        ),
        Account(1780000000, 77, 5),
    )


@pytest.mark.parametrize(
    "change",
    [
        {"epoch": None},
        {"epoch": -1},
        {"produced": 1.5},
        {"produced": 1 << 63},
        {"held": [[2, 1]]},
        {"held": [[1]]},
        {"held": 5},
        {"dropped": [[1, 2]]},
        {"dropped": [{"start": 1}]},
        {"thinned": [{"start": 1, "stop": 2, "reason": 7}]},
        {"earlier": [1]},
        {"earlier": {}, "held": "x"},
    ],
    ids=str,
)
def test_a_bad_account_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(JunkError):
        read_accounts(json.dumps({"epoch": 1, "produced": 2, **change}).encode())


keys = ["series", "id", "name", "type", "epoch", "produced", "held", "dropped", "start", "stop", "online", "boot"]
keys += ["key", "step", "state", "other"]
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(keys), inner, max_size=4),
    max_leaves=12,
)
channels = st.sampled_from(["manifest", "state", "account", "connection", "other"])


@given(channels, st.binary(max_size=60) | json_values.map(lambda value: json.dumps(value).encode()))
def test_any_payload_becomes_an_event_and_junk_says_why(channel: str, payload: bytes) -> None:
    for stream, key in (
        (names.DEVICES, f"press/{channel}".encode()),
        (names.TELEMETRY, b"press"),
        (names.COMMANDS, b"k"),
    ):
        headers = (("device", b"press"),) if stream == names.COMMANDS else ()
        event = decode(stream, key, payload, 5, headers)
        assert event.device == "press" and event.time_ms == 5
        if isinstance(event, JunkEvent):
            assert event.reason


@given(json_values.filter(lambda value: isinstance(value, dict)))
def test_whatever_is_read_can_be_written_again(value: Any) -> None:
    try:
        known = read_object(json.dumps(value).encode(), "it")
    except JunkError:
        return
    assert read_object(dump(known), "it") == known


def test_a_record_without_a_key_is_junk() -> None:
    assert isinstance(decode(names.DEVICES, None, b"{}", 5), JunkEvent)
    assert isinstance(decode(names.COMMANDS, None, b"nonsense", 5, (("device", b"press"),)), JunkEvent)
