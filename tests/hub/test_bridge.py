"""The hub as the client of a broker: what it says, what it acknowledges when, how it finds back. Without sockets."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from hub.bridge_session import BridgeSession, Lost, State
from hub.bridge_settings import BridgeSettings
from streams.clock import ManualClock
from streams.errors import DiskError
from streams.mqtt import (
    Acknowledge,
    Connack,
    Connect,
    Disconnect,
    Packet,
    PacketType,
    Pingreq,
    Property,
    Publish,
    Reason,
    Suback,
    Subscribe,
    decode,
    encode,
)
from streams.settings import SettingsError, build
from tests.hub.mqtt_world import MemoryIntake

FRAMES = "penstock/v1/dev/frames"


class Broker:
    """The far end, by hand."""

    def __init__(self, **settings: Any) -> None:
        self.clock = ManualClock(monotonic_ns=10**9)
        self.intake = MemoryIntake()
        self.intake.prompt = False
        self.session = BridgeSession(
            BridgeSettings(host="broker", **settings), intake=self.intake, now_ns=self.clock.monotonic_ns
        )
        self.sent = b""
        self.lost: list[str] = []

    def begin(self) -> Connect:
        self.sent = b""
        self.session.begin(self._write, self.lost.append)
        [packet] = self.said()
        assert isinstance(packet, Connect)
        return packet

    def open(self) -> Subscribe:
        self.begin()
        self.say(Connack())
        [packet] = self.said()
        assert isinstance(packet, Subscribe)
        self.say(Suback(packet.packet_id, (1,) * len(packet.subscriptions)))
        return packet

    def say(self, *packets: Packet) -> None:
        self.session.receive(b"".join(encode(packet, 5) for packet in packets))

    def said(self) -> list[Packet]:
        found: list[Packet] = []
        while (one := decode(self.sent, version=5)) is not None:
            found.append(one[0])
            self.sent = self.sent[one[1] :]
        assert not self.sent
        return found

    def acknowledged(self) -> list[int]:
        return [each.packet_id for each in self.said() if isinstance(each, Acknowledge)]

    def _write(self, data: bytes) -> None:
        self.sent += data


def test_it_keeps_its_session_and_shares_what_devices_publish() -> None:
    broker = Broker(username="hub", password="secret", receive_maximum=77)
    connect = broker.begin()
    assert (connect.client_id, connect.version, connect.clean_start) == ("penstock-hub", 5, False)
    assert (connect.username, connect.password) == ("hub", b"secret")
    assert connect.properties[Property.RECEIVE_MAXIMUM] == 77
    assert connect.properties[Property.SESSION_EXPIRY_INTERVAL] == 604_800
    broker.say(Connack())
    [subscribe] = broker.said()
    assert isinstance(subscribe, Subscribe)
    filters = {each.topic_filter for each in subscribe.subscriptions}
    assert "$share/penstock/penstock/v1/+/frames" in filters and "$share/penstock/penstock/v1/+/state" in filters
    assert {each.qos for each in subscribe.subscriptions} == {1}


def test_a_message_is_acknowledged_when_it_is_on_disk_and_in_order() -> None:
    broker = Broker()
    broker.open()
    broker.say(*[Publish(FRAMES, b"%d" % n, 1, n) for n in (1, 2, 3)])
    assert broker.said() == []
    broker.intake.settle(which=1)
    assert broker.said() == [], "the first is not on disk"
    broker.intake.settle(which=0)
    assert broker.acknowledged() == [1, 2]
    broker.intake.settle()
    assert broker.acknowledged() == [3]
    assert broker.intake.payloads == [b"1", b"2", b"3"]
    assert broker.intake.history[0] == "connected dev"


def test_after_a_break_what_was_not_acknowledged_comes_again_and_old_news_goes_nowhere() -> None:
    broker = Broker()
    broker.open()
    broker.say(Publish(FRAMES, b"1", 1, 1))
    broker.session.end()
    broker.open()
    broker.intake.settle()
    assert broker.said() == [], "that was the other connection"
    broker.say(Publish(FRAMES, b"1", 1, 1, dup=True))
    broker.intake.settle()
    assert broker.acknowledged() == [1]


def test_what_cannot_be_stored_ends_the_connection_and_is_not_acknowledged() -> None:
    broker = Broker()
    broker.open()
    broker.say(Publish(FRAMES, b"1", 1, 1))
    broker.intake.settle(DiskError("the disk is full"))
    assert broker.lost == ["messages cannot be stored: the disk is full"]
    assert broker.said() == []


def test_what_is_no_message_of_a_device_is_acknowledged_and_counted() -> None:
    broker = Broker()
    broker.open()
    broker.say(Publish("penstock/v1/+x/frames".replace("+", "!"), b"1", 1, 1), Publish("other", b"2", 1, 2))
    assert broker.acknowledged() == [1, 2]
    assert broker.session.counters["foreign"] == 2 and broker.intake.payloads == []


def test_a_device_is_there_from_its_first_message_until_its_will() -> None:
    broker = Broker()
    broker.open()
    assert not broker.session.publish("dev", "penstock/v1/dev/commands", b"{}"), "nobody has heard it"
    broker.say(Publish("penstock/v1/dev/state", b'{"online": true}', 1, 1))
    assert broker.session.publish("dev", "penstock/v1/dev/commands", b"{}")
    [command] = broker.said()
    assert isinstance(command, Publish) and (command.topic, command.qos) == ("penstock/v1/dev/commands", 1)
    broker.say(Acknowledge(PacketType.PUBACK, command.packet_id))
    broker.say(Publish("penstock/v1/dev/state", b'{"online": false}', 1, 2))
    assert not broker.session.publish("dev", "penstock/v1/dev/commands", b"{}")
    assert [line.split(":")[0] for line in broker.intake.history if "connected" in line] == [
        "connected dev",
        "disconnected dev",
    ]


def test_what_the_broker_has_not_acknowledged_is_sent_again_after_a_break() -> None:
    broker = Broker(sending_max=2)
    broker.open()
    broker.say(Publish(FRAMES, b"1", 1, 1))
    for n in range(2):
        assert broker.session.publish("dev", "t", b"%d" % n)
    assert not broker.session.publish("dev", "t", b"no room")
    broker.said()
    broker.session.end()
    broker.open()
    again = [each for each in broker.said() if isinstance(each, Publish)]
    assert [(each.payload, each.dup) for each in again] == [(b"0", True), (b"1", True)]


@pytest.mark.parametrize(
    ("packets", "says"),
    [
        ([Connack(False, Reason.NOT_AUTHORIZED)], "refuses the hub: not authorized; see hub.broker.username"),
        ([Connack(properties={Property.SHARED_SUBSCRIPTION_AVAILABLE: 0})], "has no shared subscriptions"),
        ([Connack(), Suback(1, (0x87,))], "does not let the hub subscribe: not authorized; let penstock-hub read"),
        ([Disconnect(Reason.SESSION_TAKEN_OVER)], "the broker ends it: session taken over"),
        ([Subscribe(1, ())], "does not speak MQTT 5"),
    ],
)
def test_why_the_broker_cannot_be_used_is_said_with_the_remedy(packets: list[Packet], says: str) -> None:
    broker = Broker()
    broker.begin()
    with pytest.raises(Lost, match=says):
        broker.say(*packets)


def test_the_connection_is_kept_alive_and_a_silent_broker_is_left() -> None:
    broker = Broker(keepalive_s=10)
    broker.open()
    broker.clock.advance(6)
    broker.session.tick()
    assert broker.said() == [Pingreq()]
    broker.clock.advance(10)
    with pytest.raises(Lost, match="has said nothing for 15 s"):
        broker.session.tick()


def test_any_pieces_of_what_the_broker_says_are_put_together() -> None:
    broker = Broker()
    broker.open()
    data = b"".join(encode(Publish(FRAMES, bytes([n]) * 50, 1, n), 5) for n in (1, 2, 3))
    for at in range(len(data)):
        broker.session.receive(data[at : at + 1])
    assert [len(each) for each in broker.intake.payloads] == [50, 50, 50]
    assert broker.session.state is State.OPEN


@pytest.mark.parametrize(
    ("given", "says"), [({"share": "a/b"}, "without /"), ({"key": "k.pem"}, "no hub.broker.certificate")]
)
def test_settings_that_cannot_be_are_refused(given: dict[str, Any], says: str) -> None:
    with pytest.raises(SettingsError, match=says):
        build(BridgeSettings, given)
    assert "secret" not in repr(build(BridgeSettings, {"password": "secret"}))


def test_the_document_shows_what_is_published() -> None:
    text = (Path(__file__).resolve().parents[2] / "docs" / "protocol.md").read_text("utf-8")
    example = text.split("## Committed")[1].split("    {", 1)[1].split("\n", 1)[0]
    assert set(json.loads("{" + example)) == {"committed", "time_ms"}
