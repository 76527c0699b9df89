from __future__ import annotations

from typing import Any

import pytest

from hub.accounts import Accounts
from hub.epochs import Epochs
from streams import names
from streams.record import NewRecord
from tests.hub.records import account, connection, event, frame, state

OLD, NEW = 1_790_000_000, 1_790_000_005


class World:
    def __init__(self) -> None:
        self.accounts = Accounts()
        self.asked: list[tuple[str, str, bytes]] = []
        self._epochs = Epochs(self.accounts, self._publish)

    def log(self, *records: NewRecord) -> None:
        for record in records:
            made = event(record)
            self.accounts.fold(made)
            self._epochs.react(made)

    def _publish(self, device: str, topic: str, payload: bytes) -> bool:
        self.asked.append((device, topic, payload))
        return True


def readings(epoch: int, first: int, count: int) -> NewRecord:
    return NewRecord(b"press", frame(epoch, first, count), 0)


def birth(epoch: int, produced: int | None, boot: str = "a") -> NewRecord:
    return state("press", epoch=epoch, boot=boot, **({} if produced is None else {"produced": produced}))


@pytest.mark.parametrize("produced", [100, 101, None])
def test_a_device_that_goes_on_where_it_was_is_asked_for_nothing(produced: int | None) -> None:
    world = World()
    world.log(birth(OLD, 0), readings(OLD, 0, 100), birth(OLD, produced), account("press", OLD, 100))
    assert world.asked == []


def test_a_device_that_would_use_numbers_again_is_asked_for_a_new_epoch() -> None:
    world = World()
    world.log(connection("press", True), readings(OLD, 0, 100), birth(OLD, 99))
    ((device, topic, payload),) = world.asked
    assert (device, topic) == ("press", names.topic("press", names.REQUESTS))
    assert payload == b'{"request":"epoch","epoch":1790000000,"received":100,"after":1790000000}'


def test_a_device_that_was_set_back_to_before_its_epoch_is_asked_for_a_new_one_above_all() -> None:
    world = World()
    world.log(readings(OLD, 0, 100), readings(NEW, 0, 5), readings(names.EPOCH_TRANSLATED + 9, 0, 5), birth(OLD, 100))
    assert [payload for _, _, payload in world.asked] == [
        b'{"request":"epoch","epoch":1790000000,"received":100,"after":1790000005}'
    ]


def test_of_two_agents_with_epochs_of_their_own_none_is_asked_for_another(caplog: Any) -> None:
    """Otherwise each would begin a new epoch each time it takes the session of the other."""
    world = World()
    world.log(birth(OLD, 0, "a"), readings(OLD, 0, 5), birth(NEW, 0, "b"), readings(NEW, 0, 5), birth(OLD, 5, "a"))
    assert world.asked == [] and world.accounts.is_shared("press")
