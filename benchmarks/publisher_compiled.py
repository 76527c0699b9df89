# mypy: allow-untyped-defs, allow-untyped-calls, disable-error-code="call-overload, assignment"
"""The publisher's loop as machine code, so that it takes as little as can be of the cores that the servers need."""

from __future__ import annotations

import platform
import select
import socket

import numpy as np
from numba import njit, types

EVENT_BYTES, _FD_AT = (12, 4) if platform.machine() in ("x86_64", "AMD64") else (16, 8)
_FLAGS = int(socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)
_PUBACK_BYTES = 4
CLOSED, LATE = -1, -2
"""What ends it early: a connection was closed, or nothing came for so long."""
EVENTS = int(select.EPOLLIN | select.EPOLLOUT | select.EPOLLET)

_epoll_wait = types.ExternalFunction("epoll_wait", types.int32(types.int32, types.intp, types.int32, types.int32))
_recv = types.ExternalFunction("recv", types.intp(types.int32, types.intp, types.intp, types.int32))
_send = types.ExternalFunction("send", types.intp(types.int32, types.intp, types.intp, types.int32))


@njit(cache=True)
def publish_prepared(epoll, events, timeout_ms, slots, data, first, last, ends, in_flight, sent, acknowledged, buffer):
    """Send every packet, at most `in_flight` ahead of the PUBACKs of its connection; returns how many connections are
    not done, or why it ended.

    Connection `slots[fd]` has the packets first..last (exclusive), which end at `ends` of `data`, one behind the other.
    `sent` counts its bytes, from where its first packet begins; `acknowledged` the bytes of its PUBACKs.
    """
    open_ones = len(first)
    while open_ones:
        waiting = _epoll_wait(epoll, events.ctypes.data, len(events) // EVENT_BYTES, timeout_ms)
        if waiting == 0:
            return LATE
        for index in range(waiting):
            where = index * EVENT_BYTES + _FD_AT
            fd = events[where : where + 4].view(np.int32)[0]
            slot = slots[fd]
            got = _recv(fd, buffer.ctypes.data, len(buffer), _FLAGS)
            if got == 0:
                return CLOSED
            if got > 0:
                acknowledged[slot] += got
                if acknowledged[slot] // _PUBACK_BYTES == last[slot] - first[slot]:
                    open_ones -= 1
            until = min(last[slot], first[slot] + acknowledged[slot] // _PUBACK_BYTES + in_flight)
            if until > first[slot]:
                stop = ends[until - 1]
                while sent[slot] < stop:
                    got = _send(fd, data.ctypes.data + sent[slot], stop - sent[slot], _FLAGS)
                    if got <= 0:
                        break
                    sent[slot] += got
    return open_ones
