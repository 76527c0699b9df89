from __future__ import annotations

from pathlib import Path

import pytest

from edge.identity import FILE_NAME, RANDOM_BITS, Identity, load_identity
from streams.clock import ManualClock
from streams.errors import MisuseError
from streams.files import DiskFiles
from streams.names import is_translated

NOW_S = 1_700_000_000
NOW = NOW_S << RANDOM_BITS
DICE = 12345


def load(
    directory: Path, *, device: str = "press-7", now_s: int = NOW_S, epoch_seen: int = -1, dice: int = DICE
) -> Identity:
    clock = ManualClock(time_ns=now_s * 1_000_000_000)
    return load_identity(
        directory, device, files=DiskFiles(), clock=clock, epoch_seen=epoch_seen, random_bits=lambda bits: dice
    )


def test_the_epoch_is_the_time_of_the_first_start_with_random_bits_and_stays(tmp_path: Path) -> None:
    first = load(tmp_path)
    again = load(tmp_path, now_s=NOW_S + 1000, dice=7)
    assert first.epoch == again.epoch == NOW + DICE
    assert first.boot != again.boot


def test_two_that_start_in_the_same_second_do_not_share_an_epoch(tmp_path: Path) -> None:
    clock = ManualClock(time_ns=NOW_S * 1_000_000_000)
    epochs = {
        load_identity(tmp_path / str(each), "twin", files=DiskFiles(), clock=clock).epoch
        for each in range(3)
        if (tmp_path / str(each)).mkdir() is None
    }
    assert len(epochs) == 3


def test_an_epoch_grows_with_time_and_is_never_one_of_those_that_the_hub_gives(tmp_path: Path) -> None:
    largest = (1 << RANDOM_BITS) - 1
    times = [-5, 0, 5, NOW_S, NOW_S + 1, (1 << 32) - 1, 1 << 33]
    epochs = []
    for index, now_s in enumerate(times):
        (tmp_path / str(index)).mkdir()
        epochs.append(load(tmp_path / str(index), now_s=now_s, dice=largest).epoch)
    assert epochs == sorted(epochs)
    assert epochs[3] < epochs[4] - (1 << RANDOM_BITS) + 1
    assert not any(is_translated(epoch) for epoch in epochs)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"device": "press-7"}', '{"device": "press-7", "epoch": true}', "\0"])
def test_a_state_that_cannot_be_read_makes_a_larger_epoch_and_noise(
    tmp_path: Path, text: str, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / FILE_NAME).write_text(text)
    assert load(tmp_path, epoch_seen=NOW + 5).epoch == NOW + 6 + DICE
    assert "numbering starts anew" in caplog.text
    assert load(tmp_path).epoch == NOW + 6 + DICE, "it is on disk"


def test_a_clock_that_went_back_never_makes_an_epoch_that_was_used(tmp_path: Path) -> None:
    assert load(tmp_path, now_s=5, epoch_seen=NOW).epoch == NOW + 1 + DICE


def test_an_identity_older_than_the_spool_is_not_used(tmp_path: Path) -> None:
    load(tmp_path)
    assert load(tmp_path, epoch_seen=NOW + (1 << 30)).epoch == NOW + (1 << 30) + 1 + DICE


def test_the_state_of_another_device_is_refused(tmp_path: Path) -> None:
    load(tmp_path)
    with pytest.raises(MisuseError, match=r"is the state of device 'press-7', not of 'press-8'; give each device"):
        load(tmp_path, device="press-8")
