"""The contract test that users run on their sensors finds what is wrong with them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest

from edge.sensors.contract import SensorContract
from edge.sensors.sensor import Bad, Given, SensorContext, Series


class Probe:
    """A sensor that is in order."""

    may_block = True

    def __init__(self, context: SensorContext) -> None:
        context.check_options()
        self.name, self.interval_s = context.name, context.interval_s

    def open(self) -> Sequence[Series]:
        return [Series(name="ph", minimum=0, maximum=14)]

    def read(self, time_ns: int) -> Sequence[Given]:
        return [7.0]

    def close(self) -> None:
        pass


def broken(**changed: Any) -> type[Probe]:
    return type("Broken", (Probe,), changed)


def takes_anything(self: Any, context: SensorContext) -> None:
    self.name, self.interval_s = context.name, context.interval_s


def run(constructor: Callable[[SensorContext], Any]) -> None:
    contract = type("Contract", (SensorContract,), {"constructor": staticmethod(constructor)})()
    for name in dir(contract):
        if name.startswith("test_"):
            getattr(contract, name)()


def test_a_sensor_that_is_in_order_passes() -> None:
    run(Probe)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"open": lambda self: []}, "at least one series"),
        ({"open": lambda self: [Series(name="a"), Series(name="a")]}, "names are unique"),
        ({"read": lambda self, time_ns: [7.0, 8.0]}, "one value, Bad or None a series"),
        ({"read": lambda self, time_ns: [15.0]}, "above its declared maximum"),
        ({"read": lambda self, time_ns: [Bad("no probe")]}, "ph is bad: Bad"),
        ({"read": lambda self, time_ns: [None]}, "never given a value"),
        ({"read": lambda self, time_ns: ["warm"]}, "cannot take 'warm'"),
        ({"__init__": takes_anything}, "an unknown option was taken"),
    ],
)
def test_what_is_wrong_is_said(changed: dict[str, Any], said: str) -> None:
    with pytest.raises(Exception, match=said):
        run(broken(**changed))
