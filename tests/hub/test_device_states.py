"""What compaction leaves of `devices`: the same devices and accounts come of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from hub.accounts import Accounts
from hub.device_states import state_key
from hub.events import connection_value, device_key
from hub.manifest import manifest_id
from hub.projections import Projections
from hub.registry import Registry
from hub.translations import Translations
from streams import names
from streams.clock import ManualClock
from streams.files import DiskFiles
from streams.log import EventLog, LogSettings
from streams.record import NewRecord, Record
from tests.hub.records import MANIFEST

CONNECTION = "connection"


def record(channel: str, value: Any, device: str = "press") -> Record:
    data = value if isinstance(value, bytes) else json.dumps(value).encode()
    return Record(0, device_key(device, channel), data, 1)


def account(*epochs: int, produced: int = 5) -> dict[str, Any]:
    present, *earlier = [{"epoch": epoch, "produced": produced} for epoch in epochs]
    return {**present, "time_ms": 1, "earlier": earlier}


def test_every_state_of_a_device_has_a_name_of_its_own() -> None:
    other = {**MANIFEST, "agent": "another"}
    states = [
        record(names.MANIFEST, MANIFEST),
        record(names.MANIFEST, other),
        record(names.MANIFEST, b"junk"),
        record(names.STATE, {"online": True, "boot": "b"}),
        record(names.STATE, {"online": False, "boot": "b"}),
        record(names.STATE, b"junk"),
        record(names.ACCOUNT, account(7)),
        record(names.ACCOUNT, account(8, 7)),
        record(names.ACCOUNT, account(8)),
        record(names.ACCOUNT, b"junk"),
        record(CONNECTION, connection_value(True, 1)),
        record(CONNECTION, connection_value(False, 1)),
        record(names.STATE, {"online": True, "boot": "b"}, "pump"),
    ]
    assert len({state_key(each) for each in states}) == len(states)


def test_a_newer_one_of_the_same_state_has_the_same_name() -> None:
    for one, other in [
        (record(names.STATE, {"online": True, "boot": "a"}), record(names.STATE, {"online": True, "boot": "b"})),
        (record(names.ACCOUNT, account(8, 7)), record(names.ACCOUNT, account(8, 7, produced=9))),
        (record(CONNECTION, connection_value(True, 1)), record(CONNECTION, connection_value(True, 2, address="a"))),
    ]:
        assert state_key(one) == state_key(other)


def test_what_is_folded_from_a_compacted_stream_is_what_was_known(tmp_path: Path) -> None:
    settings = LogSettings(segment_bytes=4096, index_interval_bytes=512, compact=True)
    clock = ManualClock()
    log = EventLog.open(
        tmp_path, {names.DEVICES: settings}, files=DiskFiles(), clock=clock, state_keys={names.DEVICES: state_key}
    )

    def say(channel: str, value: Any, device: str) -> None:
        made = record(channel, value, device)
        log.append_durable(names.DEVICES, [NewRecord(made.key, made.value, clock.time_ns() // 1_000_000)])

    manifests = [{**MANIFEST, "agent": f"version {number}"} for number in range(3)]
    for turn in range(60):
        for device in ("press", "pump"):
            clock.advance(1)
            epoch = 7 + turn // 20
            say(CONNECTION, connection_value(True, turn, address=f"10.0.0.{turn}"), device)
            say(names.STATE, {"online": True, "epoch": epoch, "boot": f"boot {turn}", "agent": "1"}, device)
            say(names.MANIFEST, manifests[turn // 20], device)
            say(names.ACCOUNT, account(epoch, *([epoch - 1] if turn % 20 == 0 else []), produced=turn), device)
            if turn % 3 == 0:
                say(names.STATE, {"online": False, "boot": f"boot {turn}"}, device)
                say(CONNECTION, connection_value(False, turn, reason="left"), device)
    before = folded(tmp_path, log)
    size = log.size_bytes(names.DEVICES)
    assert log.compact() > size // 2
    after = folded(tmp_path, log)
    for device in (*before["devices"], *after["devices"]):
        device.pop("first_seen_ms")  # it is that of the oldest record that is left
    assert after == before
    known = {manifest_id(json.dumps(each).encode()) for each in manifests}
    assert all(set(device["manifest_ids"]) == known for device in after["devices"])
    log.close()


def folded(directory: Path, log: EventLog) -> dict[str, Any]:
    registry, accounts, translations = Registry(), Accounts(), Translations()
    projections = Projections(directory / "none", DiskFiles(), [registry, accounts, translations])
    projections.start({(names.DEVICES, 0): log.reader(names.DEVICES)})
    books = accounts.snapshot()["books"]
    return {**registry.snapshot(), "books": books, "translations": translations.snapshot()}
