"""What others send becomes the readings that it says, or is refused with a reason: vectors, and what no vector has.

The vectors (tests/vectors/payloads) are written by hand from the formats' own documents; messages come at NOW_NS.
"""

from __future__ import annotations

import contextlib
import io
import json
import math
import struct
from pathlib import Path
from typing import Any

import cbor2
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hub.payloads import READERS, Reading, format_of
from hub.payloads.plain_json import read_json
from hub.payloads.reading import NAME_BYTES_MAX, READINGS_MAX
from hub.payloads.senml import LABELS, read_senml, read_senml_cbor, read_senml_json
from streams.errors import JunkError
from streams.frames import Kind

FOLDER = Path(__file__).parents[1] / "vectors" / "payloads"
NOW_NS = 1_790_000_000_123_456_789
VECTORS = [
    pytest.param(name, vector, id=f"{name}: {vector['name']}")
    for name in ("json", "senml", "lines")
    for vector in json.loads((FOLDER / f"{name}.json").read_text())
]
quick = settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def payload_of(vector: dict[str, Any]) -> bytes:
    return bytes.fromhex(vector["hex"]) if "hex" in vector else str(vector["payload"]).encode()


def exact(reading: Reading) -> list[object]:
    """As in the vectors, every bit of a float counted."""
    value: object = reading.value
    if reading.kind == Kind.FLOAT64:
        value = struct.pack("<d", reading.value)
    elif reading.kind == Kind.INT64:
        value = str(value)
    return [reading.name, str(reading.kind), value, str(reading.time_ns), reading.unit]


def wanted(row: list[Any]) -> list[object]:
    name, kind, value, time_ns, unit = row
    return [name, kind, struct.pack("<d", value) if kind == "float64" else value, time_ns, unit]


@pytest.mark.parametrize(("name", "vector"), VECTORS)
def test_a_vector(name: str, vector: dict[str, Any]) -> None:
    if "refused" in vector:
        with pytest.raises(JunkError) as refusal:
            READERS[name](payload_of(vector), NOW_NS)
        assert vector["refused"] in str(refusal.value)
        assert len(str(refusal.value)) < 400, "a reason is a sentence"
        return
    readings = READERS[name](payload_of(vector), NOW_NS)
    assert [exact(reading) for reading in readings] == [wanted(row) for row in vector["readings"]]
    for reading in readings:
        types = {Kind.FLOAT64: float, Kind.INT64: int, Kind.BOOL: bool, Kind.TEXT: str}
        assert type(reading.value) is types[reading.kind]


@pytest.mark.parametrize(
    ("channel", "content_type", "expected"),
    [
        ("json", None, "json"),
        ("senml", None, "senml"),
        ("lines", None, "lines"),
        ("readings", None, "json"),
        ("readings", "application/senml+cbor", "senml+cbor"),
        ("readings", "Application/SenML+JSON; charset=utf-8", "senml+json"),
        ("readings", "application/vnd.influxdb.line-protocol", "lines"),
        ("senml", "application/senml+cbor", "senml+cbor"),
        ("senml", "application/json", "senml"),
        ("json", "text/plain", "json"),
        ("lines", "application/json", "lines"),
    ],
)
def test_the_format_of_a_message(channel: str, content_type: str | None, expected: str) -> None:
    assert format_of(channel, content_type) == expected


def test_a_content_type_that_nobody_reads() -> None:
    with pytest.raises(JunkError, match="'image/png' is not read here; use one of application/json, "):
        format_of("readings", "image/png")


def test_one_message_has_its_limits() -> None:
    many = b"[" + b",".join([b'{"a":1}'] * READINGS_MAX)
    assert len(read_json(many + b"]", NOW_NS)) == READINGS_MAX
    with pytest.raises(JunkError, match="more than 50000 readings in one message; send fewer at once"):
        read_json(many + b',{"a":1}]', NOW_NS)
    with pytest.raises(JunkError, match="a name must be of 1 to 512 bytes"):
        read_json(json.dumps({"ü" * (NAME_BYTES_MAX // 2 + 1): 1}).encode(), NOW_NS)
    with pytest.raises(JunkError, match="a text of more than 65535 bytes"):
        read_json(json.dumps({"a": "ü" * 32_768}, ensure_ascii=False).encode(), NOW_NS)
    with pytest.raises(JunkError, match="a unit must be of at most 64 bytes"):
        read_senml(json.dumps([{"n": "a", "u": "m" * 65, "v": 1}]).encode(), NOW_NS)


values = st.one_of(
    st.floats(allow_nan=False, allow_infinity=False), st.booleans(), st.text(st.characters(exclude_categories=["Cs"]))
)
keys = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=8).filter(
    lambda key: key.lower() not in ("time", "timestamp", "ts")
)
trees = st.recursive(
    values,
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(keys, inner, max_size=4)),
    max_leaves=20,
)


def leaves(name: str, tree: Any) -> list[tuple[str, Any]]:
    pairs = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else None
    if pairs is None:
        return [(name, tree)]
    return [leaf for key, inner in pairs for leaf in leaves(f"{name}.{key}" if name else str(key), inner)]


@quick
@given(st.dictionaries(keys, trees, max_size=5))
def test_every_leaf_of_a_json_object_is_one_reading(tree: dict[str, Any]) -> None:
    readings = read_json(json.dumps(tree).encode(), NOW_NS)
    assert [exact(reading)[:3] for reading in readings] == [
        exact(Reading(name, kind, value, NOW_NS))[:3]
        for name, value in leaves("", tree)
        for kind in [Kind.BOOL if isinstance(value, bool) else Kind.TEXT if isinstance(value, str) else Kind.FLOAT64]
    ]


labels = {label: number for number, label in LABELS.items()}
senml_names = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9\-:./_]{0,5}", fullmatch=True)
numbers = st.one_of(st.integers(-(2**60), 2**60), st.floats(-1e300, 1e300))
records = st.builds(
    lambda name, more, value: {"n": name, **more, **value},
    senml_names,
    st.fixed_dictionaries(
        {},
        optional={
            "bn": senml_names, "bt": st.integers(0, 10**9), "bu": st.sampled_from(["V", "A"]), "bv": st.integers(-5, 5),
            "u": st.sampled_from(["Cel", "%RH"]), "t": st.integers(-(10**6), 10**6), "s": numbers, "ut": st.just(5),
        },
    ),
    st.one_of(
        st.builds(lambda v: {"v": v}, numbers),
        st.builds(lambda v: {"vb": v}, st.booleans()),
        st.builds(lambda v: {"vs": v}, st.text(st.characters(exclude_categories=["Cs"]), max_size=9)),
    ),
)  # fmt: skip


@quick
@given(st.lists(records, max_size=6), st.booleans())
def test_a_pack_says_the_same_in_json_and_in_cbor(pack: list[dict[str, Any]], by_number: bool) -> None:
    as_cbor = [{labels[key] if by_number else key: value for key, value in record.items()} for record in pack]
    from_json = read_senml_json(json.dumps(pack).encode(), NOW_NS)
    from_cbor = read_senml_cbor(cbor2.dumps(as_cbor), NOW_NS)
    assert [exact(reading) for reading in from_json] == [exact(reading) for reading in from_cbor]
    assert from_json == read_senml(json.dumps(pack).encode(), NOW_NS)
    assert from_cbor == read_senml(cbor2.dumps(as_cbor), NOW_NS)
    assert len([reading for reading in from_json if not reading.name.endswith(".sum")]) >= len(pack)


words = st.text(
    st.characters(exclude_characters="\n\r\\", exclude_categories=["Cs", "Zs", "Cc"]) | st.just(" "),
    min_size=1,
    max_size=15,  # six of them and their signs stay below NAME_BYTES_MAX
)
fields = st.one_of(
    st.floats(allow_nan=False, allow_infinity=False), st.integers(-(2**63), 2**63 - 1), st.booleans(),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=12),
)  # fmt: skip


def escaped(text: str, signs: str) -> str:
    return "".join(f"\\{sign}" if sign in signs else sign for sign in text)


def field_text(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int):
        return f"{value}i"
    return repr(value) if isinstance(value, float) else '"' + escaped(value, '"\\') + '"'


@quick
@given(
    words.filter(lambda word: not word.startswith("#")),
    st.lists(st.tuples(words, words), max_size=2),
    st.lists(st.tuples(words, fields), min_size=1, max_size=4),
    st.one_of(st.none(), st.integers(-(2**63), 2**63 - 1)),
)
def test_a_line_gives_back_what_was_written(
    measurement: str, tags: list[tuple[str, str]], written: list[tuple[str, Any]], time_ns: int | None
) -> None:
    line = escaped(measurement, ", ")
    line += "".join(f",{escaped(key, ',= ')}={escaped(value, ',= ')}" for key, value in tags)
    line += " " + ",".join(f"{escaped(key, ',= ')}={field_text(value)}" for key, value in written)
    line += "" if time_ns is None else f" {time_ns}"
    series = measurement + "".join(f",{key}={value}" for key, value in tags)
    readings = READERS["lines"]((line + "\n" + line).encode(), NOW_NS)
    assert [(reading.name, reading.value, type(reading.value)) for reading in readings] == [
        (f"{series} {key}", value, type(value)) for key, value in written
    ] * 2
    assert {reading.time_ns for reading in readings} == {NOW_NS if time_ns is None else time_ns}


@quick
@given(st.sampled_from(sorted(READERS)), st.one_of(st.binary(max_size=60), st.text(max_size=60).map(str.encode)))
def test_whatever_comes_is_read_or_refused(name: str, payload: bytes) -> None:
    try:
        readings = READERS[name](payload, NOW_NS)
    except JunkError:
        return
    assert all(not isinstance(reading.value, float) or math.isfinite(reading.value) for reading in readings)


@quick
@given(st.integers(0, len(VECTORS) - 1), st.integers(0, 400), st.binary(max_size=3))
def test_damaged_vectors_are_read_or_refused(number: int, at: int, damage: bytes) -> None:
    name, vector = VECTORS[number].values
    payload = payload_of(vector)[:5000]
    damaged = payload[:at] + damage + payload[at + len(damage) :]
    with contextlib.suppress(JunkError):
        READERS[name](damaged, NOW_NS)


@pytest.mark.parametrize(
    "hostile",
    [
        "81d81c81d81d00",  # a list that contains itself
        "81" * 2000,
        "81a2006161025b7fffffffffffffff",
        "81a20061610281" + "c249" + "ff" * 9,
        "81a200616102c48220c25903e8" + "ff" * 1000,
        "81a200616102c5821a7fffffff01",
        "81c074323031332d30332d32315432303a30343a30305a",
        "9f",
        "81bf",
        "81d9010281a0",
    ],
)
def test_hostile_cbor_is_refused(hostile: str) -> None:
    with pytest.raises(JunkError):
        read_senml_cbor(bytes.fromhex(hostile), NOW_NS)


def test_the_vector_of_the_rfc_is_cbor_of_its_example() -> None:
    vectors = {vector["name"]: vector for _, vector in (param.values for param in VECTORS)}
    pack = json.loads(vectors["RFC 8428, 5.1.2, second"]["payload"])
    found = cbor2.load(io.BytesIO(payload_of(vectors["RFC 8428, 6 (CBOR)"])))
    assert [{LABELS[key]: value for key, value in record.items()} for record in found][1:6] == pack[1:6]
