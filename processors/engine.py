"""From frames to transactions: decode, leave out what is stored, number, judge. No I/O: the store commits them.

What a frame can be: good (its new readings become rows), a second copy (nothing), ahead of its manifest (parked),
or undecodable (quarantined, with the reason and its bytes).
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from processors import quarantine
from processors.alarms import Alarm, Alarms
from processors.chunk import Chunk, FrameIn, Outgoing, Parked
from processors.dedupe import Dedupe
from processors.detectors.bank_compiled import Bank
from processors.detectors.registry import detectors
from processors.latest import Latest
from processors.manifests import Manifests
from processors.parking import Key, Parking
from processors.rows import Rows, no_rows
from processors.series import SeriesTable
from processors.settings import ProcessorsSettings
from processors.stores.store import State
from streams.errors import JunkError
from streams.frames import KIND_CODES, FrameHeader, Kind, Quality
from streams.frames.decode_compiled import Decoded, batches, decode_many
from streams.names import ALERTS, TELEMETRY

_log = logging.getLogger("penstock.processors")

_JUDGED = np.array([KIND_CODES[Kind.FLOAT64], KIND_CODES[Kind.FLOAT32], KIND_CODES[Kind.INT64]], np.uint8)

Part = tuple[int, NDArray[np.int32], NDArray[np.bool_] | None]
"""Index of a frame, row numbers of its readings' series, and which readings are new (None: all)."""


class Engine:
    """Everything that is known in memory; built from what the store kept."""

    def __init__(self, settings: ProcessorsSettings, state: State) -> None:
        alarms = settings.alarms
        self.table = SeriesTable(state.series)
        self.latest = Latest(state.latest)
        self._dedupe = Dedupe()
        for device, epoch, stored, quarantined in state.ranges:
            book = self._dedupe.book(device, epoch)
            book.stored, book.quarantined = stored, quarantined
        self._manifests = Manifests()
        for device, payload in state.manifests:
            self._manifests.add(device, payload)
        self.parking = Parking(settings.parked_bytes_max, state.parked)
        self._learned: set[Key] = {key for key in self.parking.awaited() if self._manifests.knows(*key)}
        self._lookups: dict[Key, NDArray[np.int32]] = {}
        self._limits: NDArray[np.float64] | None = None
        thresholds = (alarms.open_strength, alarms.close_strength, alarms.close_hold_s)
        self._alarms = Alarms(dict(zip(("open_strength", "close_strength", "close_hold_s"), thresholds)))
        self._banks = [Bank(each, *thresholds) for each in detectors(alarms.detectors)]
        self._orphans: list[Alarm] = []
        self._restore(state)

    # -- transactions ------------------------------------------------------------------------------------------------

    def take(self, frames: Sequence[FrameIn], manifests: Sequence[tuple[str, bytes]] = ()) -> Iterator[Chunk]:
        """The transactions of these manifests and frames, in the order of the log: one, or more of bounded size.

        Each must be committed before the next is asked for.
        """
        chunk = Chunk(manifests=self._learn(manifests))
        self._close_orphans(chunk)
        released = self.parking.release(self._learned)
        self._learned = set()
        frames = [*(each.frame for each in released), *frames]
        for part in batches([frame.data for frame in frames]):
            self._process(frames[part.start : part.stop], chunk)
            for frame in frames[part.start : min(part.stop, len(released))]:
                chunk.unparked.append((frame.partition, frame.offset))
            for frame in frames[max(part.start, len(released)) : part.stop]:
                chunk.offsets[TELEMETRY, frame.partition] = frame.offset + 1
            yield chunk
            chunk = Chunk()
        if not frames:
            yield chunk

    def snapshot(self) -> dict[str, bytes]:
        """The state of the detectors, for the store to keep."""
        return {f"{bank.detector.name}/{bank.detector.version}": bank.snapshot() for bank in self._banks}

    # -- inside ------------------------------------------------------------------------------------------------------

    def _restore(self, state: State) -> None:
        banks = {bank.detector.name: bank for bank in self._banks}
        for bank in self._banks:
            kept = state.detectors.get(f"{bank.detector.name}/{bank.detector.version}")
            if kept is not None:
                bank.restore(kept)
        for alarm in state.open_alarms:
            number = self.table.find(alarm.device, alarm.metric)
            if number is None or alarm.detector not in banks:
                self._orphans.append(alarm)
                continue
            self._alarms.restore(number, alarm)
            banks[alarm.detector].reopen(number, alarm.opened_ns, alarm.strength)

    def _close_orphans(self, chunk: Chunk) -> None:
        """Close the alarms of detectors that look no longer, at the last reading of their series."""
        for alarm in self._orphans:
            last_ns = self.latest.time_ns(self.table.find(alarm.device, alarm.metric))
            closed = replace(alarm, closed_ns=max(alarm.opened_ns, last_ns))
            chunk.alarms.append(closed)
            chunk.outgoing.append(_told(closed))
        self._orphans = []

    def _learn(self, manifests: Sequence[tuple[str, bytes]]) -> list[tuple[str, bytes]]:
        """Take manifests; returns those that are new."""
        new = []
        for device, payload in manifests:
            number = self._manifests.add(device, payload)
            if number is not None:
                self._learned.add((device, number))
                new.append((device, payload))
        return new

    def _process(self, frames: Sequence[FrameIn], chunk: Chunk) -> None:
        decoded = decode_many([frame.data for frame in frames])
        told = len(chunk.outgoing)
        parts = [self._admit(index, frame, decoded, chunk) for index, frame in enumerate(frames)]
        aside = chunk.outgoing[told:]
        if aside:  # one line, however many
            reason = dict(aside[0].headers)["reason"].decode()
            _log.warning("%d frames go to quarantine; the first, of %s: %s", len(aside), aside[0].key, reason)
        chunk.rows = self._rows(frames, decoded, [part for part in parts if part is not None])
        self._judge(chunk)
        chunk.series = self.table.take_changed()
        chunk.ranges = self._dedupe.take_changed()

    def _admit(self, index: int, frame: FrameIn, decoded: Decoded, chunk: Chunk) -> Part | None:
        """What of a frame becomes rows; None when nothing does."""
        header = decoded.headers[index]
        if frame.fault is not None:
            self._quarantine(frame, None, frame.fault, chunk)
            return None
        if index in decoded.errors or header is None:
            self._quarantine(frame, header, decoded.errors.get(index, "no header"), chunk)
            return None
        if not self._manifests.knows(frame.device, header.manifest):
            self._park(frame, header, chunk)
            return None
        try:
            lookup = self._lookup(frame.device, header.manifest)
        except JunkError as error:
            self._quarantine(frame, header, str(error), chunk)
            return None
        local = decoded.series[decoded.row_start[index] : decoded.row_start[index + 1]]
        numbers = lookup[np.minimum(local, len(lookup) - 1)]  # the last entry stands for what is not declared
        if len(numbers) and numbers.min() < 0:
            unknown = int(local[numbers < 0][0])
            self._quarantine(frame, header, f"series {unknown} is not in the manifest {header.manifest:08x}", chunk)
            return None
        first, stop = header.sequence, header.sequence + header.count
        new = self._dedupe.admit(frame.device, header.epoch, first, stop)
        if not new:
            return None
        if new == [(first, stop)]:
            return index, numbers, None
        mask = np.zeros(header.count, np.bool_)
        for start, end in new:
            mask[start - first : end - first] = True
        return index, numbers, mask

    def _lookup(self, device: str, manifest: int) -> NDArray[np.int32]:
        """Series number in the frame to row number; -1 for what is not declared. Raises JunkError."""
        key = device, manifest
        found = self._lookups.get(key)
        if found is None:
            declared = self._manifests.get(device, manifest)
            found = np.full(max(declared, default=0) + 2, -1, np.int32)
            for number, info in declared.items():
                found[number] = self.table.number(info)
            self._lookups[key] = found
            self._limits = None
        return found

    def _series_limits(self) -> NDArray[np.float64]:
        """Resolution, minimum and maximum by row number."""
        if self._limits is None:
            infos = [self.table.info(number) for number in range(len(self.table))]
            self._limits = np.array(
                [
                    (
                        info.resolution or 0.0,
                        -np.inf if info.minimum is None else info.minimum,
                        np.inf if info.maximum is None else info.maximum,
                    )
                    for info in infos
                ]
            ).reshape(-1, 3)
        return self._limits

    def _rows(self, frames: Sequence[FrameIn], decoded: Decoded, parts: Sequence[Part]) -> Rows:
        if not parts:
            return no_rows()
        picks, series, epochs, sequences, partitions, offsets = [], [], [], [], [], []
        for index, numbers, mask in parts:
            header, frame = decoded.headers[index], frames[index]
            assert header is not None
            start = int(decoded.row_start[index])
            places = np.arange(header.count) if mask is None else np.flatnonzero(mask)
            picks.append(places + start)
            series.append(numbers if mask is None else numbers[mask])
            epochs.append(np.full(len(places), header.epoch, np.int64))
            sequences.append(places + header.sequence)
            partitions.append(np.full(len(places), frame.partition, np.int32))
            offsets.append(np.full(len(places), frame.offset, np.int64))
        pick = np.concatenate(picks)
        return Rows(
            np.concatenate(series), decoded.kind[pick], decoded.time_ns[pick], decoded.value[pick],
            decoded.integer[pick], decoded.text[pick], decoded.quality[pick], np.concatenate(epochs),
            np.concatenate(sequences), np.concatenate(partitions), np.concatenate(offsets), decoded.texts,
        )  # fmt: skip

    def _judge(self, chunk: Chunk) -> None:
        rows = chunk.rows
        if not len(rows):
            return
        good = (rows.quality == Quality.GOOD) & np.isfinite(rows.value) & np.isin(rows.kind, _JUDGED)
        limits = self._series_limits()
        seen = [(each, bank.detector) for bank in self._banks for each in bank.run(rows, limits, good)]
        seen.sort(key=lambda pair: pair[0].row)  # as the readings came, whichever detector speaks
        changed = [
            self._alarms.apply(transition, rows, self.table.info(transition.series), detector)
            for transition, detector in seen
        ]
        chunk.alarms += {alarm.id: alarm for alarm in changed}.values()
        chunk.outgoing += map(_told, changed)

    def _park(self, frame: FrameIn, header: FrameHeader, chunk: Chunk) -> None:
        parked = Parked(frame, header.manifest, header.epoch, header.sequence, header.sequence + header.count)
        if self.parking.park(parked):
            chunk.parked.append(parked)
            return
        reason = f"its manifest {header.manifest:08x} did not come and no more may wait (processors.parked_bytes_max)"
        self._quarantine(frame, header, reason, chunk)

    def _quarantine(self, frame: FrameIn, header: FrameHeader | None, reason: str, chunk: Chunk) -> None:
        if header is None:
            chunk.undecodable += 1
        else:
            first, stop = header.sequence, header.sequence + header.count
            for start, end in self._dedupe.book(frame.device, header.epoch).stored.missing(first, stop):
                self._dedupe.quarantine(frame.device, header.epoch, start, end)
        chunk.outgoing.append(quarantine.frame_record(frame, reason))


def _told(alarm: Alarm) -> Outgoing:
    """The record on the stream `alerts` of an alarm that opened or closed."""
    time_ns = alarm.opened_ns if alarm.closed_ns is None else alarm.closed_ns
    body = json.dumps(alarm.to_json()).encode()
    return Outgoing(f"{alarm.id}:{alarm.state}", ALERTS, alarm.id, body, time_ms=time_ns // 1_000_000)
