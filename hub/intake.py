"""The seam between the MQTT gateway and the pipeline behind it.

The gateway speaks MQTT and knows nothing of readings; the intake takes what devices publish and says when it is safe.
All methods are called in the hub's event loop and must not block.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol


class Message(NamedTuple):
    """One PUBLISH: where to, what, how."""

    topic: str
    payload: bytes
    qos: int = 0
    retain: bool = False
    content_type: str | None = None
    mark: bytes | None = None
    """What a message of QoS 2 is known by until its sender releases it: it travels with its record (see marks.py)."""


@dataclass(frozen=True, slots=True)
class Client:
    """Who is connected, as the gateway knows it after CONNECT."""

    client_id: str
    username: str | None
    address: str
    protocol_version: int
    certificate: str | None = None
    """The common name of the certificate that it showed."""


OnTaken = Callable[[Exception | None], None]


class Intake(Protocol):
    """Takes the publishes that belong to the pipeline."""

    def wants(self, topic: str) -> bool:
        """Whether messages on this topic go into the pipeline (then they are not routed to subscribers)."""
        ...

    def take(self, client: Client, messages: Sequence[Message], on_taken: OnTaken) -> None:
        """Take messages in order. `on_taken(None)` is called once, in the loop, when all of them are on disk: only then
        the gateway acknowledges. `on_taken(error)`: nothing may be acknowledged; the gateway closes the connection.
        Called at most once per read of a socket; messages of one client are taken in the order they came."""
        ...

    def connected(self, client: Client) -> None:
        """A client's CONNECT was accepted."""
        ...

    def disconnected(self, client: Client, reason: str) -> None:
        """A connection ended, for whatever reason; a take-over ends the older one first."""
        ...


class Authority(Protocol):
    """Decides who may connect and what they may touch."""

    def admit(self, client: Client, password: bytes | None) -> bool:
        """Whether this client may connect."""
        ...

    def may_publish(self, client: Client, topic: str) -> bool: ...

    def may_subscribe(self, client: Client, topic_filter: str) -> bool: ...
