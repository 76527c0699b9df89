"""Who the device is and how it numbers: device id, epoch, and the random id of this start.

An epoch is chosen when numbering starts from 0, and never again: a device that has lost its state takes a larger one,
so that no number is ever used twice (docs/protocol.md, numbering). It is the time in seconds with random bits behind
it: two agents that start in the same second, under one device id by mistake, do not share an epoch.
"""

from __future__ import annotations

import dataclasses
import json
import logging
import secrets
from collections.abc import Callable
from pathlib import Path

from streams.clock import Clock
from streams.errors import CorruptError, MisuseError
from streams.files import Files

_log = logging.getLogger(__name__)

FILE_NAME = "identity.json"

RANDOM_BITS = 20
SECONDS_MAX = (1 << 32) - 1
"""Of the time in an epoch, so that it stays below those that the hub gives (streams/names.py)."""

RandomBits = Callable[[int], int]


@dataclasses.dataclass(frozen=True, slots=True)
class Identity:
    """`epoch` numbers the device's lives, `boot` this start of the agent."""

    device: str
    epoch: int
    boot: str


def load_identity(
    directory: Path,
    device: str,
    *,
    files: Files,
    clock: Clock,
    epoch_seen: int = -1,
    random_bits: RandomBits = secrets.randbits,
) -> Identity:
    """The identity kept in `directory`, or a new one with an epoch above `epoch_seen`, durable before it returns.

    MisuseError when the directory belongs to another device. OSError when a new one cannot be written.
    """
    path = directory / FILE_NAME
    epoch = None
    try:
        epoch = _read(path, device, files)
    except FileNotFoundError:
        if epoch_seen >= 0:
            _log.warning("%s is gone though frames of epoch %d are there; numbering starts anew", path, epoch_seen)
    except CorruptError as error:
        _log.error("%s; numbering starts anew in a new epoch, so that no number is used twice", error)
    if epoch is None or epoch < epoch_seen:
        epoch = new_epoch(directory, device, files=files, clock=clock, above=epoch_seen, random_bits=random_bits)
    return Identity(device, epoch, secrets.token_hex(8))


def new_epoch(
    directory: Path,
    device: str,
    *,
    files: Files,
    clock: Clock,
    above: int,
    random_bits: RandomBits = secrets.randbits,
) -> int:
    """Start numbering anew: an epoch above `above`, durable before it returns."""
    seconds = min(max(0, clock.time_ns() // 1_000_000_000), SECONDS_MAX)
    epoch = max(seconds << RANDOM_BITS, above + 1) + random_bits(RANDOM_BITS)
    text = json.dumps({"device": device, "epoch": epoch})
    files.replace(directory / FILE_NAME, text.encode())
    _log.info("device %s numbers its readings in epoch %d", device, epoch)
    return epoch


def _read(path: Path, device: str, files: Files) -> int:
    file = files.open(path)
    try:
        data = file.read(0, 65536)
    finally:
        file.close()
    try:
        kept = json.loads(data)
        owner, epoch = kept["device"], kept["epoch"]
    except (ValueError, KeyError, TypeError):
        raise CorruptError(f"{path} cannot be read as an identity ({data[:60]!r})") from None
    if not isinstance(owner, str) or not isinstance(epoch, int) or isinstance(epoch, bool) or epoch < 0:
        raise CorruptError(f"{path} holds no device and epoch ({data[:60]!r})")
    if owner != device:
        raise MisuseError(
            f"{path.parent} is the state of device {owner!r}, not of {device!r}; "
            "give each device a directory of its own, or set edge.device back"
        )
    return epoch
