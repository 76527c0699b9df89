"""A raw MQTT 3.1.1 publisher: prebuilt packets over many connections, a bounded number in flight on each.

Less work a message than any client library, so that what is measured is the other end.
"""

from __future__ import annotations

import selectors
import socket
import struct
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from benchmarks.errors import BenchmarkError

TIMEOUT_S = 120.0


def publish_packet(topic: str, payload: bytes, packet_id: int) -> bytes:
    """A PUBLISH of QoS 1."""
    name = topic.encode()
    body = struct.pack(">H", len(name)) + name + struct.pack(">H", packet_id) + payload
    return b"\x32" + _length(len(body)) + body


def connect_packet(client_id: str) -> bytes:
    name = client_id.encode()
    body = b"\x00\x04MQTT\x04\x02\x00\x00" + struct.pack(">H", len(name)) + name
    return b"\x10" + _length(len(body)) + body


@dataclass(slots=True, eq=False)
class _Connection:
    sock: socket.socket
    packets: Sequence[bytes]
    sent: int = 0
    acknowledged: int = 0
    partial: int = 0
    unsent: memoryview = field(default_factory=lambda: memoryview(b""))


def publish_all(port: int, queues: dict[str, Sequence[bytes]], *, in_flight: int) -> float:
    """Publish every queue (client id to packets) and wait for every PUBACK; returns the seconds from first to last."""
    selector = selectors.DefaultSelector()
    connections = [_connect(port, client_id, packets) for client_id, packets in queues.items()]
    started = time.perf_counter()
    for each in connections:
        selector.register(each.sock, selectors.EVENT_READ, each)
        _pump(selector, each, in_flight)
    open_ones = sum(each.acknowledged < len(each.packets) for each in connections)
    while open_ones:
        if time.perf_counter() - started > TIMEOUT_S:
            raise BenchmarkError(f"no PUBACK for {open_ones} connections within {TIMEOUT_S:.0f} s")
        for key, events in selector.select(1.0):
            each = key.data
            if events & selectors.EVENT_READ:
                data = each.sock.recv(65536)
                if not data:
                    raise BenchmarkError("the server closed a connection")
                each.partial += len(data)
                each.acknowledged = each.partial // 4  # a PUBACK is four bytes
                if each.acknowledged >= len(each.packets):
                    open_ones -= 1
                    selector.unregister(each.sock)
                    continue
            _pump(selector, each, in_flight)
    elapsed = time.perf_counter() - started
    for each in connections:
        each.sock.close()
    return elapsed


def _connect(port: int, client_id: str, packets: Sequence[bytes]) -> _Connection:
    sock = socket.create_connection(("127.0.0.1", port), 10)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.sendall(connect_packet(client_id))
    answer = sock.recv(4, socket.MSG_WAITALL)
    if answer[:1] != b"\x20" or answer[3:4] != b"\x00":
        raise BenchmarkError(f"the server on port {port} refused the connection of {client_id}: {answer.hex()}")
    sock.setblocking(False)
    return _Connection(sock, packets)


def _pump(selector: selectors.BaseSelector, each: _Connection, in_flight: int) -> None:
    """Send until the window or the socket is full."""
    while True:
        if not each.unsent:
            until = min(len(each.packets), each.acknowledged + in_flight)
            if each.sent >= until:
                break
            each.unsent = memoryview(b"".join(each.packets[each.sent : until]))
            each.sent = until
        try:
            each.unsent = each.unsent[each.sock.send(each.unsent) :]
        except BlockingIOError:
            break
    wanted = selectors.EVENT_READ | (selectors.EVENT_WRITE if each.unsent else 0)
    if selector.get_key(each.sock).events != wanted:
        selector.modify(each.sock, wanted, each)


def _length(size: int) -> bytes:
    out = bytearray()
    while True:
        out.append(size & 127 | (128 if size > 127 else 0))
        size >>= 7
        if not size:
            return bytes(out)
