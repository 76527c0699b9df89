"""Who wants which topic: a tree over the levels of topic filters (5.0, 4.7), with shared subscriptions (4.8.2)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from streams.mqtt import MalformedPacket, Subscription

TOPIC_LEVELS_MAX = 128


@dataclass(frozen=True, slots=True)
class Held:
    """A subscription as the tree keeps it."""

    options: Subscription
    identifier: int | None = None


@dataclass(slots=True)
class _Node:
    children: dict[str, _Node] = field(default_factory=dict)
    direct: dict[str, Held] = field(default_factory=dict)
    shared: dict[str, dict[str, Held]] = field(default_factory=dict)

    def is_empty(self) -> bool:
        return not self.children and not self.direct and not self.shared


@dataclass(frozen=True, slots=True)
class Match:
    """A client that gets a message: the strongest of its subscriptions that fit, and the identifiers of all."""

    qos: int
    retain_as_published: bool
    no_local: bool
    identifiers: tuple[int, ...] = ()


def check_filter(topic_filter: str) -> tuple[str | None, list[str]]:
    """Share name (None for an ordinary one) and levels. MalformedPacket when it is no topic filter."""
    share, rest = None, topic_filter
    if topic_filter.startswith("$share/"):
        parts = topic_filter.split("/", 2)
        if len(parts) < 3 or not parts[1] or "+" in parts[1] or "#" in parts[1]:
            raise MalformedPacket(f"{topic_filter[:80]!r} is not $share/NAME/FILTER", reason=0x8F)
        share, rest = parts[1], parts[2]
    levels = rest.split("/")
    if not rest or len(levels) > TOPIC_LEVELS_MAX:
        raise MalformedPacket(
            f"{topic_filter[:80]!r} is not a topic filter: 1 to {TOPIC_LEVELS_MAX} levels", reason=0x8F
        )
    for place, level in enumerate(levels):
        wild = "+" in level or "#" in level
        if wild and (len(level) > 1 or (level == "#" and place < len(levels) - 1)):
            raise MalformedPacket(f"{topic_filter[:80]!r} has a + or # in a wrong place", reason=0x8F)
    return share, levels


class SubscriptionTree:
    """Filters of all clients."""

    def __init__(self) -> None:
        self._root = _Node()
        self._turns: dict[tuple[str, tuple[str, ...]], int] = {}

    def add(self, client_id: str, held: Held) -> bool:
        """Add or replace; returns whether the client did not have this filter before."""
        share, levels = check_filter(held.options.topic_filter)
        node = self._root
        for level in levels:
            node = node.children.setdefault(level, _Node())
        holders = node.direct if share is None else node.shared.setdefault(share, {})
        new = client_id not in holders
        holders[client_id] = held
        return new

    def remove(self, client_id: str, topic_filter: str) -> bool:
        """Returns whether it was there. Leaves no empty branches behind."""
        share, levels = check_filter(topic_filter)
        path = [self._root]
        for level in levels:
            child = path[-1].children.get(level)
            if child is None:
                return False
            path.append(child)
        node = path[-1]
        holders = node.direct if share is None else node.shared.get(share, {})
        if holders.pop(client_id, None) is None:
            return False
        if share is not None and not holders:
            del node.shared[share]
        for parent, child, level in zip(reversed(path[:-1]), reversed(path[1:]), reversed(levels)):
            if not child.is_empty():
                break
            del parent.children[level]
        return True

    def match(self, topic: str) -> dict[str, Match]:
        """Every client that gets a message on `topic`; of each shared group one, in turn."""
        found: dict[str, Match] = {}
        for node in self._nodes(topic):
            for client_id, held in node.direct.items():
                _merge(found, client_id, held)
            for share, holders in node.shared.items():
                turn = self._turns[share, tuple(holders)] = self._turns.get((share, tuple(holders)), -1) + 1
                client_id = list(holders)[turn % len(holders)]
                _merge(found, client_id, holders[client_id])
        if len(self._turns) > 10_000:
            self._turns.clear()
        return found

    def wants(self, client_id: str, topic: str) -> bool:
        """Whether this client has a subscription of its own that fits."""
        return any(client_id in node.direct for node in self._nodes(topic))

    def _nodes(self, topic: str) -> Iterator[_Node]:
        levels = topic.split("/")
        wild = not topic.startswith("$")  # a filter that begins with + or # does not see $-topics
        nodes = [self._root]
        for place, level in enumerate(levels):
            following = []
            for node in nodes:
                if not node.children:
                    continue
                allowed = wild or place > 0
                if allowed and (rest := node.children.get("#")) is not None:
                    yield rest
                if (child := node.children.get(level)) is not None:
                    following.append(child)
                if allowed and (child := node.children.get("+")) is not None:
                    following.append(child)
            nodes = following
            if not nodes:
                return
        for node in nodes:
            yield node
            if (rest := node.children.get("#")) is not None:  # a/# fits a too
                yield rest


def _merge(found: dict[str, Match], client_id: str, held: Held) -> None:
    options = held.options
    before = found.get(client_id)
    identifiers = (held.identifier,) if held.identifier is not None else ()
    if before is None:
        found[client_id] = Match(options.qos, options.retain_as_published, options.no_local, identifiers)
        return
    found[client_id] = Match(
        max(before.qos, options.qos),
        before.retain_as_published or options.retain_as_published,
        before.no_local and options.no_local,
        (*before.identifiers, *identifiers),
    )


def fits(levels: list[str], topic: str) -> bool:
    """Whether the filter of these levels fits `topic`."""
    parts = topic.split("/")
    if topic.startswith("$") and levels[0] in ("+", "#"):
        return False
    for place, level in enumerate(levels):
        if level == "#":
            return True
        if place >= len(parts) or level not in ("+", parts[place]):
            return False
    return len(parts) == len(levels)
