from __future__ import annotations

from pathlib import Path

import pytest

from edge.identity import FILE_NAME, Identity, load_identity
from streams.clock import ManualClock
from streams.errors import MisuseError
from streams.files import DiskFiles

NOW_S = 1_700_000_000


def load(directory: Path, *, device: str = "press-7", now_s: int = NOW_S, epoch_seen: int = -1) -> Identity:
    clock = ManualClock(time_ns=now_s * 1_000_000_000)
    return load_identity(directory, device, files=DiskFiles(), clock=clock, epoch_seen=epoch_seen)


def test_the_epoch_is_the_time_of_the_first_start_and_stays(tmp_path: Path) -> None:
    first = load(tmp_path)
    again = load(tmp_path, now_s=NOW_S + 1000)
    assert first.epoch == again.epoch == NOW_S
    assert first.boot != again.boot


@pytest.mark.parametrize("text", ["", "{", "[]", '{"device": "press-7"}', '{"device": "press-7", "epoch": true}', "\0"])
def test_a_state_that_cannot_be_read_makes_a_larger_epoch_and_noise(
    tmp_path: Path, text: str, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / FILE_NAME).write_text(text)
    assert load(tmp_path, epoch_seen=NOW_S + 5).epoch == NOW_S + 6
    assert "numbering starts anew" in caplog.text
    assert load(tmp_path).epoch == NOW_S + 6, "it is on disk"


def test_a_clock_that_went_back_never_makes_an_epoch_that_was_used(tmp_path: Path) -> None:
    assert load(tmp_path, now_s=5, epoch_seen=NOW_S).epoch == NOW_S + 1


def test_an_identity_older_than_the_spool_is_not_used(tmp_path: Path) -> None:
    load(tmp_path)
    assert load(tmp_path, epoch_seen=NOW_S + 100).epoch == NOW_S + 101


def test_the_state_of_another_device_is_refused(tmp_path: Path) -> None:
    load(tmp_path)
    with pytest.raises(MisuseError, match=r"is the state of device 'press-7', not of 'press-8'; give each device"):
        load(tmp_path, device="press-8")
