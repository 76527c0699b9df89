"""Manifests as devices send them, junk included."""

from __future__ import annotations

import json
import zlib
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from hub.manifest import read_manifest
from processors.manifests import Manifests, SeriesInfo
from streams.errors import JunkError
from tests.processors.world import manifest


def test_a_manifest_is_known_by_device_and_checksum() -> None:
    manifests = Manifests()
    payload = manifest({"name": "flow", "unit": "l/min", "resolution": 0.5, "minimum": 0, "maximum": 400})
    number = manifests.add("pump", payload)
    assert number == zlib.crc32(payload)
    assert manifests.get("pump", number) == {0: SeriesInfo("pump", "flow", "float64", "l/min", 0.5, 0.0, 400.0, None)}
    assert manifests.knows("pump", number)
    assert not manifests.knows("other", number)
    with pytest.raises(KeyError):
        manifests.get("other", number)


def test_a_manifest_that_comes_again_is_not_new() -> None:
    manifests = Manifests()
    assert manifests.add("d", manifest("a")) is not None
    assert manifests.add("d", manifest("a")) is None
    assert manifests.add("e", manifest("a")) is not None


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        (b"", "Expecting value"),
        (b"\xff\xfe", "codec can't decode"),
        (b"[1]", "needs a list `series`"),
        (b"{}", "needs a list `series`"),
        (b'{"series": {}}', "needs a list `series`"),
        (b'{"series": [7]}', "must be an object"),
        (b'{"series": [{"name": "a", "type": "float64"}]}', "id None"),
        (manifest({"name": "a", "id": -1}), "id -1 is not a number from 0 to 65535"),
        (manifest({"name": "a", "id": 10**12}), "id 1000000000000"),
        (manifest({"name": "a", "id": True}), "id True"),
        (b'{"series": [{"id": Infinity, "name": "a", "type": "float64"}]}', "id inf"),
        (manifest("a", {"name": "b", "id": 0}), "of its own"),
        (manifest("a", "a"), "same name"),
        (manifest(""), "is not a name"),
        (manifest("a b"), "is not a name"),
        (manifest({"name": ["a"]}), "is not a name"),
        (manifest({"name": "a", "type": "complex"}), "type 'complex' of a"),
        (manifest({"name": "a", "type": ["float64"]}), "type"),
        (manifest({"name": "a", "unit": 5}), "unit 5 of a is not text"),
        (manifest({"name": "a", "maximum": "high"}), "maximum 'high' of a is not a number"),
        (b'{"series": [{"id": 0, "name": "a", "type": "bool", "minimum": NaN}]}', "minimum nan"),
        (b'{"series": [{"id": 0, "name": "a", "type": "bool", "minimum": 1' + b"0" * 400 + b"}]}", "too large"),
        (b'{"series": ' + b"[" * 100_000, "recursion"),
        (b'{"series": [{"id": 1' + b"0" * 5000 + b"}]}", "digit"),
    ],
)  # fmt: skip
def test_one_without_meaning_is_remembered_with_the_reason(payload: bytes, reason: str) -> None:
    manifests = Manifests()
    number = manifests.add("press-7", payload)
    assert number is not None
    assert manifests.knows("press-7", number)
    with pytest.raises(JunkError, match="the manifest of press-7 cannot be read") as caught:
        manifests.get("press-7", number)
    assert reason in str(caught.value)
    assert len(str(caught.value)) < 300


def test_half_a_surrogate_pair_in_a_unit_is_replaced() -> None:
    manifests = Manifests()
    number = manifests.add("d", b'{"series": [{"id": 0, "name": "a", "type": "float64", "unit": "\\ud800C"}]}')
    assert number is not None
    assert manifests.get("d", number)[0].unit == "?C"


_numbers = st.none() | st.integers() | st.floats() | st.booleans() | st.text(max_size=3) | st.just(10**400)
_series = st.fixed_dictionaries(
    {},
    optional={
        "id": st.integers(-2, 5) | st.just(65_535) | st.just(65_536) | _numbers,
        "name": st.sampled_from(["a", "b", "c.d", "", "x y"]) | _numbers,
        "type": st.sampled_from(["float64", "int64", "bool", "text", "float32", "float16"]) | _numbers,
        "unit": st.text(max_size=3) | _numbers,
        "resolution": _numbers,
        "minimum": _numbers,
        "maximum": _numbers,
        "interval_s": _numbers,
    },
)


@given(st.fixed_dictionaries({"series": st.lists(_series | _numbers, max_size=4) | _numbers}))
@example({"series": [{"id": 0, "name": "a", "type": "float64", "unit": "\ud800"}]})
def test_what_the_hub_takes_is_taken_here_with_the_same_series(document: dict[str, Any]) -> None:
    payload = json.dumps(document).encode()
    manifests = Manifests()
    number = manifests.add("d", payload)
    assert number is not None
    try:
        wanted = read_manifest(payload)["series"]
    except JunkError:
        return
    found = manifests.get("d", number)
    assert {number: (info.metric, info.kind) for number, info in found.items()} == {
        each["id"]: (each["name"], each["type"]) for each in wanted
    }


def test_values_are_shown_with_their_unit() -> None:
    assert SeriesInfo("d", "a", unit="bar").shown(5.25) == "5.25 bar"
    assert SeriesInfo("d", "a", unit="1").shown(0.123456) == "0.1235"
    assert SeriesInfo("d", "a").shown(-1e9) == "-1e+09"
