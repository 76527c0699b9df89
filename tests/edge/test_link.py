from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import pytest

from edge.link import Link, LinkDownError, Message, PublishRefusedError, VersionRefusedError
from edge.settings import EdgeSettings, LinkSettings
from tests.edge.broker import Broker, broker
from tests.servers import mosquitto

WILL = ("penstock/v1/d/state", b"{}")


def settings(port: int, **changed: Any) -> EdgeSettings:
    return EdgeSettings(device="d", hub_port=port, link=LinkSettings(**{"connect_timeout_s": 5.0, **changed}))


@contextlib.asynccontextmanager
async def connected(peer: Broker, *, version: int = 5, received: list[Message] | None = None) -> AsyncIterator[Link]:
    took = received if received is not None else []
    link = Link(settings(peer.port), version=version, will=WILL, on_message=took.append)
    await link.connect()
    try:
        yield link
    finally:
        link.abort("end of test")


@pytest.mark.parametrize("version", [4, 5])
async def test_a_message_is_done_at_its_puback_and_not_before(version: int) -> None:
    async with broker() as peer:
        peer.puback = lambda message: None
        async with connected(peer, version=version) as link:
            done = link.publish("t", b"payload")
            await peer.until(lambda: len(peer.published) == 1)
            assert not done.done()
            peer.answer(peer.published[0])
            await asyncio.wait_for(done, 5)
            assert (peer.published[0].topic, peer.published[0].payload) == ("t", b"payload")


async def test_a_message_that_comes_in_is_acknowledged_only_when_we_say_so() -> None:
    received: list[Message] = []
    async with broker() as peer, connected(peer, received=received) as link:
        await link.subscribe("penstock/v1/d/commands")
        peer.send("penstock/v1/d/commands", b"one", number=7)
        peer.send("penstock/v1/d/commands", b"two", number=8)
        await peer.until(lambda: len(received) == 2)
        assert peer.acknowledged == []
        link.acknowledge(received[1])
        await peer.until(lambda: peer.acknowledged == [8])
        assert [message.payload for message in received] == [b"one", b"two"]


async def test_when_the_connection_ends_every_message_in_flight_fails_with_the_reason() -> None:
    async with broker() as peer:
        peer.puback = lambda message: None
        async with connected(peer) as link:
            sent = [link.publish("t", b"x") for _ in range(3)]
            await peer.until(lambda: len(peer.published) == 3)
            peer.hang_up()
            await asyncio.wait_for(asyncio.shield(link.ended), 5)
            for each in sent:
                with pytest.raises(LinkDownError):
                    each.result()
            with pytest.raises(LinkDownError):
                await link.publish("t", b"too late")


async def test_the_brokers_receive_maximum_is_kept() -> None:
    async with broker() as peer:
        peer.receive_maximum = 3
        peer.puback = lambda message: None
        async with connected(peer) as link:
            sent = [link.publish("t", b"%d" % number) for number in range(8)]
            await peer.until(lambda: len(peer.published) == 3)
            for at in range(8):
                await peer.until(lambda at=at: len(peer.published) > at)  # type: ignore[misc]
                assert len(peer.published) <= at + 3
                peer.answer(peer.published[at])
            await asyncio.wait_for(asyncio.gather(*sent), 5)
            assert [message.payload for message in peer.published] == [b"%d" % number for number in range(8)]


async def test_a_refused_message_is_told_from_a_lost_one() -> None:
    async with broker() as peer:
        peer.puback = lambda message: 0x97
        async with connected(peer) as link:
            with pytest.raises(PublishRefusedError, match="t was refused: Quota exceeded"):
                await link.publish("t", b"x")
            assert not link.ended.done()


@pytest.mark.parametrize("closes", [False, True])
async def test_a_broker_that_does_not_speak_mqtt_5_is_told_from_one_that_is_away(closes: bool) -> None:
    async with broker() as peer:
        peer.versions, peer.close_on_wrong_version = {4}, closes
        link = Link(settings(peer.port), version=5, will=WILL, on_message=lambda message: None)
        with pytest.raises(VersionRefusedError):
            await link.connect()
        link.abort("x")
        async with connected(peer, version=4):
            assert peer.connects == [5, 4]


async def test_nobody_listens() -> None:
    async with broker() as peer:
        port = peer.port
    link = Link(settings(port), version=5, will=WILL, on_message=lambda message: None)
    with pytest.raises(LinkDownError, match="refused"):
        await link.connect()
    link.abort("x")


async def test_a_name_that_nobody_knows() -> None:
    chosen = EdgeSettings(device="d", hub_host="no-such-host.invalid", link=LinkSettings(connect_timeout_s=5))
    link = Link(chosen, version=5, will=WILL, on_message=lambda message: None)
    with pytest.raises(LinkDownError):
        await link.connect()
    link.abort("x")


async def test_a_broker_that_never_answers_is_given_up() -> None:
    async with broker() as peer:
        peer.answers_connect = False
        link = Link(settings(peer.port, connect_timeout_s=0.2), version=5, will=WILL, on_message=lambda message: None)
        with pytest.raises(LinkDownError, match=r"no answer within 0.2 s"):
            await link.connect()
        link.abort("x")


@pytest.mark.parametrize(
    "junk",
    [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"\x32\x02\xff\xff", b"\x20\xff\xff\xff\xff\xff", b"\x00\x00", b"\xf0\x01"],
)
async def test_whatever_the_peer_sends_the_agent_lives(junk: bytes) -> None:
    async with broker() as peer, connected(peer) as link:
        peer.write(junk)
        peer.hang_up()
        await asyncio.wait_for(asyncio.shield(link.ended), 5)


async def test_a_clean_end_says_goodbye() -> None:
    async with broker() as peer, connected(peer) as link:
        link.close()
        await peer.until(lambda: peer.clean_ends == 1)
        assert link.ended.done()


@pytest.mark.system
@pytest.mark.parametrize("version", [4, 5])
async def test_mosquitto_keeps_a_command_that_was_not_acknowledged_for_the_next_connection(version: int) -> None:
    with mosquitto() as server:
        received: list[Message] = []
        chosen = settings(server.port)
        first = Link(chosen, version=version, will=WILL, on_message=received.append)
        await first.connect()
        await first.subscribe("penstock/v1/d/commands")
        await first.publish("penstock/v1/d/commands", b"command")
        async with asyncio.timeout(10):
            while not received:
                await asyncio.sleep(0.01)
        first.abort("killed before the command was on disk")

        again = Link(chosen, version=version, will=WILL, on_message=received.append)
        await again.connect()
        async with asyncio.timeout(10):
            while len(received) < 2:
                await asyncio.sleep(0.01)
        assert received[1].payload == b"command"
        again.acknowledge(received[1])
        await again.publish("penstock/v1/d/other", b"a round trip, so that the acknowledgement has arrived")
        again.close()

        last = Link(chosen, version=version, will=WILL, on_message=received.append)
        await last.connect()
        await last.publish("penstock/v1/d/other", b"a round trip")
        assert len(received) == 2
        last.close()
