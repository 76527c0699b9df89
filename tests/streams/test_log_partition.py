"""The writer of a partition: segments, indexes, retention, and what opening makes of all that a crash can leave."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import pytest

from streams.errors import DiskError
from streams.log.batch import HEADER_BYTES
from streams.log.durable import Durable, DurablePoint, read_durable
from streams.log.index import Table
from streams.log.partition import Partition
from streams.log.settings import LogSettings
from tests.simulation.disk import Disk
from tests.streams.log_parts import NOW_MS, Place, batch, memory, number_of, offsets, read_all

ROOT = Path("/log")


def fresh(**settings: int | float | None) -> Place:
    return Place(ROOT, memory(), **settings)


def filled(count: int = 100, **settings: int | float | None) -> Place:
    """Segments of 4 KiB with records of about 100 bytes, a batch each."""
    place = fresh(**settings)
    place.append(count)
    return place


def check_whole(place: Place, count: int, *, first: int = 0) -> None:
    records, damaged = read_all(place.reader())
    assert damaged == []
    assert offsets(records) == list(range(first, count))
    assert [number_of(each) for each in records] == offsets(records)


# -- segments ----------------------------------------------------------------------------------------------------------


def test_segments_are_named_by_their_first_offset_and_begun_by_size() -> None:
    place = filled()
    paths = place.segments()
    assert len(paths) > 2
    bases = [int(path.stem) for path in paths]
    assert bases[0] == 0
    for path, base in zip(paths, bases):
        data = place.content(path)
        assert int.from_bytes(data[:8], "big") == base
        assert len(data) < 4096 + 200
    assert all(len(place.content(path)) >= 4096 for path in paths[:-1])
    check_whole(place, 100)
    assert place.partition.size_bytes() == sum(len(place.content(path)) for path in paths)


def test_opened_again_it_goes_on_where_it_was() -> None:
    place = filled()
    for close in (True, False):
        place.reopen(close=close)
        assert place.number == place.partition.durable_end
        assert place.partition.recovered.damaged == []
        assert place.partition.recovered.cut_bytes == 0
        place.append(30)
    check_whole(place, 160)


def test_opened_again_after_a_kill_little_is_looked_at() -> None:
    place = filled(1000, segment_bytes=40_000)
    place.reopen(close=False)
    assert place.partition.recovered.checked_bytes < 40_000 + 4096, "the active segment at most"
    place.partition.close()
    place.reopen(close=False)
    assert place.partition.recovered.checked_bytes < 2000, "behind the last entry of the index"


# -- torn tails and damage ---------------------------------------------------------------------------------------------


def torn(place: Place, size: int) -> bytes:
    """Leave the first `size` bytes of a batch that was being written when the power failed."""
    tail = batch(place.number, 3, size=400).at(place.number)[:size]
    path = place.segments()[-1]
    place.put(path, place.content(path) + tail)
    return tail


@pytest.mark.parametrize("size", [1, HEADER_BYTES - 1, HEADER_BYTES, 200, 1300])
def test_a_torn_tail_is_cut_and_kept(size: int) -> None:
    place = filled(10)
    place.partition.close()
    tail = torn(place, size)
    recovered = place.reopen(close=False).recovered
    assert (recovered.cut_bytes, recovered.damaged) == (size, [])
    (kept,) = recovered.cut_files
    assert place.content(kept) == tail
    assert place.names(".cut") == [kept.name]
    place.append(5)
    check_whole(place, 15)
    assert place.reopen().recovered.cut_bytes == 0


def test_a_whole_batch_that_was_not_acknowledged_yet_stays() -> None:
    place = filled(10)
    place.partition.write([batch(10), batch(11)])
    assert place.partition.durable_end == 10
    place.reopen(close=False)
    check_whole(place, 12)


@pytest.mark.parametrize("known", [True, False], ids=["durable point known", "durable point lost"])
@pytest.mark.parametrize("number", [0, 5, 20, 60, 98])
def test_damage_in_the_middle_is_named_and_takes_only_its_range(number: int, known: bool) -> None:
    place = filled()
    place.partition.close()
    before = {path: place.content(path) for path in place.segments()}
    path = max(path for path in before if int(path.stem) <= number)
    place.damage(path, before[path].index(b"%d:" % number) + 4, b"\xff\xff")
    if not known:
        place.files.remove(place.directory / "durable")
    recovered = place.reopen(close=False).recovered
    assert recovered.cut_files == []
    if not known:
        (sentence,) = recovered.damaged
        assert path.name in sentence and "bytes" in sentence and "they stay" in sentence
    records, damaged = read_all(place.reader())
    assert damaged == [(number, number + 1)]
    assert offsets(records) == [other for other in range(100) if other != number]
    place.append(5)
    assert place.number == 105
    for other in list(before)[:-1]:
        if other != path:
            assert place.content(other) == before[other], "nothing else was touched"


def test_damage_at_the_end_of_what_was_acknowledged_is_not_cut() -> None:
    """Behind it nothing follows, as behind a torn tail; but it was on disk, so its offset is never given again."""
    place = filled(10)
    place.partition.close()
    (path,) = place.segments()
    size = len(place.content(path))
    place.damage(path, size - 5, b"\xff")
    for _ in range(2):
        recovered = place.reopen(close=False).recovered
        assert recovered.cut_files == []
        assert any("damaged" in sentence for sentence in recovered.damaged)
        assert place.number == 10
        assert len(place.content(path)) == size
    place.append(3)
    records, damaged = read_all(place.reader())
    assert damaged == [(9, 10)]
    assert offsets(records) == [*range(9), 10, 11, 12]
    assert [path.stem for path in place.segments()] == [f"{0:020d}", f"{10:020d}"]
    place.reopen()
    assert offsets(read_all(place.reader())[0]) == [*range(9), 10, 11, 12]


@pytest.mark.parametrize("missing", [1, 100, 700, 10_000])
def test_a_file_that_is_shorter_than_what_was_on_disk_is_named(missing: int) -> None:
    place = filled(10)
    place.partition.close()
    (path,) = place.segments()
    place.put(path, place.content(path)[: -missing or None] if missing < 1000 else b"")
    recovered = place.reopen(close=False).recovered
    assert any("are gone" in sentence for sentence in recovered.damaged)
    assert place.number == 10, "no offset is given twice"
    place.append(2)
    records, damaged = read_all(place.reader())
    assert offsets(records)[-2:] == [10, 11]
    assert damaged[-1][1] == 10
    assert sorted(offsets(records) + [each for start, stop in damaged for each in range(start, stop)]) == list(
        range(12)
    )


@pytest.mark.parametrize("which", [0, 1, -1])
def test_a_segment_that_is_gone_is_named(which: int) -> None:
    place = filled()
    place.partition.close()
    gone = place.segments()[which]
    bases = [int(path.stem) for path in place.segments()] + [100]
    start, stop = bases[which if which >= 0 else -2], bases[which + 1 if which >= 0 else -1]
    place.files.remove(gone)
    place.reopen(close=False)
    assert place.number == 100
    place.append(2)
    records, damaged = read_all(place.reader())
    assert damaged == ([] if which == 0 else [(start, stop)])
    assert offsets(records) == [each for each in range(102) if not start <= each < stop]


def test_all_segments_gone_offsets_go_on() -> None:
    place = filled()
    place.partition.close()
    for path in place.segments():
        place.files.remove(path)
    place.reopen(close=False)
    assert place.number == 100
    place.append(2)
    check_whole(place, 102, first=100)


# -- what lies about ---------------------------------------------------------------------------------------------------


def test_leftovers_do_no_harm() -> None:
    place = filled(10)
    place.partition.close()
    for name in (
        f"{77:020d}.index",
        f"{3:020d}.100.cut",
        "notes.log",
        f"{5:020d}.log.bak",
        "x" * 20 + ".log",
        "durable.new",
    ):
        place.put(place.directory / name, b"leftover")
    place.reopen(close=False)
    place.append(10)
    check_whole(place, 20)
    assert f"{77:020d}.index" not in place.names(".index"), "an index without a segment is stale"
    assert f"{3:020d}.100.cut" in place.names(".cut"), "what was kept stays"


def test_an_empty_segment_was_begun_and_not_written() -> None:
    place = filled(10)
    place.partition.close()
    place.put(place.directory / f"{10:020d}.log", b"")
    place.reopen(close=False)
    place.append(5)
    assert len(place.segments()) == 2
    check_whole(place, 15)


def test_an_empty_segment_that_was_begun_too_early_takes_no_offset() -> None:
    """A roll failed after its file was made, and the process died."""
    place = filled(10)
    place.partition.close()
    place.put(place.directory / f"{10:020d}.log", b"")
    place.files.remove(place.directory / "durable")
    place.reopen(close=False)
    assert place.number == 10
    place.append(1)
    check_whole(place, 11)


# -- the durable point -------------------------------------------------------------------------------------------------


def test_without_a_durable_point_everything_is_checked() -> None:
    place = filled()
    place.partition.close()
    size = sum(len(place.content(path)) for path in place.segments())
    for damage in (lambda path: place.files.remove(path), lambda path: place.put(path, b"\xff" * 80)):
        damage(place.directory / "durable")
        assert place.reopen(close=False).recovered.checked_bytes == size
        check_whole(place, 100)
        place.partition.close()
        assert place.reopen(close=False).recovered.checked_bytes < 4096, "it is known again"


def test_a_damaged_slot_leaves_the_other_one() -> None:
    files = memory()
    files.make_directory(ROOT)
    writer = DurablePoint(ROOT, files=files)
    writer.publish(Durable(10, 0, 1000))
    writer.publish(Durable(20, 0, 2000))
    file = files.open(ROOT / "durable", write=True)
    whole = file.read(0, 80)
    seen = set()
    for at in range(80):
        file.write(0, whole)
        file.write(at, bytes([whole[at] ^ 0x10]))
        seen.add(read_durable(file))
    assert seen == {Durable(10, 0, 1000), Durable(20, 0, 2000)}
    file.write(0, bytes(80))
    assert read_durable(file) is None


def test_a_publish_that_fails_leaves_the_one_before() -> None:
    files = memory()
    files.make_directory(ROOT)
    writer = DurablePoint(ROOT, files=files)
    writer.publish(Durable(10, 0, 1000))
    writer.close()
    with pytest.raises(OSError):
        writer.publish(Durable(20, 0, 2000))
    assert writer.point == Durable(10, 0, 1000)
    again = DurablePoint(ROOT, files=files)
    assert again.point == Durable(10, 0, 1000)
    again.publish(Durable(30, 0, 3000))
    assert read_durable(files.open(ROOT / "durable")) == Durable(30, 0, 3000)


# -- the index ---------------------------------------------------------------------------------------------------------


def indexes(place: Place) -> dict[str, bytes]:
    return {name: place.content(place.directory / name) for name in place.names(".index")}


def test_the_index_is_sparse_and_names_the_end() -> None:
    place = filled(300, segment_bytes=20_000)
    paths = place.segments()
    for path in paths[:-1]:
        size = len(place.content(path))
        table = Table(place.files.open(path.with_suffix(".index")), int(path.stem))
        assert size // 700 < len(table) < size // 500
        end = table.end(size)
        assert end is not None
        assert end.newest_ms == NOW_MS + int(paths[paths.index(path) + 1].stem) - 1
        assert all(table.is_right(number) for number in range(len(table)))


@pytest.mark.parametrize(
    "spoil",
    [
        lambda place, path: place.files.remove(path),
        lambda place, path: place.put(path, b""),
        lambda place, path: place.put(path, place.content(path)[:-1]),
        lambda place, path: place.put(path, place.content(path)[:-20]),
        lambda place, path: place.put(path, b"\xff" * 200),
        lambda place, path: place.put(path, place.content(path) + b"more" * 6),
    ],
    ids=["gone", "empty", "torn", "without its end", "junk", "too long"],
)
def test_an_index_that_does_not_fit_is_made_anew(spoil: Callable[[Place, Path], None]) -> None:
    place = filled(300, segment_bytes=20_000)
    place.reopen()
    place.partition.close()
    before = indexes(place)
    for name in before:
        spoil(place, place.directory / name)
    place.reopen(close=False)
    check_whole(place, 300)
    place.partition.close()
    assert indexes(place) == before


def test_no_entry_of_an_index_is_believed() -> None:
    """Whatever stands in it, also with a right checksum: reading gives the same."""
    place = filled(200, segment_bytes=1 << 20)
    place.partition.close()
    (path,) = place.segments()
    index = path.with_suffix(".index")
    whole = place.content(index)
    foreign = fresh(segment_bytes=1 << 20)
    foreign.append(500, size=33)
    foreign.partition.close()
    dice = random.Random(5)
    others = [
        foreign.content(index),
        whole[20:],
        whole[::-1],
        bytes(200),
        whole[:100] + dice.randbytes(7) + whole[100:],
    ]
    for _ in range(60):
        at = dice.randrange(len(whole))
        others.append(whole[:at] + dice.randbytes(dice.choice([1, 4, 20, 60])) + whole[at:])
        others.append(whole[:at] + bytes([whole[at] ^ 1 << dice.randrange(8)]) + whole[at + 1 :])
    for other in others:
        place.put(index, other)
        reader = place.reader()
        for offset in (0, 1, 57, 120, 199):
            assert reader.read(offset, bytes_max=1)[0].offset == offset
            assert reader.offset_for_time(NOW_MS + offset) == offset
        reader.close()


# -- removing ----------------------------------------------------------------------------------------------------------


def test_what_is_too_much_is_removed_oldest_first() -> None:
    place = filled(200, retention_bytes=10_000)
    before = place.segments()
    removed = place.partition.enforce_retention(NOW_MS)
    assert place.segments() == before[removed:]
    assert place.partition.size_bytes() <= 10_000 < sum(len(place.content(path)) for path in place.segments()) + 4096
    check_whole(place, 200, first=int(place.segments()[0].stem))
    assert place.partition.enforce_retention(NOW_MS) == 0
    assert len(place.names(".index")) == len(place.segments())


def test_what_is_too_old_is_removed_and_nothing_younger() -> None:
    place = filled(200, retention_s=100.0)
    assert place.partition.enforce_retention(NOW_MS + 100_000) == 0
    second = int(place.segments()[1].stem)
    assert place.partition.enforce_retention(NOW_MS + second - 1 + 100_000) == 0
    assert place.partition.enforce_retention(NOW_MS + second + 100_000) == 1
    assert place.reader().earliest == second
    place.reopen(close=False)
    assert place.partition.enforce_retention(NOW_MS + second + 100_000) == 0, "it knows the times after a start too"
    count = len(place.segments())
    assert place.partition.enforce_retention(NOW_MS + 10_000_000) == count
    records, damaged = read_all(place.reader())
    assert (records, damaged) == ([], []), "the active segment too: nothing that is too old is kept"
    place.append(3)
    check_whole(place, 203, first=200)


def test_segments_below_an_offset_are_removed_and_no_other() -> None:
    place = filled()
    third = int(place.segments()[2].stem)
    assert place.partition.truncate_before(third - 1) == 1
    assert place.partition.truncate_before(third) == 1
    assert place.reader().earliest == third
    place.append(1)
    check_whole(place, 101, first=third)


def test_a_spool_that_is_emptied_frees_its_disk() -> None:
    place = filled(38)  # the active segment is more than half full
    size = place.partition.size_bytes()
    place.partition.truncate_before(38)
    assert place.partition.size_bytes() < size / 10
    place.append(1)
    check_whole(place, 39, first=38)


def test_a_removal_may_be_undone_by_a_power_cut_and_does_no_harm() -> None:
    for seed in range(20):
        disk = Disk(random.Random(seed), sectors=True)
        place = Place(ROOT, disk.mount(lambda: None))
        place.append(200)
        place.partition.truncate_before(150)
        disk.lose_power()
        place.files = disk.mount(lambda: None)
        place.reopen(close=False)
        records, damaged = read_all(place.reader())
        assert damaged == []
        assert offsets(records) == list(range(offsets(records)[0], 200))


# -- a disk that fails -------------------------------------------------------------------------------------------------


def failing(place: Place) -> Disk:
    disk: Disk = place.files.disk  # type: ignore[attr-defined]
    return disk


def test_a_failed_sync_is_said_and_what_it_was_to_sync_is_cut_off() -> None:
    place = filled(10)
    (path,) = place.segments()
    size = len(place.content(path))
    place.partition.write([batch(10, 2)])
    failing(place).failing_syncs = 1
    with pytest.raises(DiskError, match=r"cannot sync .*what was not acknowledged is cut off"):
        place.partition.sync()
    assert place.partition.durable_end == 10
    assert place.partition.write([batch(77)]) == [10]
    assert len(place.content(path)) == size, "it was cut"
    assert len(place.segments()) == 2, "and it goes on in another file"
    assert place.partition.durable_end == 10, "nothing is told before the next sync"
    place.partition.sync()
    records, damaged = read_all(place.reader())
    assert [number_of(each) for each in records] == [*range(10), 77]
    assert damaged == []


def test_a_disk_that_cannot_sync_at_all_takes_nothing() -> None:
    place = filled(10)
    failing(place).failing_syncs = 1000
    for _ in range(5):
        with pytest.raises(DiskError):
            place.partition.write([batch(10)])
            place.partition.sync()
    assert place.partition.durable_end == 10
    failing(place).failing_syncs = 0
    place.append(3)
    check_whole(place, 13)
    place.reopen()
    check_whole(place, 13)


def test_what_a_failed_sync_left_is_written_again_when_a_new_process_finds_it() -> None:
    """The operating system shows it, and would not write it: a power cut after the next sync must not take it back."""
    for seed in range(30):
        disk = Disk(random.Random(seed), sectors=True)
        place = Place(ROOT, disk.mount(lambda: None), segment_bytes=1 << 20)
        place.append(3)
        place.partition.write([batch(3, size=3000)])
        disk.failing_syncs = 1
        with pytest.raises(DiskError):
            place.partition.sync()
        place.files = disk.mount(lambda: None)  # it was killed before it could cut
        place.reopen(close=False)
        shown = offsets(read_all(place.reader())[0])
        place.append(1)
        disk.lose_power()
        place.files = disk.mount(lambda: None)
        place.reopen(close=False)
        check_whole(place, len(shown) + 1)


def test_a_full_disk_is_said_and_nothing_of_the_write_stays() -> None:
    place = filled(10)
    (path,) = place.segments()
    before = place.content(path)
    failing(place).free_bytes = 150
    for _ in range(3):
        with pytest.raises(DiskError, match=r"cannot write .*no space left.*make room, nothing is lost"):
            place.partition.write([batch(10), batch(11), batch(12)])
        assert place.content(path) == before
    failing(place).free_bytes = None
    place.append(5)
    check_whole(place, 15)


@pytest.mark.parametrize("failures", [1, 2, 3])
def test_a_segment_that_cannot_be_begun_is_begun_later(failures: int) -> None:
    place = filled(38)
    while len(place.content(place.segments()[-1])) < 4096:
        place.append(1)
    count = place.number
    failing(place).failing_syncs = failures  # of the index, the directory, the durable point
    refused = 0
    for _ in range(4):
        try:
            place.append(1)
        except DiskError as error:
            assert "cannot begin a new segment" in str(error)
            refused += 1
    assert refused < 4
    place.reopen(close=False)
    check_whole(place, count + 4 - refused)


def test_when_there_is_no_room_for_a_copy_a_torn_tail_is_cut_all_the_same() -> None:
    place = filled(10)
    place.partition.close()
    torn(place, 1000)
    failing(place).free_bytes = 100
    recovered = place.reopen(close=False).recovered
    assert recovered.cut_bytes == 1000
    failing(place).free_bytes = None
    place.append(1)
    check_whole(place, 11)


def test_a_directory_that_cannot_be_opened_is_named() -> None:
    files = memory()
    files.disk.free_bytes = 10
    with pytest.raises(DiskError, match=r"cannot open /log/events/0: .*make room or mend the disk"):
        Partition(ROOT / "events" / "0", LogSettings(), files=files)


def test_closed_after_a_failed_sync_nothing_of_it_is_left() -> None:
    place = filled(10)
    place.partition.write([batch(10)])
    failing(place).failing_syncs = 1
    with pytest.raises(DiskError):
        place.partition.sync()
    place.reopen()
    assert place.partition.recovered.cut_bytes == 0
    check_whole(place, 10)
