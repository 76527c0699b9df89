"""The contract of a sensor as tests, for those built in and for yours. They run under pytest.

    from edge.sensors.contract import SensorContract

    class TestPhSensor(SensorContract):
        constructor = PhSensor

        def options(self):
            return {"port": "/dev/ttyUSB0"}

`provoke` is called before each look: a pushed sensor's device is made to say something there.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping, Sequence
from typing import Any

from edge.inlet import Inlet
from edge.manifest import make_manifest, number_series
from edge.sensors.registry import Constructor
from edge.sensors.sensor import AnySensor, Bad, Given, SensorContext, Series, check_value, is_pushed, is_sampled
from streams.clock import SystemClock
from streams.errors import MisuseError

NOW_NS = 1_700_000_000_000_000_000
_HEARD_S = 20.0
_STOPPED_S = 5.0


class SensorContract:
    """Subclass it in a test file; name the constructor and the options that make your sensor work."""

    constructor: Constructor

    def options(self) -> Mapping[str, Any]:
        """Options with which the sensor works."""
        return {}

    def provoke(self) -> None:
        """Make the device say something, or move on."""

    def make(self, **options: Any) -> AnySensor:
        context = SensorContext(
            kind="probe", name="under-test", interval_s=2.5, timeout_s=2.0, options={**self.options(), **options}
        )
        return type(self).constructor(context)

    # -- what every sensor owes --------------------------------------------------------------------------------------

    def test_it_has_the_name_and_the_interval_that_it_was_given(self) -> None:
        sensor = self.make()
        assert sensor.name == "under-test", "name is the context's name"
        if is_sampled(sensor):
            assert sensor.interval_s == 2.5, "interval_s is the context's interval"
            assert isinstance(sensor.may_block, bool), "may_block says whether open and read may wait"
        elif is_pushed(sensor):
            assert sensor.silence_s_max >= 0, "silence_s_max is 0 or the longest silence that is no fault"

    def test_it_declares_series_that_make_a_manifest(self) -> None:
        sensor = self.make()
        declared = sensor.open()
        sensor.close()
        assert declared, "a sensor declares at least one series, or raises SensorAbsentError"
        assert len({each.name for each in declared}) == len(declared), "names are unique"
        assert make_manifest(number_series(declared), model="m", agent="a", labels={}).payload

    def test_it_gives_values_of_the_declared_types_each_time(self) -> None:
        sensor = self.make()
        declared = sensor.open()
        try:
            heard = False
            for tick in range(3):
                values = self._values(sensor, declared, NOW_NS + tick)
                assert len(values) == len(declared), "one value, Bad or None a series, in their order"
                for series, value in zip(declared, values):
                    assert not isinstance(value, Bad), f"{series.name} is bad: {value}"
                    if value is not None:
                        heard = True
                        _check(series, value)
            assert heard, "it has never given a value"
        finally:
            sensor.close()

    def test_it_can_be_closed_whether_it_was_opened_or_not(self) -> None:
        sensor = self.make()
        sensor.close()
        sensor.open()
        sensor.close()
        sensor.close()

    def test_opened_again_it_declares_the_same_and_works(self) -> None:
        sensor = self.make()
        first = list(sensor.open())
        self._values(sensor, first, NOW_NS)
        sensor.close()
        assert list(sensor.open()) == first
        self._values(sensor, first, NOW_NS)
        sensor.close()

    def test_an_option_that_it_does_not_know_is_misuse(self) -> None:
        try:
            self.make(colour="red")
        except MisuseError as error:
            assert "colour" in str(error), "the message names the option"
        else:
            raise AssertionError("an unknown option was taken: call context.read_options or context.check_options")

    # -- inside ------------------------------------------------------------------------------------------------------

    def _values(self, sensor: AnySensor, declared: Sequence[Series], time_ns: int) -> Sequence[Given]:
        if is_sampled(sensor):
            self.provoke()
            return sensor.read(time_ns)
        assert is_pushed(sensor)
        values: list[Given] = [None] * len(declared)
        inlet = Inlet(
            sensor.name, [each.name for each in declared], ticks_max=1000, clock=SystemClock(), wake=lambda: None
        )
        failures: list[BaseException] = []

        def run() -> None:
            try:
                sensor.run(inlet)
            except BaseException as error:
                failures.append(error)

        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        deadline = time.monotonic() + _HEARD_S
        while None in values and not failures and time.monotonic() < deadline:
            self.provoke()
            thread.join(0.05)
            for pushed in inlet.take(1000):
                assert 0 <= pushed.time_ns < 2**63, "times are nanoseconds since 1970 UTC"
                for place, value in pushed.given:
                    values[place] = value
        inlet.stop()
        thread.join(_STOPPED_S)
        assert not thread.is_alive(), "run returns soon after the inlet says that it is stopping"
        if failures:
            raise failures[0]
        return values


def _check(series: Series, value: Any) -> None:
    assert check_value(series, value) == value
    if isinstance(value, (int, float)) and series.minimum is not None:
        assert value >= series.minimum, f"{series.name} is below its declared minimum"
    if isinstance(value, (int, float)) and series.maximum is not None:
        assert value <= series.maximum, f"{series.name} is above its declared maximum"
