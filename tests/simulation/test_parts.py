"""The parts of the simulation keep their own promises: otherwise what it shows means nothing."""

from __future__ import annotations

import asyncio
import random
from contextlib import suppress
from pathlib import Path

import pytest

from tests.simulation.disk import Disk, Mount, PowerCut
from tests.simulation.loop import MachineClock, StuckError, VirtualLoop
from tests.simulation.network import Network

HOME = Path("/home")


def fresh(seed: int = 1, *, holes: bool = False) -> tuple[Disk, Mount]:
    disk = Disk(random.Random(seed), holes=holes)
    mount = disk.mount(lambda: None)
    mount.make_directory(HOME)
    return disk, mount


def content(disk: Disk, name: str) -> bytes | None:
    mount = disk.mount(lambda: None)
    try:
        file = mount.open(HOME / name)
    except FileNotFoundError:
        return None
    return file.read(0, file.size())


def test_a_power_cut_keeps_what_was_synced_and_some_first_part_of_the_rest() -> None:
    seen = set()
    for seed in range(300):
        disk, mount = fresh(seed)
        file = mount.open(HOME / "a", write=True, create=True)
        mount.sync_directory(HOME)
        file.append([b"one"])
        file.sync()
        file.append([b"two"])
        file.append([b"three"])
        disk.lose_power()
        seen.add(content(disk, "a"))
    assert seen == {b"onetwothree"[:size] for size in range(3, 12)}


def test_a_name_whose_directory_was_not_synced_may_be_gone() -> None:
    seen = set()
    for seed in range(50):
        disk, mount = fresh(seed)
        file = mount.open(HOME / "a", write=True, create=True)
        file.append([b"x"])
        file.sync()
        disk.lose_power()
        seen.add(content(disk, "a"))
    assert seen == {None, b"x"}


def test_a_removed_file_may_be_back() -> None:
    seen = set()
    for seed in range(50):
        disk, mount = fresh(seed)
        mount.replace(HOME / "a", b"x")
        mount.remove(HOME / "a")
        disk.lose_power()
        seen.add(content(disk, "a"))
    assert seen == {None, b"x"}


def test_a_truncation_may_be_undone_until_it_is_synced() -> None:
    seen = set()
    for seed in range(50):
        disk, mount = fresh(seed)
        mount.replace(HOME / "a", b"abc")
        mount.open(HOME / "a", write=True).truncate(1)
        disk.lose_power()
        seen.add(content(disk, "a"))
    assert seen == {b"a", b"abc"}


def test_a_replaced_file_is_the_old_one_or_the_new_one_wherever_the_power_fails() -> None:
    seen = set()
    for fuse in range(4):
        disk, mount = fresh()
        mount.replace(HOME / "a", b"old")
        mount.fuse = fuse
        with suppress(PowerCut):
            mount.replace(HOME / "a", b"new")
        disk.lose_power()
        seen.add(content(disk, "a"))
    assert seen == {b"old", b"new"}


def test_a_dead_process_does_nothing_more() -> None:
    deaths = []
    disk = Disk(random.Random(1))
    mount = disk.mount(lambda: deaths.append(1))
    mount.make_directory(HOME)
    file = mount.open(HOME / "a", write=True, create=True)
    mount.fuse = 1
    file.append([b"x"])
    for _ in range(2):
        with pytest.raises(PowerCut):
            file.append([b"y"])
    assert deaths == [1]


def test_sectors_that_were_not_synced_come_in_any_order() -> None:
    seen = set()
    for seed in range(300):
        disk = Disk(random.Random(seed), sectors=True)
        mount = disk.mount(lambda: None)
        mount.make_directory(HOME)
        file = mount.open(HOME / "a", write=True, create=True)
        mount.sync_directory(HOME)
        file.append([b"a" * 512])
        file.sync()
        file.append([b"b" * 512, b"c" * 512])
        disk.lose_power()
        kept = content(disk, "a")
        assert kept is not None and kept.startswith(b"a" * 512), "what was synced stays"
        seen.add(bytes(kept[at] for at in range(0, len(kept), 512)))
    assert {b"a", b"ab", b"abc", b"a\0c", b"ab\0"} <= seen


def test_what_a_sync_failed_to_write_is_never_written_unless_it_is_written_anew() -> None:
    shown, kept = set(), set()
    for seed in range(100):
        disk, mount = fresh(seed)
        file = mount.open(HOME / "a", write=True, create=True)
        mount.sync_directory(HOME)
        file.append([b"one"])
        disk.failing_syncs = 1
        with pytest.raises(OSError, match="cannot sync"):
            file.sync()
        shown.add(file.read(0, 10))
        file.append([b"two"])
        file.sync()
        disk.lose_power()
        kept.add(content(disk, "a"))
    assert shown == {b"one", bytes(3)}
    assert kept == {b"onetwo", bytes(3) + b"two"}


def test_a_directory_that_fails_to_sync_keeps_its_changes_waiting() -> None:
    disk, mount = fresh(3)
    mount.open(HOME / "a", write=True, create=True)
    disk.failing_syncs = 1
    with pytest.raises(OSError, match="cannot sync"):
        mount.sync_directory(HOME)
    mount.sync_directory(HOME)
    disk.lose_power()
    assert content(disk, "a") == b""


def test_a_bit_that_rots_is_rotten_after_a_power_cut_too() -> None:
    disk, mount = fresh()
    mount.replace(HOME / "a", b"abc")
    disk.flip(HOME / "a", 1, 0)
    assert content(disk, "a") == b"acc"
    disk.lose_power()
    assert content(disk, "a") == b"acc"


def test_holes_read_as_zeros() -> None:
    seen = set()
    for seed in range(200):
        disk, mount = fresh(seed, holes=True)
        file = mount.open(HOME / "a", write=True, create=True)
        mount.sync_directory(HOME)
        file.append([b"a"])
        file.append([b"b"])
        disk.lose_power()
        seen.add(content(disk, "a"))
    assert {b"ab", b"\0b", b"a", b""} <= seen


def test_a_full_disk_takes_what_fits() -> None:
    disk, mount = fresh()
    file = mount.open(HOME / "a", write=True, create=True)
    disk.free_bytes = 2
    with pytest.raises(OSError, match="no space"):
        file.append([b"abc"])
    assert content(disk, "a") == b"ab"
    with pytest.raises(OSError, match="no space"):
        mount.replace(HOME / "a", b"new")
    assert content(disk, "a") == b"ab"
    mount.remove(HOME / "a")
    assert disk.free_bytes == 2


def test_virtual_time_jumps_to_the_next_timer_and_the_wall_clock_may_jump_alone() -> None:
    loop = VirtualLoop(random.Random(1))
    clock = MachineClock(loop, start_ns=0)

    async def wait() -> None:
        await asyncio.sleep(86_400)
        clock.jump(-3600)

    try:
        loop.run_until_complete(wait())
    finally:
        loop.close()
    assert clock.monotonic_ns() == pytest.approx(86_400e9)
    assert clock.time_ns() == pytest.approx(82_800e9)


def test_a_loop_with_nothing_left_to_do_says_so() -> None:
    loop = VirtualLoop(random.Random(1))

    async def wait_for_ever() -> None:
        await loop.create_future()

    task = loop.create_task(wait_for_ever())
    try:
        with pytest.raises(StuckError):
            loop.run_until_complete(task)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            loop.run_until_complete(task)
    finally:
        loop.close()


def test_work_of_an_executor_takes_virtual_time_and_its_errors_come_back() -> None:
    loop = VirtualLoop(random.Random(1))

    def fail() -> None:
        raise KeyError("x")

    async def work() -> int:
        with pytest.raises(KeyError):
            await asyncio.to_thread(fail)
        return await asyncio.to_thread(lambda: 7)

    try:
        assert loop.run_until_complete(work()) == 7
        assert 0 < loop.time() < 0.1
    finally:
        loop.close()


class Collector(asyncio.Protocol):
    """Keeps what arrives."""

    def __init__(self) -> None:
        self.data = b""
        self.lost = False

    def data_received(self, data: bytes) -> None:
        self.data += data

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost = True


def test_bytes_arrive_in_order_or_break_off_at_some_point() -> None:
    sent = bytes(range(250))
    for seed in range(40):
        dice = random.Random(seed)
        loop = VirtualLoop(dice)
        network = Network(loop, dice)
        server = Collector()
        network.listen(1883, lambda: server)  # noqa: B023
        socket = network.connect(1883, "a")
        for at in range(0, 250, 10):
            socket.send(sent[at : at + 10])
        if seed % 2:
            loop.call_later(dice.uniform(0, 0.1), network.cut, network.connections[0])
        loop.call_later(60, loop.stop)
        loop.run_forever()
        loop.close()
        assert sent.startswith(server.data)
        assert server.data == sent or seed % 2
        assert server.lost == bool(seed % 2)


def test_nobody_listens_on_a_port_that_was_closed() -> None:
    loop = VirtualLoop(random.Random(1))
    network = Network(loop, random.Random(1))
    network.listen(1883, Collector)
    network.connect(1883, "a")
    network.listen(1883, None)
    with pytest.raises(ConnectionRefusedError):
        network.connect(1883, "a")
    loop.close()
