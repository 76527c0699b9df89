"""From frames to one transaction: decode, leave out what is stored, number, judge. No I/O: the store commits it.

What a frame can be: good (its new readings become rows), a second copy (nothing), ahead of its manifest (parked),
or undecodable (quarantined, with the reason and its bytes).
"""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from processors.alarms import Alarms
from processors.chunk import Chunk, FrameIn, Outgoing, Parked
from processors.dedupe import Dedupe
from processors.detectors.bank_compiled import Bank
from processors.detectors.registry import detectors
from processors.latest import Latest
from processors.manifests import Manifests
from processors.rows import Rows, no_rows
from processors.series import SeriesTable
from processors.settings import ProcessorsSettings
from processors.stores.store import State
from streams.errors import JunkError
from streams.frames import KIND_CODES, FrameHeader, Kind, Quality
from streams.frames.decode_compiled import Decoded, decode_many
from streams.names import ALERTS, QUARANTINE, TELEMETRY

_log = logging.getLogger("penstock.processors")

_JUDGED = np.array([KIND_CODES[Kind.FLOAT64], KIND_CODES[Kind.FLOAT32], KIND_CODES[Kind.INT64]], np.uint8)


class Engine:
    """Everything that is known in memory; built from what the store kept."""

    def __init__(self, settings: ProcessorsSettings, state: State) -> None:
        self._parked_bytes_max = settings.parked_bytes_max
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
        self._parked = list(state.parked)
        self._lookups: dict[tuple[str, int], NDArray[np.int32]] = {}
        self._limits = np.zeros((0, 3))
        thresholds = (alarms.open_strength, alarms.close_strength, alarms.close_hold_s)
        self._alarms = Alarms(dict(zip(("open_strength", "close_strength", "close_hold_s"), thresholds)))
        self._banks = {each.name: Bank(each, *thresholds) for each in detectors(alarms.detectors)}
        self._restore(state)

    # -- one transaction ---------------------------------------------------------------------------------------------

    def take(self, frames: Sequence[FrameIn], manifests: Sequence[tuple[str, bytes]] = ()) -> Chunk:
        """The transaction of these frames and manifests, in the order of the log."""
        chunk = Chunk()
        ready = self._learn(manifests, chunk)
        frames = [*ready, *frames]
        if frames:
            decoded = decode_many([frame.data for frame in frames])
            parts = [self._admit(index, frame, decoded, chunk) for index, frame in enumerate(frames)]
            chunk.rows = self._rows(frames, decoded, [part for part in parts if part is not None])
            self._judge(chunk)
        chunk.series = self.table.take_changed()
        chunk.ranges = self._dedupe.take_changed()
        return chunk

    def snapshot(self) -> dict[str, bytes]:
        """The state of the detectors, for the store to keep."""
        return {f"{name}/{bank.detector.version}": bank.snapshot() for name, bank in self._banks.items()}

    # -- inside ------------------------------------------------------------------------------------------------------

    def _restore(self, state: State) -> None:
        for name, bank in self._banks.items():
            kept = state.detectors.get(f"{name}/{bank.detector.version}")
            if kept is not None:
                bank.restore(kept)
        for alarm in state.open_alarms:
            number = self.table.find(alarm.device, alarm.metric)
            if number is not None and alarm.detector in self._banks:
                self._alarms.restore(number, alarm)
                self._banks[alarm.detector].mark_open(number)

    def _learn(self, manifests: Sequence[tuple[str, bytes]], chunk: Chunk) -> list[FrameIn]:
        """Take manifests; returns the parked frames that can go on now."""
        for device, payload in manifests:
            try:
                number = self._manifests.add(device, payload)
            except JunkError as error:
                _log.warning("%s", error)
                continue
            chunk.manifests.append((device, payload))
            self._lookups.pop((device, number), None)
        if not chunk.manifests or not self._parked:
            return []
        ready = [each for each in self._parked if self._manifests.get(each.frame.device, each.manifest) is not None]
        self._parked = [each for each in self._parked if each not in ready]
        chunk.unparked += [(each.frame.partition, each.frame.offset) for each in ready]
        return [each.frame for each in ready]

    def _admit(
        self, index: int, frame: FrameIn, decoded: Decoded, chunk: Chunk
    ) -> tuple[int, NDArray[np.int32], NDArray[np.bool_] | None] | None:
        """Index, row numbers of the series, and which readings are new (None: all); None when there are none."""
        header = decoded.headers[index]
        if index in decoded.errors or header is None:
            self._quarantine(frame, header, decoded.errors.get(index, "no header"), chunk)
            return None
        if self._manifests.get(frame.device, header.manifest) is None:
            self._park(frame, header, chunk)
            return None
        local = decoded.series[decoded.row_start[index] : decoded.row_start[index + 1]]
        lookup = self._lookup(frame.device, header.manifest)
        numbers = lookup[np.minimum(local, len(lookup) - 1)]  # the last entry stands for what is not declared
        if len(numbers) and numbers.min() < 0:
            unknown = int(local[numbers < 0][0])
            self._quarantine(frame, header, f"series {unknown} is not in the manifest {header.manifest}", chunk)
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
        """Series number in the frame to row number; -1 for what is not declared."""
        key = device, manifest
        found = self._lookups.get(key)
        if found is None:
            declared = self._manifests.get(device, manifest) or {}
            found = np.full(max(declared, default=0) + 2, -1, np.int32)
            for number, info in declared.items():
                found[number] = self.table.number(info)
            self._lookups[key] = found
            self._refresh_limits()
        return found

    def _refresh_limits(self) -> None:
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

    def _rows(
        self,
        frames: Sequence[FrameIn],
        decoded: Decoded,
        parts: Sequence[tuple[int, NDArray[np.int32], NDArray[np.bool_] | None]],
    ) -> Rows:
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
        for bank in self._banks.values():
            for transition in bank.run(rows, self._limits, good):
                alarm = self._alarms.apply(transition, self.table.info(transition.series))
                if alarm is None:
                    continue
                chunk.alarms.append(alarm)
                body = json.dumps(alarm.to_json()).encode()
                time_ms = (alarm.closed_ns or alarm.opened_ns) // 1_000_000
                chunk.outgoing.append(Outgoing(f"{alarm.id}:{alarm.state}", ALERTS, alarm.id, body, time_ms=time_ms))

    def _park(self, frame: FrameIn, header: FrameHeader, chunk: Chunk) -> None:
        waiting = sum(len(each.frame.data) for each in self._parked)
        if waiting + len(frame.data) > self._parked_bytes_max:
            self._quarantine(frame, header, f"its manifest {header.manifest} did not come and no more may wait", chunk)
            return
        parked = Parked(frame, header.manifest, header.epoch, header.sequence, header.sequence + header.count)
        self._parked.append(parked)
        chunk.parked.append(parked)

    def _quarantine(self, frame: FrameIn, header: FrameHeader | None, reason: str, chunk: Chunk) -> None:
        if header is None:
            chunk.undecodable += 1
        else:
            first, stop = header.sequence, header.sequence + header.count
            for start, end in self._dedupe.book(frame.device, header.epoch).stored.missing(first, stop):
                self._dedupe.quarantine(frame.device, header.epoch, start, end)
        headers = (
            ("reason", reason.encode()),
            ("stream", TELEMETRY.encode()),
            ("partition", str(frame.partition).encode()),
            ("offset", str(frame.offset).encode()),
        )
        name = f"{TELEMETRY}/{frame.partition}/{frame.offset}"
        chunk.outgoing.append(Outgoing(name, QUARANTINE, frame.device, frame.data, headers, frame.time_ms))
        _log.warning("the frame of %s at offset %d goes to quarantine: %s", frame.device, frame.offset, reason)
