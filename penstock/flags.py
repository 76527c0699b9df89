"""Flags made from settings: how one is spelled, what may stand behind it, what its help says. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from streams.settings import Leaf, leaves


def flag_settings(room: str, kind: type[Any]) -> Iterator[Leaf]:
    """The settings of a room that can be given as a flag: all but lists of tables."""
    return (leaf for leaf in leaves(kind, (room,)) if "tuple[" not in str(leaf.kind) or "str" in str(leaf.kind))


def flag(leaf: Leaf) -> str:
    """--mqtt-port for hub.mqtt.port."""
    return "--" + "-".join(leaf.path[1:]).replace("_", "-")


def argument(leaf: Leaf) -> str:
    """The flag as a name in Python: mqtt_port."""
    return "_".join(leaf.path[1:])


def placeholder(leaf: Leaf) -> str:
    """What stands behind the flag: N, X, TEXT, or the choices."""
    if leaf.choices:
        return "|".join(leaf.choices)
    return {"int": "N", "float": "X", "bool": "true|false"}.get(getattr(leaf.kind, "__name__", ""), "TEXT")


def help_text(leaf: Leaf) -> str:
    """The setting's sentence, and its default."""
    if leaf.secret or leaf.default in (None, "", ()):
        return leaf.doc
    shown = str(leaf.default).lower() if isinstance(leaf.default, bool) else leaf.default
    return f"{leaf.doc} (default {shown})"
