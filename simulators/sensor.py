"""A simulated device seen from its agent: one sensor that measures everything the device has."""

from __future__ import annotations

from collections.abc import Sequence

from edge.sensors.sensor import SensorFailedError, Series
from simulators.devices import Model
from simulators.dice import Dice
from simulators.faults import Disturbance, Schedule
from simulators.label import LabelFile
from simulators.quantity import Quantity, Value
from simulators.truth import TruthFile
from streams.errors import DiskError


class SimulatedSensor:
    """Works out the readings of a tick, lets faults disturb them, writes them down, and hands them over in that order:
    what the agent has seen is in the truth file, whatever happens next."""

    may_block = False

    def __init__(
        self,
        device: str,
        model: Model,
        *,
        seed: int,
        interval_s: float,
        schedule: Schedule | None = None,
        truth: TruthFile | None = None,
        labels: LabelFile | None = None,
    ) -> None:
        """Without a `schedule` nothing goes wrong; without `truth` and `labels` nothing is written down."""
        self.name = device
        self.interval_s = interval_s
        self._model = model
        self._names = [quantity.name for quantity in model.quantities]
        self._schedule = schedule
        self._disturbance = Disturbance(model, Dice(seed, f"noise/{device}"))
        self._truth = truth
        self._labels = labels

    def open(self) -> Sequence[Series]:
        return [_series(quantity, self.interval_s) for quantity in self._model.quantities]

    def read(self, time_ns: int) -> Sequence[Value | None]:
        try:
            values = self._measure(time_ns)
            if self._truth is not None:
                self._truth.write(time_ns, [(n, v) for n, v in zip(self._names, values) if v is not None])
        except DiskError as error:
            raise SensorFailedError(str(error)) from error
        return values

    def close(self) -> None:
        pass  # the truth file outlives the agent, which may be started again

    def _measure(self, time_ns: int) -> Sequence[Value | None]:
        values = self._model.measure(time_ns)
        faults = self._schedule.active(self.name, time_ns) if self._schedule else None
        if not faults:
            return values
        if self._labels is not None:
            for label in faults:
                self._labels.note(label)
        return self._disturbance.apply(values, faults, time_ns)


def _series(quantity: Quantity, interval_s: float) -> Series:
    return Series(
        name=quantity.name,
        unit=quantity.unit,
        type=quantity.kind,
        resolution=quantity.step,
        interval_s=interval_s,
        minimum=quantity.minimum,
        maximum=quantity.maximum,
        description=quantity.description,
    )
