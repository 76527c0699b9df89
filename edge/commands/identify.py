"""identify: say who and what this device is, and blink its light so that a person finds it."""

from __future__ import annotations

import contextlib
import os
import platform
from pathlib import Path

from edge.commands.command import Arguments, CommandContext, Result, check_names
from edge.sensors.sysfs import number, text

_LIGHTS = ("ACT", "led0", "PWR", "led1")
_BLINKS = 5
_HALF_BLINK_S = 0.2


class IdentifyCommand:
    """Answers device, agent, platform and uptime; `blinked` names the light, or is null when there is none."""

    name = "identify"

    def check(self, arguments: Arguments) -> None:
        check_names(self.name, arguments)

    def run(self, arguments: Arguments, context: CommandContext) -> Result:
        light = find_light(context.sys)
        blinked = light is not None and blink(light, context)
        return {
            "device": context.device,
            "agent": context.agent,
            "model": context.model,
            "platform": platform.platform(),
            "python": platform.python_version(),
            "uptime_s": round(context.uptime_s(), 1),
            "blinked": light.name if blinked and light is not None else None,
        }


def find_light(sys: Path) -> Path | None:
    """The activity light, if there is one that this user may switch."""
    leds = sys / "class" / "leds"
    candidates = [leds / name for name in _LIGHTS] + sorted(leds.glob("*"))
    return next((led for led in candidates if os.access(led / "brightness", os.W_OK)), None)


def blink(light: Path, context: CommandContext) -> bool:
    """Blink a few times and leave the light as it was. False when it refuses."""
    before = number(light / "brightness") or 0
    trigger = _chosen(text(light / "trigger"))
    bright = number(light / "max_brightness") or 1
    try:
        for _ in range(_BLINKS):
            for value in (bright, 0):
                (light / "brightness").write_text(str(value))
                context.pause(_HALF_BLINK_S)
    except OSError:
        return False
    finally:
        with contextlib.suppress(OSError):  # switching by hand has turned the trigger off
            (light / "brightness").write_text(str(before))
            if trigger is not None:
                (light / "trigger").write_text(trigger)
    return True


def _chosen(triggers: str | None) -> str | None:
    """The one in brackets, of `none [mmc0] timer`."""
    for word in (triggers or "").split():
        if word.startswith("["):
            return word.strip("[]")
    return None
