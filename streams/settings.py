"""Settings: frozen dataclasses filled from one TOML file, the environment and flags, checked once at the outer edge.

A field is declared with `setting(...)`, which carries its sentence, bounds and choices; the sample file, the flags and
docs/settings.md are made from the same declaration. Anything wrong is a `SettingsError` that names the file, the
line, the value and the remedy.
"""

from __future__ import annotations

import dataclasses
import difflib
import math
import re
import tomllib
import types
import typing
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from streams.errors import MisuseError

T = TypeVar("T")

ENVIRONMENT_PREFIX = "PENSTOCK_"


class SettingsError(MisuseError):
    """A setting that cannot be used: where it stands, what it says, what it may be."""


def setting(
    default: Any = dataclasses.MISSING,
    doc: str = "",
    *,
    minimum: float | None = None,
    maximum: float | None = None,
    choices: Sequence[str] | None = None,
    secret: bool = False,
) -> Any:
    """Declare one setting: its default, the sentence that documents it, and what values it may take."""
    metadata = {"doc": doc, "minimum": minimum, "maximum": maximum, "choices": choices, "secret": secret}
    if isinstance(default, (list, dict)) or dataclasses.is_dataclass(default):
        raise TypeError("a default must be immutable: use a tuple, or section(...)")
    return dataclasses.field(default=default, metadata=metadata, repr=not secret)


def section(kind: type[Any], doc: str = "") -> Any:
    """Declare a nested table of settings."""
    return dataclasses.field(default_factory=kind, metadata={"doc": doc})


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Leaf:
    """One setting as the documentation, the environment and the flags see it."""

    path: tuple[str, ...]
    kind: Any
    default: Any
    doc: str
    minimum: float | None
    maximum: float | None
    choices: tuple[str, ...] | None
    secret: bool

    @property
    def name(self) -> str:
        return ".".join(self.path)

    @property
    def variable(self) -> str:
        """The environment variable: PENSTOCK_HUB__MQTT__PORT for hub.mqtt.port."""
        return ENVIRONMENT_PREFIX + "__".join(part.upper() for part in self.path)


def leaves(kind: type[Any], path: tuple[str, ...] = ()) -> Iterator[Leaf]:
    """Every setting below a settings class, as declared, a table's own before those of the tables in it."""
    hints = typing.get_type_hints(kind)
    fields = dataclasses.fields(kind)
    for field in sorted(fields, key=lambda each: dataclasses.is_dataclass(hints[each.name])):
        hint = hints[field.name]
        if dataclasses.is_dataclass(hint):
            yield from leaves(typing.cast(type[Any], hint), (*path, field.name))
            continue
        choices = field.metadata.get("choices")
        yield Leaf(
            path=(*path, field.name),
            kind=hint,
            default=_default(field),
            doc=field.metadata.get("doc", ""),
            minimum=field.metadata.get("minimum"),
            maximum=field.metadata.get("maximum"),
            choices=tuple(choices) if choices else None,
            secret=bool(field.metadata.get("secret")),
        )


def _default(field: dataclasses.Field[Any]) -> Any:
    if field.default is not dataclasses.MISSING:
        return field.default
    return None if field.default_factory is dataclasses.MISSING else field.default_factory()


def read_toml(path: Path) -> tuple[dict[str, Any], Lines]:
    """Parse a settings file; returns its tables and where each key stands."""
    try:
        text = path.read_text("utf-8-sig")
    except FileNotFoundError:
        raise SettingsError(
            f"there is no settings file {path}; name another with --config, or leave --config out for the defaults"
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"cannot read the settings file {path}: {error}") from None
    try:
        return tomllib.loads(text), Lines(path, text)
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(f"{path} is not valid TOML: {error}; mend that line") from None


class Lines:
    """Where keys stand in a settings file (tomllib does not say)."""

    _header = re.compile(r"^\s*\[\[?\s*([^\]]+?)\s*\]\]?\s*(?:#.*)?$")
    _key = re.compile(r"^\s*([A-Za-z0-9_.\-\"' ]+?)\s*=")

    def __init__(self, path: Path, text: str) -> None:
        self.path = path
        self._lines: dict[tuple[str, ...], int] = {}
        table: tuple[str, ...] = ()
        counts: dict[tuple[str, ...], int] = {}
        for number, line in enumerate(text.splitlines(), 1):
            if header := self._header.match(line):
                table = self._parts(header.group(1))
                if line.lstrip().startswith("[["):
                    index = counts.get(table, 0)
                    counts[table] = index + 1
                    table = (*table, str(index))
                for depth in range(1, len(table) + 1):
                    self._lines.setdefault(table[:depth], number)
            elif key := self._key.match(line):
                parts = self._parts(key.group(1))
                for depth in range(1, len(parts) + 1):
                    self._lines.setdefault((*table, *parts[:depth]), number)

    @staticmethod
    def _parts(dotted: str) -> tuple[str, ...]:
        return tuple(part.strip().strip("\"'") for part in dotted.split("."))

    def where(self, path: Sequence[str]) -> str:
        """`FILE line N`, as near to `path` as the file has it."""
        for depth in range(len(path), 0, -1):
            if (line := self._lines.get(tuple(path[:depth]))) is not None:
                return f"{self.path} line {line}"
        return str(self.path)


class _Origin:
    """Where each value came from, for messages."""

    def __init__(self, lines: Lines | None) -> None:
        self._lines = lines
        self.named: dict[tuple[str, ...], str] = {}

    def where(self, path: tuple[str, ...]) -> str:
        for depth in range(len(path), 0, -1):
            if (name := self.named.get(path[:depth])) is not None:
                return name
        return self._lines.where(path) if self._lines else "settings"


def load(
    kind: type[T],
    *,
    file: Path | None = None,
    environment: Mapping[str, str] | None = None,
    flags: Mapping[str, str] | None = None,
) -> T:
    """Build the settings of a process: defaults, then the file, then the environment, then flags (last wins).

    `kind` is a frozen dataclass whose fields are sections; `flags` maps dotted names to text. Raises SettingsError.
    """
    tables: dict[str, Any] = {}
    lines: Lines | None = None
    if file is not None:
        tables, lines = read_toml(file)
    origin = _Origin(lines)
    known = {leaf.path: leaf for leaf in leaves(kind)}
    squeezed = {leaf.variable.replace("_", ""): leaf.variable for leaf in known.values()}
    for name, text in sorted((environment or {}).items()):
        if not name.startswith(ENVIRONMENT_PREFIX):
            continue
        if "__" not in name:
            if meant := squeezed.get(name.replace("_", "")):
                raise SettingsError(f"environment variable {name}: there is no such setting; did you mean {meant}?")
            continue
        path = tuple(part.lower() for part in name.removeprefix(ENVIRONMENT_PREFIX).split("__"))
        _overlay(tables, path, text, known, origin, f"environment variable {name}")
    for name, text in (flags or {}).items():
        _overlay(tables, tuple(name.split(".")), text, known, origin, f"flag for {name}")
    return build(kind, tables, origin=origin)


def _overlay(
    tables: dict[str, Any],
    path: tuple[str, ...],
    text: str,
    known: Mapping[tuple[str, ...], Leaf],
    origin: _Origin,
    source: str,
) -> None:
    leaf = known.get(path)
    if leaf is None:
        name = ".".join(path)
        names = [each.name for each in known.values()]
        below = [each for each in names if each.startswith(name + ".")]
        raise SettingsError(f"{source}: there is no setting {name}{_nearest(name, below or names)}")
    at = tables
    for part in path[:-1]:
        at = at.setdefault(part, {})
        if not isinstance(at, dict):
            raise SettingsError(f"{origin.where(path)}: {part} must be a table")
    at[path[-1]] = _from_text(leaf.kind, text, f"{source}: {leaf.name}")
    origin.named[path] = source


def build(kind: type[T], tables: Mapping[str, Any], *, origin: Any = None, path: tuple[str, ...] = ()) -> T:
    """Build one settings dataclass from a mapping, checking every key and value. Raises SettingsError."""
    origin = origin or _Origin(None)
    hints = typing.get_type_hints(kind)
    fields = {field.name: field for field in dataclasses.fields(typing.cast(Any, kind))}
    for key in tables:
        if key not in fields:
            here = (*path, key)
            raise SettingsError(
                f"{origin.where(here)}: there is no setting {'.'.join(here)}{_nearest(key, list(fields))}"
            )
    values: dict[str, Any] = {}
    for name, field in fields.items():
        here = (*path, name)
        hint = hints[name]
        if name not in tables:
            if field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING:
                raise SettingsError(f"{origin.where(path)}: {'.'.join(here)} is missing; {field.metadata.get('doc')}")
            continue
        value = tables[name]
        if dataclasses.is_dataclass(hint):
            if not isinstance(value, Mapping):
                raise SettingsError(f"{origin.where(here)}: {'.'.join(here)} must be a table, not {value!r}")
            values[name] = build(typing.cast(type[Any], hint), value, origin=origin, path=here)
        else:
            values[name] = _checked(hint, value, field.metadata, origin.where(here), here, origin)
    try:
        return kind(**values)
    except ValueError as error:  # what the settings class itself finds out, in __post_init__
        raise SettingsError(f"{origin.where(path)}: {error}") from None


def _checked(hint: Any, value: Any, metadata: Mapping[str, Any], where: str, path: tuple[str, ...], origin: Any) -> Any:
    name = ".".join(path)
    shown = "(secret)" if metadata.get("secret") else repr(value)
    item = _tuple_item(hint)
    if item is not None:
        if not isinstance(value, (list, tuple)):
            raise SettingsError(f"{where}: {name} must be a list, not {shown}")
        if dataclasses.is_dataclass(item):
            for index, each in enumerate(value):
                if not isinstance(each, Mapping):
                    raise SettingsError(f"{where}: entry {index + 1} of {name} must be a table, not {each!r}")
            return tuple(
                build(typing.cast(type[Any], item), each, origin=origin, path=(*path, str(index)))
                for index, each in enumerate(value)
            )
        return tuple(_checked(item, each, metadata, where, path, origin) for each in value)
    if typing.get_origin(hint) in (dict, Mapping) or hint in (dict, Mapping):
        if not isinstance(value, Mapping):
            raise SettingsError(f"{where}: {name} must be a table, not {shown}")
        return dict(value)
    optional, plain = _optional(hint)
    if optional and value is None:
        return None
    if plain is Path and isinstance(value, str):
        value = Path(value)
    if plain is float and isinstance(value, int) and not isinstance(value, bool):
        value = float(value)
    if not isinstance(value, plain) or (plain is not bool and isinstance(value, bool)):
        raise SettingsError(f"{where}: {name} must be {_kind_name(plain)}, not {shown}")
    if plain is float and not math.isfinite(value):
        raise SettingsError(f"{where}: {name} must be a finite number, not {shown}")
    low, high, choices = metadata.get("minimum"), metadata.get("maximum"), metadata.get("choices")
    if (low is not None and value < low) or (high is not None and value > high):
        bounds = (
            f"from {low} to {high}"
            if low is not None and high is not None
            else (f"at least {low}" if low is not None else f"at most {high}")
        )
        raise SettingsError(f"{where}: {name} must be {bounds}, not {shown}")
    if choices and value not in choices:
        raise SettingsError(f"{where}: {name} must be one of {', '.join(choices)}, not {shown}")
    return value


def _from_text(hint: Any, text: str, where: str) -> Any:
    """A value from the environment or a flag, where everything is text."""
    item = _tuple_item(hint)
    if item is not None:
        if dataclasses.is_dataclass(item):
            raise SettingsError(f"{where} is a list of tables: set it in the settings file")
        return [_from_text(item, each.strip(), where) for each in text.split(",") if each.strip()]
    _, plain = _optional(hint)
    if plain is bool:
        words = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}
        if text.lower() not in words:
            raise SettingsError(f"{where} must be true or false, not {text!r}")
        return words[text.lower()]
    try:
        if plain is int:
            return int(text)
        if plain is float:
            return float(text)
    except ValueError:
        raise SettingsError(f"{where} must be {_kind_name(plain)}, not {text!r}") from None
    return text


def _tuple_item(hint: Any) -> Any:
    if typing.get_origin(hint) is tuple:
        return typing.get_args(hint)[0]
    return None


def _optional(hint: Any) -> tuple[bool, Any]:
    if isinstance(hint, types.UnionType) or typing.get_origin(hint) is typing.Union:
        rest = [each for each in typing.get_args(hint) if each is not type(None)]
        return True, rest[0]
    return False, typing.get_origin(hint) or hint


def _kind_name(kind: Any) -> str:
    names = {
        int: "a whole number",
        float: "a number",
        str: "text in quotes",
        bool: "true or false",
        Path: "a path",
    }
    return names.get(kind, getattr(kind, "__name__", str(kind)))


def _nearest(name: str, known: Sequence[str]) -> str:
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.6)
    if close:
        return f"; did you mean {close[0]}?"
    return f"; known here: {', '.join(sorted(known)[:12])}"
