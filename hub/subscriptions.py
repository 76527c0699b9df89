"""Who wants which topic: a tree over the levels of topic filters (5.0, 4.7), with shared subscriptions (4.8.2)."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field

from streams.mqtt import MalformedPacket, Reason, Subscription

TOPIC_LEVELS_MAX = 128


@dataclass(frozen=True, slots=True)
class Held:
    """A subscription as the tree keeps it."""

    options: Subscription
    identifier: int | None = None


@dataclass(frozen=True, slots=True)
class Match:
    """A client that gets a message: the strongest of its subscriptions that fit, and the identifiers of all."""

    qos: int
    retain_as_published: bool
    no_local: bool
    identifiers: tuple[int, ...] = ()
    share: str | None = None
    """The shared subscription, when it is the only one that fits."""


@dataclass(slots=True)
class _Group:
    """The holders of a shared subscription, who take turns."""

    holders: dict[str, Held] = field(default_factory=dict)
    turn: int = 0

    def next(self, is_connected: Callable[[str], bool]) -> str:
        """Whose turn it is: the next one who is there; when nobody is, the next one."""
        order = list(self.holders)
        first = self.turn % len(order)
        for step in range(len(order)):
            place = (first + step) % len(order)
            if is_connected(order[place]):
                break
        else:
            place = first
        self.turn = place + 1
        return order[place]


@dataclass(slots=True)
class _Node:
    children: dict[str, _Node] = field(default_factory=dict)
    direct: dict[str, Held] = field(default_factory=dict)
    shared: dict[str, _Group] = field(default_factory=dict)

    def is_empty(self) -> bool:
        return not self.children and not self.direct and not self.shared


def parse_filter(topic_filter: str) -> tuple[str | None, list[str]]:
    """Share name (None for an ordinary one) and levels. MalformedPacket when it is no topic filter."""
    share, rest = None, topic_filter
    if topic_filter.startswith("$share/"):
        _, share, rest = (*topic_filter.split("/", 2), "")[:3]
        if not share or "+" in share or "#" in share:
            raise _not_a_filter(topic_filter, "a shared one is $share/NAME/FILTER")
    levels = rest.split("/")
    if not rest or len(levels) > TOPIC_LEVELS_MAX:
        raise _not_a_filter(topic_filter, f"it needs 1 to {TOPIC_LEVELS_MAX} levels")
    for place, level in enumerate(levels):
        wild = "+" in level or "#" in level
        if wild and (len(level) > 1 or (level == "#" and place < len(levels) - 1)):
            raise _not_a_filter(topic_filter, "+ stands for one whole level, # for all levels at the end")
    return share, levels


def _not_a_filter(topic_filter: str, why: str) -> MalformedPacket:
    return MalformedPacket(f"{topic_filter[:80]!r} is not a topic filter: {why}", reason=Reason.TOPIC_FILTER_INVALID)


class SubscriptionTree:
    """The filters of all clients. A + or # at the beginning sees neither $-topics nor the `hidden` first levels."""

    def __init__(self, hidden: Collection[str] = ()) -> None:
        self._root = _Node()
        self._hidden = frozenset(hidden)
        self.count = 0
        """Subscriptions of all clients."""

    def add(self, client_id: str, held: Held) -> bool:
        """Add or replace; returns whether the client did not have this filter before."""
        share, levels = parse_filter(held.options.topic_filter)
        node = self._root
        for level in levels:
            node = node.children.setdefault(level, _Node())
        holders = node.direct if share is None else node.shared.setdefault(share, _Group()).holders
        new = client_id not in holders
        holders[client_id] = held
        self.count += new
        return new

    def remove(self, client_id: str, topic_filter: str) -> bool:
        """Returns whether it was there. Leaves no empty branches behind."""
        share, levels = parse_filter(topic_filter)
        path = [self._root]
        for level in levels:
            child = path[-1].children.get(level)
            if child is None:
                return False
            path.append(child)
        if not _remove_holder(path[-1], client_id, share):
            return False
        self.count -= 1
        for parent, child, level in zip(reversed(path[:-1]), reversed(path[1:]), reversed(levels)):
            if not child.is_empty():
                break
            del parent.children[level]
        return True

    def match(self, topic: str, is_connected: Callable[[str], bool]) -> dict[str, Match]:
        """Every client that gets a message on `topic`; of each shared group one, in turn."""
        found: dict[str, Match] = {}
        for node in self._nodes(topic):
            for client_id, held in node.direct.items():
                _merge(found, client_id, held)
            for group in node.shared.values():
                client_id = group.next(is_connected)
                _merge(found, client_id, group.holders[client_id])
        return found

    def match_share(self, shared_filter: str, is_connected: Callable[[str], bool]) -> tuple[str, Held] | None:
        """Whose turn it is in one shared subscription; None when nobody holds it any more."""
        share, levels = parse_filter(shared_filter)
        node: _Node | None = self._root
        for level in levels:
            node = node.children.get(level) if node is not None else None
        group = node.shared.get(share) if node is not None and share is not None else None
        if group is None:
            return None
        client_id = group.next(is_connected)
        return client_id, group.holders[client_id]

    def qos_of(self, client_id: str, topic: str) -> int | None:
        """The highest QoS of this client's own subscriptions that fit, None when none does."""
        return max((node.direct[client_id].options.qos for node in self._nodes(topic) if client_id in node.direct),
                   default=None)  # fmt: skip

    def is_empty(self) -> bool:
        return self._root.is_empty()

    def _nodes(self, topic: str) -> Iterator[_Node]:
        levels = topic.split("/")
        wild = not topic.startswith("$") and levels[0] not in self._hidden
        nodes = [self._root]
        for level in levels:
            following = []
            for node in nodes:
                if wild and (rest := node.children.get("#")) is not None:
                    yield rest
                if wild and (child := node.children.get("+")) is not None:
                    following.append(child)
                if (child := node.children.get(level)) is not None:
                    following.append(child)
            if not following:
                return
            nodes, wild = following, True
        for node in nodes:
            yield node
            if (rest := node.children.get("#")) is not None:  # a/# fits a too
                yield rest


def _remove_holder(node: _Node, client_id: str, share: str | None) -> bool:
    if share is None:
        return node.direct.pop(client_id, None) is not None
    group = node.shared.get(share)
    if group is None or group.holders.pop(client_id, None) is None:
        return False
    if not group.holders:
        del node.shared[share]
    return True


def _merge(found: dict[str, Match], client_id: str, held: Held) -> None:
    options = held.options
    before = found.get(client_id)
    identifiers = (held.identifier,) if held.identifier is not None else ()
    if before is None:
        share = options.topic_filter if options.topic_filter.startswith("$share/") else None
        found[client_id] = Match(options.qos, options.retain_as_published, options.no_local, identifiers, share)
        return
    found[client_id] = Match(
        max(before.qos, options.qos),
        before.retain_as_published or options.retain_as_published,
        before.no_local and options.no_local,
        (*before.identifiers, *identifiers),
    )
