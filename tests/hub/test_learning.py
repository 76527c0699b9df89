"""Series that nobody declared: learnt once, numbered for good, named as a manifest allows."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hub.learning import Learner, is_learnt
from hub.manifest import MANIFEST_BYTES_MAX, read_manifest
from hub.payloads import Reading
from streams.errors import JunkError
from streams.frames import Kind


def reading(name: str, kind: Kind = Kind.FLOAT64, unit: str | None = None) -> Reading:
    return Reading(name, kind, 1.0, 0, unit)


def names_of(learner: Learner) -> dict[int, str]:
    return {each["id"]: each["name"] for each in read_manifest(learner.manifest())["series"]}


def test_a_series_is_learnt_once() -> None:
    learner = Learner(10)
    assert learner.learn([reading("a"), reading("b"), reading("a")]) == [0, 1, 0]
    before = learner.manifest()
    assert learner.learn([reading("b")]) == [1]
    assert learner.manifest() == before
    assert learner.learn([reading("c")]) == [2]
    assert learner.manifest() != before
    assert is_learnt(read_manifest(before)) and not is_learnt({"series": []}) and not is_learnt({"device": 5})


@pytest.mark.parametrize(
    ("original", "name"),
    [
        ("temperature", "temperature"),
        ("bme280.pressure", "bme280.pressure"),
        ("urn:dev:ow:10e2073a01080063:voltage", "urn.dev.ow.10e2073a01080063.voltage"),
        ("weather,location=us-midwest temperature", "weather.location_us-midwest.temperature"),
        ("2001:db8::2/temperature", "2001.db8..2.temperature"),
        ("Außen °C", "Au_en._C"),
        ("a" * 129, "a" * 119 + ".0c485a7e"),
    ],
)
def test_names_as_a_manifest_allows_them(original: str, name: str) -> None:
    learner = Learner(10)
    learner.learn([reading(original)])
    (series,) = read_manifest(learner.manifest())["series"]
    assert series["name"] == name
    assert series.get("description", series["name"]) == original


def test_one_name_with_several_types_and_units_is_several_series() -> None:
    learner = Learner(10)
    same = [
        reading("a"), reading("a", Kind.TEXT), reading("a", unit="V"), reading("a", unit="A"),
        reading("a", Kind.BOOL, "V"), reading("a/V"), reading("a:V"),
    ]  # fmt: skip
    assert learner.learn(same) == list(range(7))
    assert list(names_of(learner).values()) == ["a", "a.text", "a.V", "a.A", "a.V.bool", "a.V.float64", "a.V-2"]
    assert learner.learn(same) == list(range(7))


def test_too_many_series_are_refused_and_nothing_of_their_message_is_learnt() -> None:
    learner = Learner(3)
    learner.learn([reading("a")])
    before = learner.manifest()
    with pytest.raises(JunkError, match=r"'d' would be series 4 of this device.*at most 3.*learnt_series_max"):
        learner.learn([reading("b"), reading("c"), reading("d")])
    assert learner.manifest() == before and len(learner) == 1
    assert learner.learn([reading("c"), reading("b")]) == [1, 2]


def test_a_manifest_stays_below_its_limit() -> None:
    learner = Learner(65_536)
    readings = [reading(f"{number:05}" + "ü" * 200) for number in range(3000)]
    learned = 0
    with pytest.raises(JunkError, match="1048576 bytes"):
        for each in readings:
            learner.learn([each])
            learned += 1
    assert 500 < learned < 3000
    assert MANIFEST_BYTES_MAX - 2000 < len(learner.manifest()) <= MANIFEST_BYTES_MAX
    read_manifest(learner.manifest())


readings = st.builds(
    Reading, st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=150) | st.sampled_from("ab/:,"),
    st.sampled_from(list(Kind)), st.just(1.0), st.just(0), st.sampled_from([None, "V", "%RH", "/", ""]),
)  # fmt: skip


@settings(max_examples=100, deadline=None)
@given(st.lists(readings, min_size=1, max_size=30), st.integers(0, 30))
def test_after_a_restart_everything_has_its_number_and_name(some: list[Reading], at: int) -> None:
    whole, first = Learner(1000), Learner(1000)
    numbers = whole.learn(some)
    first.learn(some[:at])
    again = Learner(1000, json.loads(first.manifest()))
    assert again.manifest() == first.manifest()
    assert again.learn(some) == numbers
    assert again.manifest() == whole.manifest()
    assert len(names_of(whole)) == len(set(numbers)), "names are unique and such as a manifest allows"
