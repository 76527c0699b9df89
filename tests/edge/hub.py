"""What a hub makes of what an agent published: readings by number, the last account, and whether they agree."""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterable
from typing import Any

from streams.frames import decode
from streams.sequences import SequenceSet
from tests.edge.broker import Published

Numbered = dict[int, tuple[str, int, Any]]


class HubView:
    """Readings as (series name, time, value), by epoch and number."""

    def __init__(self, published: Iterable[Published] = ()) -> None:
        self.readings: dict[int, Numbered] = {}
        self.received: dict[int, SequenceSet] = {}
        self.frames: dict[tuple[int, int], bytes] = {}
        self.repeated = 0
        self.account: dict[str, Any] = {}
        self.unknown_manifests = 0
        self._manifests: dict[int, dict[int, str]] = {}
        for message in published:
            self.take(message)

    def take(self, message: Published) -> None:
        if message.channel == "manifest":
            series = json.loads(message.payload)["series"]
            self._manifests[zlib.crc32(message.payload)] = {each["id"]: each["name"] for each in series}
        elif message.channel == "account":
            self.account = json.loads(message.payload)
        elif message.channel == "frames":
            self._frame(message.payload)

    def _frame(self, payload: bytes) -> None:
        frame = decode(payload)
        if (seen := self.frames.setdefault((frame.epoch, frame.sequence), payload)) is not payload:
            assert seen == payload, "a frame that is sent again is the same bytes"
            self.repeated += 1
            return
        names = self._manifests.get(frame.manifest)
        if names is None:
            self.unknown_manifests += 1
            names = {}
        new = self.received.setdefault(frame.epoch, SequenceSet()).add(frame.sequence, frame.sequence + frame.count)
        assert new == frame.count, "no number is used twice"
        number = frame.sequence
        into = self.readings.setdefault(frame.epoch, {})
        for block in frame.blocks:
            for column in block.columns:
                for time_ns, value in zip(block.times_ns, column.values):
                    into[number] = (names.get(column.series, "?"), time_ns, value)
                    number += 1

    def values(self, name: str) -> list[Any]:
        """Values of one series, over all epochs, in the order of their numbers."""
        return [
            value
            for _, numbered in sorted(self.readings.items())
            for _, (series, _, value) in sorted(numbered.items())
            if series == name
        ]

    def missing(self) -> list[tuple[int, int]]:
        """Numbers of the account's epoch that are neither received, held, dropped nor thinned: lost."""
        told = self.account
        known = self.received.get(told["epoch"], SequenceSet()).copy()
        for start, stop in told["held"]:
            known.add(start, stop)
        for each in [*told["dropped"], *told["thinned"]]:
            known.add(each["start"], each["stop"])
        return known.missing(0, told["produced"])
