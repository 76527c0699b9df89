"""Lines that InfluxDB will never take: found one by one, so that they stop no other, and put into quarantine.

InfluxDB refuses a line for a time that its retention no longer holds, a field that has another type there, or a text it
cannot parse; it may have written the other lines of the same request, or none. Writing is idempotent, so a request that
was refused is cut in halves until the lines are found. Halves are cut by time, because all of these reasons hold for a
stretch of time: a thousand old readings cost a dozen requests.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np
from numpy.typing import NDArray

from processors.chunk import Chunk, Outgoing
from processors.manifests import SeriesInfo
from processors.stores.influx_server import InfluxServer, Refused
from processors.stores.line_protocol import Lines
from streams.names import QUARANTINE, TELEMETRY

RECORD_BYTES = 256 << 10


@dataclass(frozen=True, slots=True)
class Refusal:
    """A line that was refused, the row it was made from, and why."""

    row: int
    line: bytes
    reason: str


def write(server: InfluxServer, lines: Lines, rows: NDArray[np.int64], time_ns: NDArray[np.int64]) -> list[Refusal]:
    """Write the lines of these rows; returns those that are refused. The others are in InfluxDB then."""
    try:
        server.write(lines.data)
        return []
    except Refused as refused:
        found = _apart(server, lines, np.argsort(time_ns[rows], kind="stable"), refused)
        return [Refusal(int(rows[index]), bytes(lines[index]), reason) for index, reason in found]


def _apart(server: InfluxServer, lines: Lines, which: NDArray[np.int64], refused: Refused) -> Iterator[tuple[int, str]]:
    if len(which) == 1 or refused.dropped == len(which):
        yield from ((index, str(refused)) for index in which.tolist())
        return
    for half in np.array_split(which, 2):
        try:
            server.write(b"".join(lines[index] for index in half.tolist()))
        except Refused as error:
            yield from _apart(server, lines, half, error)


def set_aside(chunk: Chunk, refusals: Sequence[Refusal], infos: Mapping[int, SeriesInfo]) -> NDArray[np.bool_]:
    """Make the refused rows of a chunk quarantined ones, with a record for each frame; returns which rows are left.

    A second call with the same refusals changes nothing.
    """
    rows = chunk.rows
    kept = np.ones(len(rows), np.bool_)
    books = {(device, epoch): seen for device, epoch, seen in chunk.ranges}
    known = {each.id for each in chunk.outgoing}

    def place(refusal: Refusal) -> tuple[int, int, int]:
        return int(rows.partition[refusal.row]), int(rows.offset[refusal.row]), int(rows.sequence[refusal.row])

    for (partition, offset), found in groupby(sorted(refusals, key=place), lambda each: place(each)[:2]):
        frame = list(found)
        device = infos[int(rows.series[frame[0].row])].device
        for each in frame:
            epoch, sequence = int(rows.epoch[each.row]), int(rows.sequence[each.row])
            books[device, epoch].stored.remove(sequence, sequence + 1)
            books[device, epoch].quarantined.add(sequence, sequence + 1)
            kept[each.row] = False
        records = _records(device, partition, offset, frame, place(frame[0])[2])
        chunk.outgoing += [each for each in records if each.id not in known]
    return kept


def _records(device: str, partition: int, offset: int, frame: Sequence[Refusal], first: int) -> Iterator[Outgoing]:
    """The refused lines of one frame, as records that the log takes."""
    values = {"reason": frame[0].reason, "stream": TELEMETRY, "partition": str(partition), "offset": str(offset)}
    headers = tuple((name, value.encode("utf-8", "replace")) for name, value in values.items())
    part: list[bytes] = []
    for index, each in enumerate(frame):
        part.append(each.line)
        if index == len(frame) - 1 or sum(map(len, part)) >= RECORD_BYTES:
            name = f"refused/{TELEMETRY}/{partition}/{offset}/{first}/{index}"
            yield Outgoing(name, QUARANTINE, device, b"".join(part), headers)
            part = []
