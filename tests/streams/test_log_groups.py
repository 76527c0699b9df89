"""Consumer groups remember how far they have read; and a key goes where Kafka's clients would send it."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from kafka.partitioner.default import murmur2 as kafka_murmur2

from streams.errors import CorruptError, MisuseError
from streams.log import GroupOffsets
from streams.log.partitioner import murmur2, partition_of
from tests.simulation.disk import Disk, PowerCut
from tests.streams.log_parts import memory

ROOT = Path("/log")


def test_a_group_goes_on_where_it_was() -> None:
    files = memory()
    group = GroupOffsets(ROOT, "store", files=files)
    assert group.committed("telemetry") is None
    group.commit({("telemetry", 0): 5, ("telemetry", 1): 7})
    group.commit({("telemetry", 1): 9, ("devices", 0): 1})
    for each in (group, GroupOffsets(ROOT, "store", files=files)):
        assert [each.committed("telemetry", number) for number in range(3)] == [5, 9, None]
        assert each.committed("devices") == 1
    assert GroupOffsets(ROOT, "other", files=files).committed("telemetry") is None


def test_a_commit_is_durable_or_has_not_happened() -> None:
    seen = set()
    for seed in range(40):
        disk = Disk(random.Random(seed), sectors=True)
        mount = disk.mount(lambda: None)
        GroupOffsets(ROOT, "store", files=mount).commit({("telemetry", 0): 5})
        mount.fuse = seed % 10
        returned = True
        try:
            GroupOffsets(ROOT, "store", files=mount).commit({("telemetry", 0): 6})
        except PowerCut:
            returned = False
        disk.lose_power()
        found = GroupOffsets(ROOT, "store", files=disk.mount(lambda: None)).committed("telemetry")
        assert found == 6 if returned else found in (5, 6)
        seen.add((returned, found))
    assert len(seen) >= 2


def test_a_commit_that_fails_changes_nothing() -> None:
    files = memory()
    group = GroupOffsets(ROOT, "store", files=files)
    group.commit({("telemetry", 0): 5})
    files.disk.free_bytes = 3
    with pytest.raises(OSError, match="no space left"):
        group.commit({("telemetry", 0): 6})
    assert group.committed("telemetry") == 5
    assert GroupOffsets(ROOT, "store", files=files).committed("telemetry") == 5


@pytest.mark.parametrize("name", ["", ".hidden", "a/b", "..", "x" * 129, "naïve", "a b"])
def test_a_name_that_is_none(name: str) -> None:
    with pytest.raises(MisuseError, match="is not a group name: use letters, digits"):
        GroupOffsets(ROOT, name, files=memory())


@pytest.mark.parametrize("text", [b"", b"{", b"[]", b'{"telemetry/0": "x"}', b"\xff"])
def test_a_damaged_group_is_named_with_the_remedy(text: bytes) -> None:
    files = memory()
    GroupOffsets(ROOT, "store", files=files).commit({("telemetry", 0): 5})
    files.replace(ROOT / ".groups" / "store.json", text)
    with pytest.raises(CorruptError, match=r"store\.json is damaged.*remove it and the group begins anew"):
        GroupOffsets(ROOT, "store", files=files)


@pytest.mark.parametrize(
    ("key", "number"),
    [  # org.apache.kafka.common.utils.UtilsTest.testMurmur2
        (b"21", -973932308),
        (b"foobar", -790332482),
        (b"a-little-bit-long-string", -985981536),
        (b"a-little-bit-longer-string", -1486304829),
        (b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58897971),
        (b"abc", 479470107),
    ],
)
def test_kafkas_own_vectors(key: bytes, number: int) -> None:
    assert murmur2(key) == number & 0xFFFFFFFF


def test_a_key_goes_where_kafkas_clients_send_it() -> None:
    dice = random.Random(1)
    for size in range(200):
        key = dice.randbytes(size)
        assert murmur2(key) == kafka_murmur2(key) & 0xFFFFFFFF
        for partitions in (2, 3, 12, 64):
            assert partition_of(key, partitions) == (kafka_murmur2(key) & 0x7FFFFFFF) % partitions
    assert partition_of(None, 5) == 0
    assert partition_of(b"anything", 1) == 0


def test_keys_are_spread() -> None:
    counts = [0] * 8
    for number in range(8000):
        counts[partition_of(b"press-%d" % number, 8)] += 1
    assert min(counts) > 800
