"""The last message of each topic that was published with RETAIN (5.0, 3.3.1.3), within bounds."""

from __future__ import annotations

from collections.abc import Iterator

from hub.subscriptions import check_filter, fits
from streams.mqtt import Property, Publish


class RetainedMessages:
    """Topic to message. `full` counts what was not kept for want of room."""

    def __init__(self, *, messages_max: int, bytes_max: int) -> None:
        self._messages: dict[str, tuple[Publish, int | None]] = {}
        self._messages_max = messages_max
        self._bytes_max = bytes_max
        self._bytes = 0
        self.full = 0

    def __len__(self) -> int:
        return len(self._messages)

    def keep(self, message: Publish, now_ns: int) -> None:
        """Keep a message; one without payload removes what was kept."""
        before = self._messages.pop(message.topic, None)
        if before is not None:
            self._bytes -= _size(before[0])
        if not message.payload:
            return
        if len(self._messages) >= self._messages_max or self._bytes + _size(message) > self._bytes_max:
            self.full += 1
            return
        expiry_s = message.properties.get(Property.MESSAGE_EXPIRY_INTERVAL)
        expires_ns = now_ns + expiry_s * 1_000_000_000 if isinstance(expiry_s, int) else None
        self._messages[message.topic] = (message, expires_ns)
        self._bytes += _size(message)

    def matching(self, topic_filter: str, now_ns: int) -> Iterator[Publish]:
        """What a new subscription is sent; none for shared ones."""
        share, levels = check_filter(topic_filter)
        if share is not None:
            return
        exact = "+" not in levels and "#" not in levels
        topics = [topic_filter] if exact else list(self._messages)
        for topic in topics:
            kept = self._messages.get(topic)
            if kept is None or not (exact or fits(levels, topic)):
                continue
            message, expires_ns = kept
            if expires_ns is not None and expires_ns <= now_ns:
                self._bytes -= _size(message)
                del self._messages[topic]
                continue
            yield message


def _size(message: Publish) -> int:
    return len(message.topic) + len(message.payload) + 100
