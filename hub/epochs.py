"""A device whose state was set back is asked to number in a new epoch, so that no number is used twice.

At its birth a device says which number comes next. When the hub has that one already, the device has forgotten what it
did: its card or its disk was restored from a copy. The answer goes out before anything that comes after the birth is
acknowledged, so that the device knows before it sends.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

from hub.accounts import Accounts
from hub.events import Event, StateEvent, dump
from streams import names

_log = logging.getLogger("penstock.hub.epochs")

Publish = Callable[[str, str, bytes], bool]


class Epochs:
    """Told each new event on the log once it is folded."""

    def __init__(self, accounts: Accounts, publish: Publish) -> None:
        self._accounts = accounts
        self._publish = publish

    def react(self, event: Event) -> None:
        match event:
            case StateEvent(online=True, device=device, epoch=int(epoch), produced=int(produced)):
                self._check(device, epoch, produced)

    def _check(self, device: str, epoch: int, produced: int) -> None:
        received, newest = self._accounts.received_to(device, epoch), self._accounts.epoch_newest(device)
        is_older = epoch < newest and not self._accounts.is_shared(device)  # of two agents each has an epoch of its own
        if received <= produced and not is_older:
            return
        request = {"request": "epoch", "epoch": epoch, "received": received, "after": max(epoch, newest)}
        asked = self._publish(device, names.topic(device, names.REQUESTS), dump(request))
        _log.warning(
            "%s: its state was set back: it goes on at %d of epoch %d, the hub has that up to %d, and epoch %d; %s",
            *(device, produced, epoch, received, newest),
            "it is asked to begin a new epoch" if asked else "it does not listen to requests",
        )
