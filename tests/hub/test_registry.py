from __future__ import annotations

import json
import zlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub.events import FrameEvent, JunkEvent
from hub.registry import MANIFESTS_REMEMBERED, Registry, UnknownDeviceError
from tests.hub.records import MANIFEST, NOW_MS, connection, event, header, manifest, state


def folded(*events: Any) -> Registry:
    registry = Registry()
    for each in events:
        registry.fold(each)
    return registry


def frame(device: str, epoch: int = 7, *, time_ms: int = NOW_MS) -> FrameEvent:
    return FrameEvent(device, time_ms, header(epoch, 0, 10))


def test_a_device_is_what_it_said_last() -> None:
    registry = folded(
        event(connection("press", True, time_ms=NOW_MS)),
        event(manifest("press", time_ms=NOW_MS + 1)),
        event(state("press", epoch=7, boot="b1", agent="penstock 0.1.0", time_ms=NOW_MS + 2)),
        frame("press", time_ms=NOW_MS + 3),
    )
    payload = json.dumps(MANIFEST).encode()
    assert registry.get("press").to_json(frames=1, readings=10) == {
        "device": "press",
        "online": True,
        "connected": True,
        "epoch": 7,
        "boot": "b1",
        "agent": "penstock 0.1.0",
        "address": "127.0.0.1:5",
        "first_seen_ms": NOW_MS,
        "last_seen_ms": NOW_MS + 3,
        "manifest": MANIFEST,
        "manifest_id": zlib.crc32(payload),
        "frames": 1,
        "readings": 10,
    }


def test_the_will_takes_a_device_offline() -> None:
    registry = folded(
        event(connection("press", True)),
        event(state("press", boot="b1")),
        event(state("press", online=False, boot="b1")),
    )
    assert not registry.get("press").online


def test_a_late_will_of_an_older_boot_leaves_the_newer_one_online() -> None:
    registry = folded(
        event(connection("press", True)),
        event(state("press", boot="b1")),
        event(state("press", boot="b2")),
        event(state("press", online=False, boot="b1")),
    )
    assert registry.get("press").online


def test_a_device_whose_connection_ended_is_not_online_and_was_not_seen_then() -> None:
    registry = folded(
        event(connection("press", True)),
        event(state("press", boot="b1")),
        event(connection("press", False, time_ms=NOW_MS + 5000)),
    )
    device = registry.get("press")
    assert not device.online and device.reported_online and not device.connected
    assert device.last_seen_ms == NOW_MS and device.address == "127.0.0.1:5"


def test_a_bad_manifest_is_not_adopted() -> None:
    bad = event(manifest("press", {"series": [{"id": 0}]}))
    assert isinstance(bad, JunkEvent) and "series 0 of the manifest" in bad.reason
    registry = folded(event(manifest("press")), bad)
    assert registry.get("press").manifest == MANIFEST


def test_the_last_manifests_are_remembered_by_their_ids() -> None:
    manifests = [{"series": [], "device": {"labels": {"n": n}}} for n in range(MANIFESTS_REMEMBERED + 1)]
    ids = [zlib.crc32(json.dumps(each).encode()) for each in manifests]
    registry = folded(*(event(manifest("press", each)) for each in manifests))
    assert [registry.knows_manifest("press", each) for each in ids] == [False] + [True] * MANIFESTS_REMEMBERED
    registry.fold(event(manifest("press", manifests[1])))
    assert registry.get("press").manifest_id == ids[1] and len(registry.get("press").manifest_ids) == len(ids) - 1
    assert not registry.knows_manifest("other", ids[1])


def test_an_unknown_device_is_answered_with_the_nearest() -> None:
    registry = folded(frame("press-7"))
    with pytest.raises(UnknownDeviceError, match=r"there is no device 'pres-7'; did you mean press-7\?"):
        registry.get("pres-7")
    with pytest.raises(UnknownDeviceError, match="never connected"):
        registry.get("zzz")


def test_junk_makes_no_device() -> None:
    assert len(folded(JunkEvent("press", NOW_MS, "state", "no"))) == 0


devices = st.sampled_from(["a", "b"])
times = st.integers(NOW_MS, NOW_MS + 50)
on_devices = st.one_of(
    st.builds(lambda d, c, t: event(connection(d, c, time_ms=t)), devices, st.booleans(), times),
    st.builds(
        lambda d, o, b, e, t: event(state(d, online=o, boot=b, epoch=e, time_ms=t)),
        *(devices, st.booleans(), st.sampled_from(["x", "y"]), st.integers(1, 5), times),
    ),
    st.builds(lambda d, t: event(manifest(d, time_ms=t)), devices, times),
)
on_telemetry = st.builds(lambda d, e, t: frame(d, e, time_ms=t), devices, st.integers(1, 5), times)


@given(st.lists(on_devices, max_size=15), st.lists(on_telemetry, max_size=15), st.randoms(use_true_random=False))
def test_the_order_in_which_streams_are_folded_changes_nothing(first: list[Any], second: list[Any], dice: Any) -> None:
    mixed: list[Any] = []
    left, right = list(first), list(second)
    while left or right:
        mixed.append((left if left and (not right or dice.random() < 0.5) else right).pop(0))
    one, two = folded(*first, *second), folded(*mixed)
    assert {d.device: d for d in one.all()} == {d.device: d for d in two.all()}


@given(st.lists(st.one_of(on_devices, on_telemetry)), st.lists(st.one_of(on_devices, on_telemetry)))
def test_a_restored_registry_goes_on_like_the_one_that_was_never_stopped(first: list[Any], second: list[Any]) -> None:
    original, restored = folded(*first), Registry()
    restored.restore(json.loads(json.dumps(original.snapshot())))
    for each in second:
        original.fold(each)
        restored.fold(each)
    assert restored.snapshot() == original.snapshot()
