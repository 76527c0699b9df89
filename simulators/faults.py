"""The fault schedule of a fleet: a pure function of the seed and the wall clock.

Wall time is cut into slots, for each kind of fault its own length. In each slot the dice choose a device, a series, a
beginning and a size, and the fault lies wholly within its slot. So the schedule needs no memory: a fleet that is
killed and started again carries on in the middle of the same fault.

Two faults never disturb one series within a minute of each other: a candidate that meets one of higher rank
(the order of PLAN, then the earlier slot) is left out, whether or not that one was itself left out, because that can
be decided by looking at neighbouring slots alone.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from simulators.devices.model import Model
from simulators.dice import Dice
from simulators.label import Fault, Label
from simulators.quantity import Quantity, Value

QUIET_NS = 60 * 10**9  # between two faults of one series
DEVICES_PER_FAULT = 20  # larger fleets get proportionally more faults


class Recurrence(NamedTuple):
    """How often a fault comes, in slots of the schedule's base period, and how long it lasts, as a part of its slot."""

    slots: int
    shortest: float
    longest: float


# In the order of rank: what a person should see in the first minutes comes first.
PLAN: dict[Fault, Recurrence] = {
    "level_shift": Recurrence(1, 0.3, 0.6),
    "stuck": Recurrence(1, 0.3, 0.6),
    "spike": Recurrence(1, 0.0, 0.0),  # one interval long
    "noise": Recurrence(3, 0.2, 0.4),
    "dropout": Recurrence(3, 0.1, 0.3),
    "drift": Recurrence(10, 0.3, 0.6),
}
_SIZES: dict[Fault, tuple[float, float]] = {  # in multiples of what is abnormal for the series
    "level_shift": (1.0, 2.0),
    "stuck": (0.0, 0.0),
    "spike": (2.0, 4.0),
    "noise": (0.5, 1.0),
    "dropout": (0.0, 0.0),
    "drift": (1.5, 3.0),
}


class Schedule:
    """Which faults a fleet has when. Everything it keeps can be derived again; the caches only save work."""

    def __init__(
        self,
        seed: int,
        fleet: Mapping[str, Sequence[Quantity]],
        *,
        every_s: float = 120.0,
        interval_s: float = 1.0,
    ) -> None:
        """`fleet` maps device ids to their quantities; one fault of the most frequent kinds comes `every_s` seconds
        for each twenty devices; a spike lasts one `interval_s`."""
        targets = [(device, q) for device, quantities in fleet.items() for q in quantities if q.abnormal is not None]
        self._by_device: dict[str, list[Quantity]] = {}
        for device, quantity in targets:
            self._by_device.setdefault(device, []).append(quantity)
        self._devices = list(self._by_device)
        self._base_ns = round(every_s * 1e9)
        self._spike_ns = max(1, round(interval_s * 1e9))
        self._copies = -(-len(self._devices) // DEVICES_PER_FAULT)
        self._dice = {kind: Dice(seed, f"fault/{kind}") for kind in PLAN}
        self._candidate = functools.lru_cache(maxsize=4096)(self._make_candidate)
        self._window = functools.lru_cache(maxsize=8)(self._make_window)

    def active(self, device: str, time_ns: int) -> list[Label]:
        """The faults of a device at an instant; at most one for each series."""
        labels = self._window(time_ns // self._base_ns).get(device)
        return [label for label in labels if label.covers(time_ns)] if labels else []

    def labels(self, start_ns: int, end_ns: int) -> list[Label]:
        """All faults that touch [start_ns, end_ns), by their start."""
        return sorted(label for label, _ in self._meeting(start_ns, end_ns) if self._holds(label))

    def _make_window(self, number: int) -> dict[str, list[Label]]:
        window: dict[str, list[Label]] = {}
        for label in self.labels(number * self._base_ns, (number + 1) * self._base_ns):
            window.setdefault(label.device, []).append(label)
        return window

    def _meeting(self, start_ns: int, end_ns: int) -> Iterator[tuple[Label, tuple[int, int, int]]]:
        """Candidates that touch an interval, each with its rank."""
        if not self._devices:
            return
        for rank, (kind, recurrence) in enumerate(PLAN.items()):
            slot_ns = self._base_ns * recurrence.slots
            for slot in range(start_ns // slot_ns, (end_ns - 1) // slot_ns + 1):
                for copy in range(self._copies):
                    label = self._candidate(kind, slot, copy)
                    if label.start_ns < end_ns and start_ns < label.end_ns:
                        yield label, (rank, slot, copy)

    def _holds(self, label: Label) -> bool:
        """Whether no candidate of higher rank comes too near to this one."""
        near = list(self._meeting(label.start_ns - QUIET_NS, label.end_ns + QUIET_NS))
        own = next(rank for other, rank in near if other == label)
        return not any(
            rank < own and (other.device, other.series) == (label.device, label.series) for other, rank in near
        )

    def _make_candidate(self, kind: Fault, slot: int, copy: int) -> Label:
        which, what, begin, length, size, sign, *_ = self._dice[kind].uniforms(slot * self._copies + copy)
        recurrence = PLAN[kind]
        slot_ns = self._base_ns * recurrence.slots
        device = self._devices[int(which * len(self._devices))]
        choices = self._by_device[device]
        quantity = choices[int(what * len(choices))]
        part = recurrence.shortest + length * (recurrence.longest - recurrence.shortest)
        duration_ns = min(self._spike_ns, slot_ns) if kind == "spike" else int(slot_ns * part)
        start_ns = slot * slot_ns + int(begin * (slot_ns - duration_ns))
        low, high = _SIZES[kind]
        moved = (low + size * (high - low)) * (quantity.abnormal or 0.0)
        down = sign < 0.5 and not quantity.only_up and kind in ("level_shift", "spike", "drift")
        return Label(start_ns, start_ns + duration_ns, device, quantity.name, kind, -moved if down else moved)


class Disturbance:
    """What the faults of one device do to its readings."""

    def __init__(self, model: Model, dice: Dice) -> None:
        self._model = model
        self._dice = dice
        self._index = {quantity.name: index for index, quantity in enumerate(model.quantities)}
        self._held = functools.lru_cache(maxsize=16)(self._value_at)

    def apply(self, values: Sequence[Value], labels: Sequence[Label], time_ns: int) -> list[Value | None]:
        """The readings with the faults in them; None where a reading does not come at all."""
        disturbed: list[Value | None] = list(values)
        for label in labels:
            index = self._index[label.series]
            disturbed[index] = self._one(label, index, float(values[index]), time_ns)
        return disturbed

    def _one(self, label: Label, index: int, value: float, time_ns: int) -> Value | None:
        quantity = self._model.quantities[index]
        match label.kind:
            case "level_shift" | "spike":
                return quantity.read(value + label.size)
            case "stuck":
                return self._held(label.start_ns, index)
            case "noise":
                return quantity.read(value + label.size * self._dice.normals(time_ns)[index])
            case "drift":
                return quantity.read(value + label.size * (time_ns - label.start_ns) / (label.end_ns - label.start_ns))
            case "dropout":
                return None

    def _value_at(self, time_ns: int, index: int) -> Value:
        return self._model.measure(time_ns)[index]
