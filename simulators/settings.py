"""Settings of a simulated fleet."""

from __future__ import annotations

from dataclasses import dataclass

from simulators.devices import MODELS
from streams.settings import setting


@dataclass(frozen=True, slots=True, kw_only=True)
class FleetSettings:
    """How many devices of which kinds, how fast, and what befalls them."""

    devices: int = setting(20, "how many devices to simulate", minimum=1, maximum=10_000)
    models: tuple[str, ...] = setting(tuple(MODELS), "the kinds of devices, taken in turn", choices=tuple(MODELS))
    prefix: str = setting("", "what the device ids begin with, to tell several fleets apart")
    seed: int = setting(1, "everything that the fleet measures and that befalls it follows from this number", minimum=0)
    interval_s: float = setting(1.0, "time between two readings of a series", minimum=0.01, maximum=3600)
    faults: bool = setting(True, "whether sensors and processes go wrong, with labels in fleet/truth/labels.jsonl")
    fault_every_s: float = setting(
        120.0, "how often a level shift, a stuck sensor and a spike each come, for every 20 devices", minimum=1
    )
    truth: bool = setting(True, "whether to write down every reading in fleet/truth, for comparison")
    truth_bytes_max: int = setting(
        50_000_000, "a truth file above this size is put aside as .old, in place of the one before", minimum=100_000
    )
    host: str = setting("127.0.0.1", "where the hub's MQTT gateway is")
    port: int = setting(1883, "the port of the hub's MQTT gateway", minimum=1, maximum=65_535)
