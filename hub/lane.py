"""The short way of what devices publish, on plain sockets: read, recorded and acknowledged by the hundred.

Nearly all that a hub receives are messages of QoS 1 on one topic of each device, which become records as they are. For
those a call into Python for each would cost several times what the system takes for the bytes. So once a client has
published on such a topic, the lane reads its socket, for all such clients in one compiled call: what is plain is put
into one Run of records, and acknowledged in one compiled call when that is on disk. Whatever else a client sends goes
to its Connection, which knows every rule; so do the limits, the clock and the end of a connection.

Acknowledgements leave in the order in which the messages came: what came one way is answered before what came the
other way is looked at. Until then it waits here, and nothing more is read from that client.
"""

from __future__ import annotations

import asyncio
import platform
import select
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hub.connection import UNANSWERED_MAX, Connection
from hub.intake import Place, RunIntake
from hub.lane_compiled import (
    END,
    LEFT,
    MESSAGE,
    NOBODY,
    PLAIN,
    PUBLISH_BYTES_MIN,
    REST,
    ROW,
    TOPIC_BYTES_MAX,
    UNSENT,
    WHOLE,
    acknowledge,
    read_sockets,
    take_plain,
)
from streams.clock import Clock
from streams.log.run_compiled import Run

if TYPE_CHECKING:
    from hub.broker import Broker
    from hub.links import SocketLink

_PUBACK = b"\x40\x02"
_PINGREQ = b"\xc0\x00"
READ_BYTES = 128 << 10
"""Of one client at once."""
ARENA_BYTES = 1 << 20
EVENTS_MAX = 1024
GATHER_S = 0.001
_EVENT_BYTES, _FD_AT = (12, 4) if platform.machine() in ("x86_64", "AMD64") else (16, 8)
"""Of the system's epoll_event, which is packed on x86-64 alone."""
_MESSAGE_BYTES = 100
"""What a message takes in memory beside its payload, about."""


class Lane:
    """Everything happens in the event loop."""

    def __init__(self, broker: Broker, intake: RunIntake, clock: Clock) -> None:
        self._broker = broker
        self._intake = intake
        self._clock = clock
        self._epoll = select.epoll()
        self._loop = asyncio.get_running_loop()
        self._table = np.zeros(1024, ROW)
        self._generation = 0
        self._links: dict[int, SocketLink] = {}
        self._places: list[tuple[str, int]] = []
        self._rests: dict[int, bytes] = {}
        self._waiting: dict[int, bytes] = {}
        """What came behind messages that are not acknowledged, by descriptor."""
        self._reading: set[int] = set()
        self._indirect: set[int] = set()
        """Descriptors with something to be sent that was not sent here."""
        self._heard_ns = 0
        self._events = np.zeros(EVENTS_MAX * _EVENT_BYTES, np.uint8)
        self._arena = np.zeros(ARENA_BYTES + 2 * READ_BYTES, np.uint8)
        self._messages = np.zeros(len(self._arena) // PUBLISH_BYTES_MIN + 1, MESSAGE)
        self._lefts = np.zeros(EVENTS_MAX, LEFT)
        self._timer: asyncio.TimerHandle | None = None
        self._watch()

    def close(self) -> None:
        for link in list(self._links.values()):
            link.leave_lane()
        if self._timer is not None:
            self._timer.cancel()
        self._loop.remove_reader(self._epoll.fileno())
        self._epoll.close()

    def _watch(self) -> None:
        self._timer = None
        self._loop.add_reader(self._epoll.fileno(), self._sweep)

    def _gather(self) -> None:
        """What comes now would wait for the next commit: let it gather in the sockets until this one is done."""
        if self._timer is None:
            self._loop.remove_reader(self._epoll.fileno())
            self._timer = self._loop.call_later(GATHER_S, self._watch)

    def _gathered(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._watch()

    # -- clients -----------------------------------------------------------------------------------------------------

    def enter(self, link: SocketLink, connection: Connection, fd: int) -> bool:
        """Read this client's socket from now on, if it publishes what becomes records as it is."""
        assert connection.client is not None
        for name, topic in connection.known_topics.items():
            place = self._intake.place(connection.client, topic)
            if place is not None and len(name) <= TOPIC_BYTES_MAX:
                self._enter(link, connection, fd, name, place)
                return True
        return False

    def _enter(self, link: SocketLink, connection: Connection, fd: int, topic: bytes, place: Place) -> None:
        while fd >= len(self._table):
            self._table = np.concatenate((self._table, np.zeros(len(self._table), ROW)))
        where = (place.stream, place.partition)
        if where not in self._places:
            self._places.append(where)
        self._generation += 1
        row = self._table[fd]
        row["mode"], row["version"], row["is_direct"], row["waits"] = WHOLE, connection.version, False, False
        row["outstanding"], row["limit"] = 0, connection.receive_maximum or UNANSWERED_MAX
        row["generation"], row["heard_ns"] = self._generation, 0
        row["rest_bytes"], row["place"] = 0, self._places.index(where)
        row["key_at"], row["key_bytes"], row["topic_bytes"] = topic.index(place.key), len(place.key), len(topic)
        row["topic"][: len(topic)] = np.frombuffer(topic, np.uint8)
        self._links[fd] = link
        self._indirect.add(fd)
        self.resume(fd)

    def leave(self, fd: int) -> None:
        """Its socket is not ours any more; what it waits for is not told."""
        if self._links.pop(fd, None) is None:
            return
        self._table[fd]["mode"] = NOBODY
        self._generation += 1
        self._table[fd]["generation"] = self._generation
        self._indirect.discard(fd)
        self._rests.pop(fd, None)
        self._waiting.pop(fd, None)
        self.pause(fd)

    def pause(self, fd: int) -> None:
        """Read nothing from this client."""
        if fd in self._reading:
            self._reading.discard(fd)
            self._epoll.unregister(fd)

    def resume(self, fd: int) -> None:
        if fd not in self._waiting and fd not in self._reading:
            self._reading.add(fd)
            self._epoll.register(fd, select.EPOLLIN)

    def on_written(self, fd: int) -> None:
        """Something is sent to this client by its transport: what is sent here must not overtake it."""
        self._table[fd]["is_direct"] = False
        self._indirect.add(fd)

    def tick(self) -> None:
        """Tell the connections when they were heard, and let go of what is not needed any more."""
        for fd in [fd for fd in self._rests if not self._table[fd]["rest_bytes"]]:
            del self._rests[fd]
        rows = np.flatnonzero(self._table["heard_ns"] > self._heard_ns)
        for fd, heard_ns in zip(rows.tolist(), self._table["heard_ns"][rows].tolist()):
            self._heard_ns = max(self._heard_ns, heard_ns)
            if fd in self._links:
                connection = self._links[fd].connection
                connection.heard_ns = max(connection.heard_ns, heard_ns)

    # -- in ----------------------------------------------------------------------------------------------------------

    def _sweep(self) -> None:
        broker = self._broker
        found, left, received = read_sockets(
            self._epoll.fileno(), self._events, _EVENT_BYTES, _FD_AT, self._table, self._arena, READ_BYTES,
            broker.settings.packet_bytes_max, broker.next_tick_ns, self._messages, self._lefts,
        )  # fmt: skip
        broker.bytes_in += received
        if found:
            self._gather()
            self._hand_over(self._messages[:found].copy(), self._arena)
        for fd, what, at, stop in self._lefts[:left].tolist():
            if fd in self._links:  # what another one sent may have ended this one
                self._on_left(fd, what, self._arena[at:stop].tobytes())

    def _on_left(self, fd: int, what: int, data: bytes) -> None:
        if what == END:
            self._links[fd].leave_lane()  # its transport finds out why
        elif what == REST:
            self._rests[fd] = data
            address = np.frombuffer(data, np.uint8).ctypes.data
            self._table[fd]["rest_at"], self._table[fd]["rest_bytes"] = address, len(data)
        else:
            self._on_data(fd, data)

    def _on_data(self, fd: int, data: bytes) -> None:
        """What is not plain, or from somebody whose connection must look at all: its turn, or wait for it."""
        row, connection = self._table[fd], self._links[fd].connection
        if row["outstanding"]:
            while data.startswith(_PINGREQ):  # its answer has no place among the others
                connection.receive(_PINGREQ)
                data = data[len(_PINGREQ) :]
            if data:
                self._wait(fd, data)
        elif row["mode"] == WHOLE and connection.is_calm:
            row["mode"] = PLAIN
            self._take(fd, data)
        elif row["mode"] == WHOLE and connection.only_waits:
            self._wait(fd, data)
            generation = int(row["generation"])
            connection.on_calm = lambda: self._loop.call_soon(self._go_on, fd, generation)
        else:
            row["mode"] = WHOLE
            connection.receive(data)

    def _take(self, fd: int, data: bytes) -> None:
        """Take what is plain of this; the connection gets what is behind it."""
        buffer = np.array(bytearray(data), np.uint8)
        messages = np.zeros(len(data) // PUBLISH_BYTES_MIN + 1, MESSAGE)
        limit = self._broker.settings.packet_bytes_max
        found, at, what = take_plain(self._table, fd, buffer, 0, len(data), READ_BYTES, limit, messages, 0)
        if found:
            self._hand_over(messages[:found], buffer)
        if at < len(data) and fd in self._links:
            self._on_left(fd, what, data[at:])

    def _wait(self, fd: int, data: bytes) -> None:
        self._table[fd]["waits"] = True
        self.pause(fd)
        self._waiting[fd] = data

    def _go_on(self, fd: int, generation: int) -> None:
        """What this client waited for is done."""
        if fd not in self._links or self._table[fd]["generation"] != generation or fd not in self._waiting:
            return
        self._table[fd]["waits"] = False
        data = self._waiting.pop(fd)
        link = self._links[fd]
        self._on_data(fd, data)
        if fd in self._links and not link.connection.is_held:
            self.resume(fd)

    def _hand_over(self, messages: NDArray[Any], data: NDArray[np.uint8]) -> None:
        """To the pipeline: one run for each partition."""
        time_ms = self._clock.time_ns() // 1_000_000
        first = int(messages["place"][0])
        if len(self._places) == 1 or (messages["place"] == first).all():
            self._append(first, messages, data, time_ms)
            return
        for place in np.unique(messages["place"]).tolist():
            self._append(place, messages[messages["place"] == place], data, time_ms)

    def _append(self, place: int, messages: NDArray[Any], data: NDArray[np.uint8], time_ms: int) -> None:
        broker = self._broker
        run = Run(data, messages, time_ms)
        size = run.value_bytes + _MESSAGE_BYTES * len(run)
        broker.messages_in += len(run)
        broker.add_undurable(size)

        def on_taken(error: Exception | None) -> None:
            broker.on_durable(size)
            self._gathered()
            if error is None:
                self._acknowledge(messages)
            else:
                self._refuse(messages, error)

        stream, partition = self._places[place]
        self._intake.take_run(stream, partition, run, on_taken)

    # -- out ---------------------------------------------------------------------------------------------------------

    def _acknowledge(self, messages: NDArray[Any]) -> None:
        for fd in list(self._indirect):
            if self._links[fd].has_sent_all():
                self._table[fd]["is_direct"] = True
                self._indirect.discard(fd)
        unsent = np.empty(len(messages), UNSENT)
        failed, sent = acknowledge(self._table, messages, np.empty(4 * len(messages), np.uint8), unsent)
        self._broker.bytes_out += sent
        for fd, at, stop, sent in unsent[:failed].tolist():
            link = self._links.get(fd)
            if link is None:
                continue
            ids = messages["packet_id"][at:stop].tolist()
            acks = b"".join([_PUBACK + each.to_bytes(2, "big") for each in ids if each])
            if sent < len(acks):
                self._broker.bytes_out += len(acks) - sent
                link.write(acks[sent:])
            if self._table[fd]["waits"] and not self._table[fd]["outstanding"]:
                self._go_on(fd, int(self._table[fd]["generation"]))

    def _refuse(self, messages: NDArray[Any], error: Exception) -> None:
        """They keep what they sent, and come again."""
        pairs, counts = np.unique(messages[["fd", "generation"]], return_counts=True)
        for (fd, generation), count in zip(pairs.tolist(), counts.tolist()):
            if fd in self._links and self._table[fd]["generation"] == generation:
                self._broker.on_intake_refusal(self._links[fd].connection, count, error)


def warm() -> None:
    """Compile the kernels, or load them from numba's cache, so that the first real call does not wait."""
    nothing = np.zeros(0, np.uint8)
    table, messages = np.zeros(1, ROW), np.zeros(1, MESSAGE)
    read_sockets(-1, nothing, _EVENT_BYTES, _FD_AT, table, nothing, 0, 0, 0, messages, np.zeros(0, LEFT))
    take_plain(table, 0, nothing, 0, 0, 0, 0, messages, 0)
    acknowledge(table, messages[:0], nothing, np.zeros(0, UNSENT))
    Run(np.zeros(1, np.uint8), messages, 0)
