"""A session alone: windows, order, what survives a reconnect, bounds."""

from __future__ import annotations

from typing import Any

import pytest

from hub.session import Outgoing, QueueBudget, Session
from streams.mqtt import PacketType, Property, Publish

SECOND_NS = 10**9


def session(**limits: Any) -> Session:
    given = {"inflight_max": 3, "queue_messages_max": 10, "queue_bytes_max": 100_000, "budget": QueueBudget(1 << 20)}
    return Session("c", **{**given, **limits})


def outgoing(payload: bytes = b"x", qos: int = 1, **more: Any) -> Outgoing:
    return Outgoing("t", payload, qos, **more)


def drain(of: Session, now_ns: int = 0) -> list[Publish]:
    packets = []
    while (packet := of.next(now_ns)) is not None:
        packets.append(packet)
    return packets


def test_no_more_are_on_the_way_than_the_window_allows() -> None:
    one = session()
    for number in range(5):
        assert one.enqueue(outgoing(b"%d" % number))
    first = drain(one)
    assert [packet.payload for packet in first] == [b"0", b"1", b"2"]
    assert len({packet.packet_id for packet in first}) == 3
    assert one.on_puback(first[1].packet_id)
    assert [packet.payload for packet in drain(one)] == [b"3"]
    assert one.unsettled == 4


def test_a_message_of_qos_0_waits_behind_those_before_it_but_needs_no_window() -> None:
    one = session(inflight_max=1)
    for payload, qos in ((b"a", 1), (b"b", 0), (b"c", 1), (b"d", 0)):
        one.enqueue(outgoing(payload, qos))
    sent = drain(one)
    assert [packet.payload for packet in sent] == [b"a", b"b"]
    one.on_puback(sent[0].packet_id)
    assert [packet.payload for packet in drain(one)] == [b"c", b"d"]


def test_what_is_not_acknowledged_is_sent_again_first_in_order_as_duplicates() -> None:
    one = session()
    for number in range(5):
        one.enqueue(outgoing(b"%d" % number))
    first = drain(one)
    one.on_puback(first[0].packet_id)
    assert one.resume(receive_maximum=10) == []
    again = drain(one)
    assert [(packet.payload, packet.dup) for packet in again] == [(b"1", True), (b"2", True), (b"3", False)]
    assert [packet.packet_id for packet in again[:2]] == [packet.packet_id for packet in first[1:]]


def test_a_client_that_comes_back_with_a_smaller_window_is_not_flooded() -> None:
    one = session()
    for number in range(3):
        one.enqueue(outgoing(b"%d" % number))
    drain(one)
    one.resume(receive_maximum=1)
    again = drain(one)
    assert [packet.payload for packet in again] == [b"0"]
    one.on_puback(again[0].packet_id)
    assert [packet.payload for packet in drain(one)] == [b"1"]


def test_qos_2_takes_four_steps_and_a_reconnect_goes_on_where_it_stood() -> None:
    told: list[bool] = []
    one = session()
    one.enqueue(outgoing(b"a", 2, on_delivered=told.append))
    [packet] = drain(one)
    assert one.on_pubrec(packet.packet_id)
    [release] = one.resume(receive_maximum=10)
    assert (release.kind, release.packet_id) == (PacketType.PUBREL, packet.packet_id)
    assert drain(one) == []
    assert one.on_pubrec(packet.packet_id), "a PUBREC that comes twice is answered twice"
    assert told == []
    assert one.on_pubcomp(packet.packet_id)
    assert told == [True]
    assert not one.on_pubcomp(packet.packet_id)


def test_acknowledgements_of_nothing_change_nothing() -> None:
    one = session()
    one.enqueue(outgoing(b"a", 2))
    [packet] = drain(one)
    assert not one.on_puback(packet.packet_id), "QoS 2 is not acknowledged by PUBACK"
    assert not one.on_puback(999)
    assert not one.on_pubrec(999)
    assert not one.on_pubcomp(packet.packet_id)
    assert one.unsettled == 1


def test_packet_identifiers_in_use_are_not_given_twice() -> None:
    one = session(inflight_max=65_535, queue_messages_max=100_000, queue_bytes_max=1 << 30, budget=QueueBudget(1 << 30))
    for _ in range(65_534):
        one.enqueue(outgoing())
    sent = drain(one)
    one.on_puback(sent[100].packet_id)
    for _ in range(2):
        one.enqueue(outgoing())
    assert {packet.packet_id for packet in drain(one)} == {65_535, sent[100].packet_id}


def test_the_queue_is_bounded_by_messages_and_by_bytes() -> None:
    one = session(queue_messages_max=2)
    assert [one.enqueue(outgoing()) for _ in range(3)] == [True, True, False]
    assert one.enqueue(outgoing(), count=False)
    one = session(queue_bytes_max=1000)
    assert one.enqueue(outgoing(bytes(700)))
    assert not one.enqueue(outgoing(bytes(700)))


def test_the_bytes_of_a_message_count_until_it_is_acknowledged() -> None:
    one = session(queue_bytes_max=1000)
    one.enqueue(outgoing(bytes(700)))
    [packet] = drain(one)
    assert not one.enqueue(outgoing(bytes(700)))
    one.on_puback(packet.packet_id)
    assert one.enqueue(outgoing(bytes(700)))


def test_all_sessions_together_are_bounded_and_a_discarded_one_gives_back() -> None:
    budget = QueueBudget(1000)
    one, two = session(budget=budget), session(budget=budget)
    assert one.enqueue(outgoing(bytes(700)))
    assert not two.enqueue(outgoing(bytes(700)))
    drain(one)
    one.discard()
    assert budget.used == 0
    assert two.enqueue(outgoing(bytes(700)))


def test_a_message_whose_time_is_over_is_not_sent() -> None:
    told: list[bool] = []
    one = session()
    one.enqueue(outgoing(b"late", expires_ns=5 * SECOND_NS, on_delivered=told.append))
    one.enqueue(outgoing(b"good", expires_ns=9 * SECOND_NS))
    [packet] = drain(one, 6 * SECOND_NS)
    assert packet.payload == b"good"
    assert packet.properties == {Property.MESSAGE_EXPIRY_INTERVAL: 3}
    assert told == [False]


@pytest.mark.parametrize("sent", [False, True])
def test_who_waits_for_a_delivery_is_told_that_the_session_ended(sent: bool) -> None:
    told: list[bool] = []
    one = session()
    one.enqueue(outgoing(on_delivered=told.append))
    if sent:
        drain(one)
    one.discard()
    one.discard()
    assert told == [False]


def test_qos_0_is_delivered_when_it_is_sent() -> None:
    told: list[bool] = []
    one = session()
    one.enqueue(outgoing(qos=0, on_delivered=told.append))
    assert told == []
    drain(one)
    assert told == [True]


def test_a_client_may_refuse_a_message() -> None:
    told: list[bool] = []
    one = session()
    for qos in (1, 2):
        one.enqueue(outgoing(qos=qos, on_delivered=told.append))
    first, second = drain(one)
    assert one.on_puback(first.packet_id, failed=True)
    assert one.on_pubrec(second.packet_id, failed=True)
    assert told == [False, False]
    assert one.unsettled == 0


def test_a_message_of_qos_2_that_came_twice_is_taken_once() -> None:
    one = session()
    assert one.begin_taking(7) is None
    assert one.begin_taking(7) is False, "it is on its way: no answer yet"
    assert not one.release(7)
    one.end_taking(7, taken=True)
    assert one.begin_taking(7) is True
    assert one.taken == 1
    assert one.release(7)
    one.on_released(7)
    assert one.taken == 0
    assert not one.release(7)
    assert one.begin_taking(7) is None, "the number is free again"


def test_a_message_of_qos_2_that_could_not_be_taken_may_come_again() -> None:
    one = session()
    one.begin_taking(7)
    one.end_taking(7, taken=False)
    assert one.begin_taking(7) is None
