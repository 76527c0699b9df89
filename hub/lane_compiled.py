# mypy: allow-untyped-defs, allow-untyped-calls, disable-error-code="call-overload, assignment"
"""The short way of a PUBLISH as machine code (lane.py): many sockets are read, and many acknowledged, in one call.

The system's own calls are called as they are. `table` has a ROW for each file descriptor.
"""

from __future__ import annotations

import errno
import socket

import numpy as np
from numba import carray, njit, types  # type: ignore[attr-defined]

from streams.log.run_compiled import SPAN

TOPIC_BYTES_MAX = 120
PUBLISH_BYTES_MIN = 24
"""No PUBLISH on a topic of a device is smaller."""

NOBODY, PLAIN, WHOLE = range(3)
"""What is done with what a socket gives: nothing, its plain messages are taken, all of it is handed on."""

ROW = np.dtype(
    [
        ("mode", "u1"),
        ("version", "u1"),
        ("is_direct", "u1"),  # nothing waits to be sent but what is sent here
        ("waits", "u1"),  # for its last acknowledgement
        ("outstanding", "i4"),  # messages not acknowledged
        ("limit", "i4"),  # of these
        ("generation", "i8"),  # so that nobody is taken for who had the descriptor before
        ("heard_ns", "i8"),
        ("rest_at", "i8"),  # address of the beginning of a packet
        ("rest_bytes", "i4"),
        ("place", "i4"),
        ("key_at", "i4"),  # in the topic
        ("key_bytes", "i4"),
        ("topic_bytes", "i4"),
        ("topic", "u1", (TOPIC_BYTES_MAX,)),
    ]
)
MESSAGE = np.dtype([*SPAN.descr, ("fd", "i4"), ("packet_id", "i4"), ("generation", "i8"), ("place", "i4")])
"""A message that was taken: its record's span of the arena, and who is to be told. Packet id 0: nobody, it is QoS 0."""

LEFT = np.dtype([("fd", "i4"), ("what", "i4"), ("at", "i4"), ("stop", "i4")])
"""What was not taken: a part of the arena."""
REST, DATA, END = range(3)
"""The beginning of a packet; what only Connection knows how to treat; the connection is gone."""

UNSENT = np.dtype([("fd", "i4"), ("at", "i4"), ("stop", "i4"), ("sent", "i4")])
"""Messages whose acknowledgement was not sent, but for so many bytes."""

_PUBLISH, _DUP, _PUBACK = 0x30, 0x08, 0x40
_AGAIN, _INTERRUPTED = errno.EAGAIN, errno.EINTR
_DONT_WAIT = int(socket.MSG_DONTWAIT)
_SEND_FLAGS = int(socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)

_epoll_wait = types.ExternalFunction("epoll_wait", types.int32(types.int32, types.intp, types.int32, types.int32))
_recv = types.ExternalFunction("recv", types.intp(types.int32, types.intp, types.intp, types.int32))
_send = types.ExternalFunction("send", types.intp(types.int32, types.intp, types.intp, types.int32))
_copy = types.ExternalFunction("memcpy", types.intp(types.intp, types.intp, types.intp))
_errno_at = types.ExternalFunction("__errno_location", types.CPointer(types.int32)())


@njit(cache=True, nogil=True)
def take_plain(table, fd, data, at, stop, rest_bytes_max, packet_bytes_max, messages, found):
    """Take plain messages from `at` on; returns how many were found in all, where it stopped, and why: a LEFT.

    Plain is a whole PUBLISH of QoS 0 or 1 without properties, not retained, on the row's topic, within the limits.
    """
    row = table[fd]
    topic_bytes = row.topic_bytes
    while at < stop:
        first = data[at]
        if first & 0xF5 != _PUBLISH or first == _PUBLISH | _DUP:
            return found, at, DATA
        length, body, shift = 0, at + 1, 0
        while True:
            if body == stop:
                return found, at, REST
            byte = np.int64(data[body])
            body += 1
            length |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                break
            if shift > 21:
                return found, at, DATA
        end = body + length
        if (shift > 7 and byte == 0) or end - at > packet_bytes_max or length < topic_bytes + 2:
            return found, at, DATA
        if end > stop:
            return found, at, REST if end - at <= rest_bytes_max else DATA
        if np.int64(data[body]) << 8 | np.int64(data[body + 1]) != topic_bytes:
            return found, at, DATA
        body += 2
        for index in range(topic_bytes):
            if data[body + index] != row.topic[index]:
                return found, at, DATA
        value = body + topic_bytes
        packet_id = np.int64(0)
        if first & 0x06:
            if value + 2 > end:
                return found, at, DATA
            packet_id = np.int64(data[value]) << 8 | np.int64(data[value + 1])
            value += 2
            if packet_id == 0 or row.outstanding >= row.limit:
                return found, at, DATA
        if row.version >= 5:
            if value >= end or data[value] != 0:
                return found, at, DATA
            value += 1
        message = messages[found]
        message.key_at = body + row.key_at
        message.key_bytes = row.key_bytes
        message.value_at = value
        message.value_bytes = end - value
        message.fd = fd
        message.packet_id = packet_id
        message.generation = row.generation
        message.place = row.place
        found += 1
        if packet_id:
            row.outstanding += 1
        at = end
    return found, at, DATA


@njit(cache=True, nogil=True)
def read_sockets(
    epoll, events, event_bytes, fd_at, table, arena, read_bytes, packet_bytes_max, now_ns, messages, lefts
):
    """Read from every socket that has something, once; returns how many messages, lefts and bytes came.

    It stops early when the arena or `messages` might not take another read; what is left is there at the next call.
    """
    waiting = _epoll_wait(epoll, events.ctypes.data, len(events) // event_bytes, 0)
    found, left, received, used = 0, 0, 0, 0
    for index in range(waiting):
        where = index * event_bytes + fd_at
        fd = np.int64(events[where : where + 4].view(np.int32)[0])
        row = table[fd]
        rest = np.int64(row.rest_bytes)
        room = rest + read_bytes
        if used + room > len(arena) or found + room // PUBLISH_BYTES_MIN >= len(messages):
            break
        if rest:
            _copy(arena.ctypes.data + used, row.rest_at, rest)
        got = _recv(np.int32(fd), arena.ctypes.data + used + rest, read_bytes, np.int32(_DONT_WAIT))
        if got <= 0:
            if got < 0:
                error = carray(_errno_at(), 1)[0]
                if error in (_AGAIN, _INTERRUPTED):
                    continue
            lefts[left].fd, lefts[left].what = fd, END
            left += 1
            continue
        received += got
        row.heard_ns = now_ns
        row.rest_bytes = 0
        at, what, stop = used, DATA, used + rest + got
        used = stop
        if row.mode == PLAIN:
            found, at, what = take_plain(table, fd, arena, at, stop, read_bytes, packet_bytes_max, messages, found)
        if at < stop:
            lefts[left].fd, lefts[left].what, lefts[left].at, lefts[left].stop = fd, what, at, stop
            left += 1
    return found, left, received


@njit(cache=True, nogil=True)
def acknowledge(table, messages, acks, unsent):
    """Send the PUBACKs of messages, those of a client together; returns how many are unsent, and the bytes sent.

    Whoever `waits` and has been sent the last one is among the unsent too. `acks` has room for all.
    """
    count, failed, total, at = len(messages), 0, 0, 0
    while at < count:
        fd, generation = np.int64(messages[at].fd), messages[at].generation
        size, stop = 0, at
        while stop < count and messages[stop].fd == fd and messages[stop].generation == generation:
            packet_id = messages[stop].packet_id
            if packet_id:
                acks[size], acks[size + 1] = _PUBACK, 2
                acks[size + 2], acks[size + 3] = packet_id >> 8, packet_id & 0xFF
                size += 4
            stop += 1
        row = table[fd]
        if row.generation == generation:
            row.outstanding -= size // 4
            sent = 0
            if size and row.is_direct:
                sent = max(0, _send(np.int32(fd), acks.ctypes.data, size, np.int32(_SEND_FLAGS)))
            total += sent
            if sent < size or (row.waits and row.outstanding == 0):
                unsent[failed].fd, unsent[failed].at, unsent[failed].stop, unsent[failed].sent = fd, at, stop, sent
                failed += 1
        at = stop
    return failed, total
