"""From a plain MQTT client to rows in the store: gateway, log, processors, and the ledger over all of it."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import paho.mqtt.client as paho
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from hub.ledger import reconcile
from streams import names
from streams.names import QUARANTINE
from tests.hub.test_hub import WAIT_S, control, device, running
from tests.processors.world import Processors

S = 10**9
TIME = 1_790_000_000
LINES = "\n".join(f"load,core={core} busy={core / 8},ticks={core}i {(TIME + core) * S}" for core in range(3))
SENML = [
    {"bn": "urn:dev:x:", "bt": TIME, "n": "voltage", "u": "V", "v": 120.1},
    {"n": "open", "vb": True},
    {"n": "label", "vs": "Machine Room"},
]


def send(port: int) -> None:
    """What three plain clients publish; each waits for its acknowledgements."""
    with device("json-1", port) as plain:
        plain.say(names.JSON, {"ts": TIME, "temperature": 21.5, "inner": {"door": True}, "state": "on"})
        plain.say(names.JSON, b"{oops")
        plain.say(names.JSON, [{"ts": TIME + row, "temperature": 20 + row} for row in range(1, 4)])
    with device("senml-1", port) as plain:
        plain.say(names.SENML, SENML)
    made = paho.Client(paho.CallbackAPIVersion.VERSION2, client_id="lines-1", protocol=paho.MQTTv5)
    made.connect("127.0.0.1", port)
    made.loop_start()
    properties = Properties(PacketTypes.PUBLISH)
    properties.ContentType = "application/vnd.influxdb.line-protocol"
    for qos in (1, 2):
        info = made.publish(names.topic("lines-1", names.READINGS), LINES, qos=qos, properties=properties)
        info.wait_for_publish(WAIT_S)
        assert info.is_published()
    made.disconnect()
    made.loop_stop()


async def test_what_others_send_is_stored_and_accounted_for(tmp_path: Path) -> None:
    async with running(tmp_path) as hub:
        await asyncio.to_thread(send, hub.gateway.port)
    async with running(tmp_path) as hub:  # numbers and series go on
        await asyncio.to_thread(send, hub.gateway.port)
        hub_answer = await asyncio.to_thread(control(tmp_path).get, "/ledger")
        listed = await asyncio.to_thread(control(tmp_path).get, "/devices/json-1")
    assert listed["readings"] == 12 and listed["manifest"]["series"][1]["name"] == "inner.door"

    processors = Processors(tmp_path)
    processors.drain()
    rows = processors.readings("json-1")
    assert [(metric, time_ns // S - TIME, value, text) for metric, time_ns, value, text, *_ in rows] == [
        ("temperature", 0, 21.5, None), ("inner.door", 0, 1.0, None), ("state", 0, None, "on"),
        ("temperature", 1, 21.0, None), ("temperature", 2, 22.0, None), ("temperature", 3, 23.0, None),
    ] * 2  # fmt: skip
    assert [row[-1] for row in rows] == list(range(12)) and len({row[-2] for row in rows}) == 1
    senml = {metric: (time_ns, value, text) for metric, time_ns, value, text, *_ in processors.readings("senml-1")}
    assert senml == {
        "urn.dev.x.voltage": (TIME * S, 120.1, None),
        "urn.dev.x.open": (TIME * S, 1.0, None),
        "urn.dev.x.label": (TIME * S, None, "Machine Room"),
    }
    lines = [(metric, time_ns // S - TIME, value) for metric, time_ns, value, *_ in processors.readings("lines-1")]
    assert sorted(lines) == sorted(
        pair
        for core in range(3)
        for pair in [(f"load.core_{core}.busy", core, core / 8), (f"load.core_{core}.ticks", core, float(core))] * 4
    )
    quarantined = processors.published(QUARANTINE)
    assert [(record.key, record.value) for record in quarantined] == [(b"json-1", b"{oops")] * 2
    assert b"not JSON in UTF-8" in dict(quarantined[0].headers)["reason"]

    ledger = reconcile(hub_answer, json.loads(json.dumps(processors.store.ledger())))
    assert ledger.balanced and ledger.undecodable == 2
    assert ledger.totals.produced == ledger.totals.stored == 12 + 6 + 24
    processors.close()
