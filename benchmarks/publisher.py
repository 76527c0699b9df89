"""A raw MQTT 3.1.1 publisher: prebuilt packets over many connections, a bounded number in flight on each.

Less work a message than any client library, so that what is measured is the other end.
"""

from __future__ import annotations

import select
import socket
import struct
import time
from collections.abc import Sequence

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


class _Connection:
    """What is sent and acknowledged on one connection. Bare, so that the publisher is not what is measured."""

    __slots__ = ("acknowledged_bytes", "packets", "recv", "send", "sent", "sock", "unsent")

    def __init__(self, sock: socket.socket, packets: Sequence[bytes]) -> None:
        self.sock, self.send, self.recv = sock, sock.send, sock.recv
        self.packets = packets
        self.sent = self.acknowledged_bytes = 0
        self.unsent = b""


def publish_all(port: int, queues: dict[str, Sequence[bytes]], *, in_flight: int) -> float:
    """Publish every queue (client id to packets) and wait for every PUBACK; returns the seconds from first to last."""
    poller = select.epoll()
    connections = {}
    for client_id, packets in queues.items():
        sock = connect(port, client_id)
        connections[sock.fileno()] = _Connection(sock, packets)
        poller.register(sock, select.EPOLLIN)
    started = time.perf_counter()
    for fd, each in connections.items():
        _pump(poller, fd, each, in_flight)
    open_ones = len(connections)
    while open_ones:
        events = poller.poll(1.0)
        if time.perf_counter() - started > TIMEOUT_S:
            raise BenchmarkError(f"no PUBACK for {open_ones} connections within {TIMEOUT_S:.0f} s")
        for fd, event in events:
            each = connections[fd]
            if event & select.EPOLLIN:
                data = each.recv(65536)
                if not data:
                    raise BenchmarkError("the server closed a connection")
                each.acknowledged_bytes += len(data)
                if each.acknowledged_bytes >> 2 == len(each.packets):  # a PUBACK is four bytes
                    open_ones -= 1
                    poller.unregister(fd)
                    continue
            elif not event & select.EPOLLOUT:
                raise BenchmarkError("the server closed a connection")
            _pump(poller, fd, each, in_flight)
    elapsed = time.perf_counter() - started
    for each in connections.values():
        each.sock.close()
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


def _pump(poller: select.epoll, fd: int, each: _Connection, in_flight: int) -> None:
    """Send until the window or the socket is full."""
    was_blocked = bool(each.unsent)
    while True:
        data = each.unsent
        if not data:
            sent, until = each.sent, min(len(each.packets), (each.acknowledged_bytes >> 2) + in_flight)
            if sent >= until:
                break
            data = each.packets[sent] if until - sent == 1 else b"".join(each.packets[sent:until])
            each.sent = until
        try:
            size = each.send(data)
        except BlockingIOError:
            size = 0
        each.unsent = data[size:] if size < len(data) else b""
        if each.unsent:
            break
    if bool(each.unsent) != was_blocked:
        poller.modify(fd, select.EPOLLIN | (select.EPOLLOUT if each.unsent else 0))


def _length(size: int) -> bytes:
    out = bytearray()
    while True:
        out.append(size & 127 | (128 if size > 127 else 0))
        size >>= 7
        if not size:
            return bytes(out)
