"""A raw MQTT 3.1.1 publisher: prebuilt packets over many connections, a bounded number in flight on each.

Less work a message than any client library, so that what is measured is the other end.
"""

from __future__ import annotations

import select
import socket
import struct
import time
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from benchmarks.errors import BenchmarkError
from benchmarks.publisher_compiled import CLOSED, EVENT_BYTES, EVENTS, LATE, publish_prepared

TIMEOUT_S = 60.0


def publish_packet(topic: str, payload: bytes, packet_id: int) -> bytes:
    """A PUBLISH of QoS 1."""
    name = topic.encode()
    body = struct.pack(">H", len(name)) + name + struct.pack(">H", packet_id) + payload
    return b"\x32" + _length(len(body)) + body


def connect_packet(client_id: str) -> bytes:
    name = client_id.encode()
    body = b"\x00\x04MQTT\x04\x02\x00\x00" + struct.pack(">H", len(name)) + name
    return b"\x10" + _length(len(body)) + body


def publish_all(port: int, queues: dict[str, Sequence[bytes]], *, in_flight: int) -> float:
    """Publish every queue (client id to packets) and wait for every PUBACK; returns the seconds from first to last."""
    counts = np.array([len(packets) for packets in queues.values()])
    last = np.cumsum(counts)
    first = last - counts
    every = [packet for packets in queues.values() for packet in packets]
    ends = np.cumsum([len(packet) for packet in every])
    data = np.frombuffer(bytearray(b"".join(every)), np.uint8)
    sent = np.array([ends[start - 1] if start else 0 for start in first])
    sockets = [connect(port, client_id) for client_id in queues]
    slots = np.zeros(max(sock.fileno() for sock in sockets) + 1, np.int64)
    poller = select.epoll()
    acknowledged, buffer = np.zeros_like(sent), np.zeros(65536, np.uint8)
    events = np.zeros(EVENT_BYTES * len(sockets), np.uint8)

    def publish(first: NDArray[np.int64], timeout_s: float) -> int:
        timeout_ms = round(timeout_s * 1000)
        return publish_prepared(
            poller.fileno(), events, timeout_ms, slots, data, first, last, ends, in_flight, sent, acknowledged, buffer
        )

    publish(first[:0], 0)  # compiled before the clock runs
    started = time.perf_counter()
    for slot, sock in enumerate(sockets):
        slots[sock.fileno()] = slot
        poller.register(sock, EVENTS)
    left = publish(first, TIMEOUT_S)
    elapsed = time.perf_counter() - started
    if left == CLOSED:
        raise BenchmarkError("the server closed a connection")
    if left == LATE:
        raise BenchmarkError(f"no PUBACK came for {TIMEOUT_S:.0f} s")
    for sock in sockets:
        sock.close()
    return elapsed


def connect(port: int, client_id: str) -> socket.socket:
    """A socket that does not block, on which the CONNECT was accepted."""
    sock = socket.create_connection(("127.0.0.1", port), 10)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.sendall(connect_packet(client_id))
    answer = sock.recv(4, socket.MSG_WAITALL)
    if answer[:1] != b"\x20" or answer[3:4] != b"\x00":
        raise BenchmarkError(f"the server on port {port} refused the connection of {client_id}: {answer.hex()}")
    sock.setblocking(False)
    return sock


def _length(size: int) -> bytes:
    out = bytearray()
    while True:
        out.append(size & 127 | (128 if size > 127 else 0))
        size >>= 7
        if not size:
            return bytes(out)
