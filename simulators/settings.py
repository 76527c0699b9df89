"""Settings of a simulated fleet."""

from __future__ import annotations

from dataclasses import dataclass

from simulators.devices import MODELS
from streams.errors import JunkError
from streams.names import check_device
from streams.settings import setting


@dataclass(frozen=True, slots=True, kw_only=True)
class FleetSettings:
    """How many devices of which kinds, how fast, and what befalls them."""

    devices: int = setting(20, "How many devices to simulate.", minimum=1, maximum=10_000)
    models: tuple[str, ...] = setting(tuple(MODELS), "The kinds of devices, taken in turn.", choices=tuple(MODELS))
    prefix: str = setting("", "What the device ids begin with, to tell several fleets apart.")
    seed: int = setting(
        1, "Everything that the fleet measures and that befalls it follows from this number.", minimum=0
    )
    interval_s: float = setting(1.0, "Time between two readings of a series.", minimum=0.01, maximum=3600)
    faults: bool = setting(True, "Whether sensors and processes go wrong, with labels in fleet/labels.jsonl.")
    fault_every_s: float = setting(
        120.0, "How often a level shift, a stuck sensor and a spike each come, for every 20 devices.", minimum=1
    )
    truth: bool = setting(True, "Whether to write down every reading in fleet/truth, for comparison.")
    truth_bytes_max: int = setting(
        50_000_000, "A truth file above this size is put aside as .old, in place of the one before.", minimum=100_000
    )
    spool_bytes_max: int = setting(
        16 * 1024 * 1024,
        "What each device keeps for a hub that is away; beyond it the oldest are dropped.",
        minimum=65536,
    )
    hub_host: str = setting("127.0.0.1", "Host name or address of the hub's MQTT gateway.")
    hub_port: int = setting(1883, "TCP port of the gateway.", minimum=1, maximum=65535)

    def __post_init__(self) -> None:
        if not self.models:
            raise ValueError(f"fleet.models is empty; name at least one of {', '.join(MODELS)}")
        try:
            check_device(f"{self.prefix}{max(MODELS, key=len)}-{self.devices:03d}")
        except JunkError as error:
            raise ValueError(f"fleet.prefix: {error}") from None
