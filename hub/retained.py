"""The last message of each topic that was published with RETAIN (5.0, 3.3.1.3), within bounds, in memory."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass, field

from streams.mqtt import Publish

_OVERHEAD_BYTES = 200


@dataclass(frozen=True, slots=True)
class Kept:
    """A retained message; `expires_ns` is monotonic time."""

    message: Publish
    expires_ns: int | None

    @property
    def size(self) -> int:
        return len(self.message.topic) + len(self.message.payload) + _OVERHEAD_BYTES


@dataclass(slots=True)
class _Node:
    children: dict[str, _Node] = field(default_factory=dict)
    kept: Kept | None = None


class RetainedMessages:
    """A tree over the levels of topics. Filters that begin with + or # see neither $-topics nor the `hidden` levels."""

    def __init__(self, *, messages_max: int, bytes_max: int, hidden: Collection[str] = ()) -> None:
        self._root = _Node()
        self._messages_max = messages_max
        self._bytes_max = bytes_max
        self._hidden = frozenset(hidden)
        self._count = 0
        self.bytes = 0

    def __len__(self) -> int:
        return self._count

    def keep(self, message: Publish, expires_ns: int | None) -> bool:
        """Keep a message instead of the one before; one without payload only removes that. False: there is no room."""
        self._remove(message.topic)
        if not message.payload:
            return True
        kept = Kept(message, expires_ns)
        if self._count >= self._messages_max or self.bytes + kept.size > self._bytes_max:
            return False
        node = self._root
        for level in message.topic.split("/"):
            node = node.children.setdefault(level, _Node())
        node.kept = kept
        self._count += 1
        self.bytes += kept.size
        return True

    def find(self, topic: str) -> Kept | None:
        """The message of exactly this topic."""
        node: _Node | None = self._root
        for level in topic.split("/"):
            node = node.children.get(level) if node is not None else None
        return None if node is None else node.kept

    def matching(self, levels: list[str], now_ns: int) -> list[Kept]:
        """What a new subscription to the filter of these levels is sent. What has expired is forgotten."""
        found = list(self._walk(self._root, levels, 0))
        for kept in found:
            if kept.expires_ns is not None and kept.expires_ns <= now_ns:
                self._remove(kept.message.topic)
        return [kept for kept in found if kept.expires_ns is None or kept.expires_ns > now_ns]

    def _walk(self, node: _Node, levels: list[str], depth: int) -> Iterator[Kept]:
        if depth == len(levels):
            if node.kept is not None:
                yield node.kept
            return
        level = levels[depth]
        if level == "#":
            yield from self._below(node, depth)
        elif level == "+":
            for name, child in node.children.items():
                if self._is_seen(name, depth):
                    yield from self._walk(child, levels, depth + 1)
        elif (chosen := node.children.get(level)) is not None:
            yield from self._walk(chosen, levels, depth + 1)

    def _below(self, node: _Node, depth: int) -> Iterator[Kept]:
        if node.kept is not None:  # a/# fits a too
            yield node.kept
        for name, child in node.children.items():
            if self._is_seen(name, depth):
                yield from self._below(child, depth + 1)

    def _is_seen(self, name: str, depth: int) -> bool:
        return depth > 0 or (not name.startswith("$") and name not in self._hidden)

    def _remove(self, topic: str) -> None:
        levels = topic.split("/")
        path = [self._root]
        for level in levels:
            child = path[-1].children.get(level)
            if child is None:
                return
            path.append(child)
        if path[-1].kept is None:
            return
        self._count -= 1
        self.bytes -= path[-1].kept.size
        path[-1].kept = None
        for parent, child, level in zip(reversed(path[:-1]), reversed(path[1:]), reversed(levels)):
            if child.children or child.kept is not None:
                break
            del parent.children[level]
