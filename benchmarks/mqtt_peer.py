"""python -m benchmarks.mqtt_peer JOB PORT ...: raw MQTT 3.1.1 clients, as processes of their own.

publish PORT CONNECTIONS IN_FLIGHT BYTES MESSAGES   seconds until every PUBACK is there
subscribe PORT FILTER MESSAGES                      "ready"; then seconds from the first to the last message, and its
                                                    own CPU seconds
respond PORT DEVICE                                 "ready"; then answers each command with a result, for ever
devices PORT COUNT                                  "ready"; then for each line `connect` the seconds until all have
                                                    connected (a session that is kept, a will) and subscribed to their
                                                    commands; for each `close` "closed", quoted
"""

from __future__ import annotations

import resource
import select
import socket
import sys
import time

from benchmarks.errors import BenchmarkError
from benchmarks.publisher import connect_packet, publish_all, publish_packet
from streams.mqtt import Connect, Subscribe, Subscription, Will, encode
from streams.mqtt.decode import read_length
from streams.names import COMMAND, FRAMES, RESULTS, STATE, topic

TIMEOUT_S = 60.0
DEVICES_AT_ONCE = 1000


class Subscriber:
    """A blocking socket that is subscribed; acknowledges what it is given, each read's in one write."""

    def __init__(self, port: int, client_id: str, topic_filter: str) -> None:
        self.sock = socket.create_connection(("127.0.0.1", port), TIMEOUT_S)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.sock.sendall(connect_packet(client_id))
        self._expect(b"\x20\x02\x00\x00")
        self.sock.sendall(encode(Subscribe(1, (Subscription(topic_filter, 1),))))
        self._expect(b"\x90\x03\x00\x01\x01")
        self._rest = b""

    def _expect(self, answer: bytes) -> None:
        data = self.sock.recv(len(answer), socket.MSG_WAITALL)
        if data != answer:
            raise BenchmarkError(f"the server answered {data.hex()} instead of {answer.hex()}")

    def receive(self) -> tuple[int, bytes]:
        """How many messages of QoS 1 came with the next read, and their acknowledgements. PUBACKs are passed over."""
        data = self._rest + self.sock.recv(1 << 18)
        at, acks = 0, []
        while (header := read_length(data, at)) is not None and header[0] + header[1] <= len(data):
            start, length = header
            if data[at] & 0xF0 == 0x30:
                after = start + 2 + (data[start] << 8 | data[start + 1])
                acks.append(b"\x40\x02" + data[after : after + 2])
            at = start + length
        self._rest = data[at:]
        return len(acks), b"".join(acks)


def publish(port: int, connections: int, in_flight: int, size: int, messages: int) -> None:
    each = messages // connections
    payload = bytes(range(256)) * (size // 256 + 1)
    queues = {}
    for number in range(connections):
        device = f"device-{number:04d}"
        packets = [publish_packet(topic(device, FRAMES), payload[:size], n % 65_535 + 1) for n in range(each)]
        queues[device] = packets
    print(publish_all(port, queues, in_flight=in_flight), flush=True)


def subscribe(port: int, topic_filter: str, messages: int) -> None:
    subscriber = Subscriber(port, "subscriber", topic_filter)
    print("ready", flush=True)
    received, started = 0, 0.0
    cpu_s = time.process_time()
    while received < messages:
        count, acks = subscriber.receive()
        started = started or time.perf_counter()
        received += count
        subscriber.sock.sendall(acks)
    print(time.perf_counter() - started, time.process_time() - cpu_s, flush=True)


def respond(port: int, device: str) -> None:
    subscriber = Subscriber(port, device, topic(device, COMMAND))
    print("ready", flush=True)
    number = 0
    while True:
        count, acks = subscriber.receive()
        for _ in range(count):
            number = number % 65_535 + 1
            acks += publish_packet(topic(device, RESULTS), bytes(64), number)
        subscriber.sock.sendall(acks)


class Devices:
    """Many devices that come at once, as after a power cut of a whole site."""

    def __init__(self, port: int, count: int) -> None:
        self._port, self._count = port, count
        self._sockets: list[socket.socket] = []

    def connect(self) -> float:
        """Seconds until every one of them is connected and subscribed."""
        poller = select.epoll()
        waiting: dict[int, tuple[socket.socket, str]] = {}
        steps: dict[int, int] = {}
        started = time.perf_counter()
        opened = done = 0
        while done < self._count:
            while opened < self._count and len(waiting) < DEVICES_AT_ONCE:
                sock = socket.socket()
                sock.setblocking(False)
                sock.connect_ex(("127.0.0.1", self._port))
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                waiting[sock.fileno()], steps[sock.fileno()] = (sock, f"device-{opened:05d}"), 0
                poller.register(sock, select.EPOLLOUT)
                self._sockets.append(sock)
                opened += 1
            for fd, _ in poller.poll(TIMEOUT_S):
                sock, device = waiting[fd]
                if steps[fd] == 0:
                    sock.send(_connect(device))
                    poller.modify(fd, select.EPOLLIN)
                elif sock.recv(100)[:1] != (b"\x20" if steps[fd] == 1 else b"\x90"):
                    raise BenchmarkError(f"{device} was refused")
                elif steps[fd] == 1:
                    sock.send(encode(Subscribe(1, (Subscription(topic(device, COMMAND), 1),))))
                else:
                    del waiting[fd]
                    poller.unregister(fd)
                    done += 1
                steps[fd] += 1
        return time.perf_counter() - started

    def close(self) -> None:
        for sock in self._sockets:
            sock.close()
        self._sockets.clear()


def _connect(device: str) -> bytes:
    will = Will(topic(device, STATE), b'{"online": false}', 1)
    return encode(Connect(device, 4, False, 60, will=will))


def devices(port: int, count: int) -> None:
    resource.setrlimit(
        resource.RLIMIT_NOFILE, (count + 100, max(count + 100, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
    )
    all_of_them = Devices(port, count)
    print("ready", flush=True)
    for line in sys.stdin:
        if line.strip() == "connect":
            print(all_of_them.connect(), flush=True)
        else:
            all_of_them.close()
            print('"closed"', flush=True)


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["publish", *numbers]:
            publish(*map(int, numbers))
        case ["subscribe", port, topic_filter, messages]:
            subscribe(int(port), topic_filter, int(messages))
        case ["devices", port, count]:
            devices(int(port), int(count))
        case ["respond", port, device]:
            respond(int(port), device)
        case _:
            sys.exit(__doc__)
