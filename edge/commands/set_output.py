"""set_output: switch a pin that the device's own settings name as an output. Needs `penstock[gpio]`."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from typing import Any

from edge.commands.command import Arguments, CommandContext, Result, check_names
from edge.settings import OutputSettings
from streams.errors import MisuseError

FOR_S_MAX = 3600.0


class SetOutputCommand:
    """`{"output": "fan", "on": true}`, with `"for_s": 5` back after that. A pin is taken when first set, and kept."""

    name = "set_output"

    def __init__(self, outputs: Iterable[OutputSettings]) -> None:
        self._outputs = {each.name: each for each in outputs}
        self._pins: dict[str, Any] = {}
        self._taking = threading.Lock()

    def check(self, arguments: Arguments) -> None:
        check_names(self.name, arguments, "output", "on", "for_s")
        name, on, for_s = arguments.get("output"), arguments.get("on"), arguments.get("for_s")
        if name not in self._outputs:
            named = ", ".join(sorted(self._outputs)) or "none ([[edge.outputs]] on the device)"
            raise MisuseError(f"set_output: this device has no output {name!r:.80}; it has {named}")
        if not isinstance(on, bool):
            raise MisuseError(f"set_output: on must be true or false, not {on!r:.80}")
        if for_s is not None and (isinstance(for_s, bool) or not isinstance(for_s, (int, float))):
            raise MisuseError(f"set_output: for_s must be seconds, not {for_s!r:.80}")
        if for_s is not None and not 0 < for_s <= FOR_S_MAX:
            raise MisuseError(f"set_output: for_s must be more than 0 and at most {FOR_S_MAX:g}, not {for_s}")

    def run(self, arguments: Arguments, context: CommandContext) -> Result:
        name, on, for_s = arguments["output"], arguments["on"], arguments.get("for_s")
        pin = self._pin(self._outputs[name])
        before = bool(pin.value)
        pin.value = on
        if for_s is not None:
            try:
                context.pause(for_s)
            finally:
                pin.value = before
        return {"output": name, "on": bool(pin.value), "before": before}

    def close(self) -> None:
        """Give the pins back; they are inputs again."""
        with self._taking:
            while self._pins:
                self._pins.popitem()[1].close()

    def _pin(self, output: OutputSettings) -> Any:
        try:
            from gpiozero import DigitalOutputDevice
        except ImportError:
            raise MisuseError("set_output needs gpiozero; install it with: pip install 'penstock[gpio]'") from None
        with self._taking:
            if output.name not in self._pins:
                self._pins[output.name] = DigitalOutputDevice(
                    output.pin, active_high=output.active_high, initial_value=output.initial
                )
            return self._pins[output.name]
