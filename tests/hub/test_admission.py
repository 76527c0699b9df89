from __future__ import annotations

import logging

import pytest

from hub.admission import REFUSED_MAX, Admission
from hub.intake import Client
from hub.quiet import Quiet
from hub.registry import Registry
from hub.settings import DeviceSettings
from streams.clock import ManualClock
from streams.metrics import Metrics
from tests.hub.records import event, state


class Inner:
    """An authority that knows one password."""

    def admit(self, client: Client, password: bytes | None) -> bool:
        return password == b"secret"

    def may_publish(self, client: Client, topic: str) -> bool:
        return topic == "yes"

    def may_subscribe(self, client: Client, topic_filter: str) -> bool:
        return topic_filter == "yes"


def client(device: str, address: str = "10.0.0.1:5") -> Client:
    return Client(device, None, address, 4)


def admission(*, clock: ManualClock | None = None, registry: Registry | None = None, **settings: object) -> Admission:
    made = DeviceSettings(**settings)  # type: ignore[arg-type]
    return Admission(Inner(), made, registry or Registry(), clock=clock or ManualClock(), metrics=Metrics())


def test_open_admission_leaves_the_decision_to_the_gateways_authority() -> None:
    gate = admission()
    assert gate.admit(client("any"), b"secret") and not gate.admit(client("any"), b"wrong")
    assert gate.may_publish(client("any"), "yes") and not gate.may_publish(client("any"), "no")
    assert gate.may_subscribe(client("any"), "yes") and not gate.may_subscribe(client("any"), "no")
    assert gate.refused() == []


def test_registered_devices_are_let_in_and_others_are_refused_and_listed(caplog: pytest.LogCaptureFixture) -> None:
    clock = ManualClock(time_ns=5_000_000_000)
    gate = admission(clock=clock, admission="registered", registered=("a", "b"))
    assert gate.admit(client("a"), b"secret") and not gate.admit(client("a"), b"wrong")
    with caplog.at_level(logging.WARNING):
        assert not gate.admit(client("c"), b"secret")
        clock.advance(1.0)
        assert not gate.admit(client("c", "10.0.0.2:6"), b"secret")
    assert gate.refused() == [{"device": "c", "address": "10.0.0.2:6", "last_ms": 6000, "count": 2}]
    assert caplog.text.count("refused 'c'") == 1 and "hub.devices.registered" in caplog.text


def test_only_the_last_refused_devices_are_remembered() -> None:
    gate = admission(admission="registered")
    for number in range(REFUSED_MAX + 10):
        gate.admit(client(f"d{number}"), None)
    gate.admit(client("d10"), None)
    listed = [each["device"] for each in gate.refused()]
    assert len(listed) == REFUSED_MAX and listed[0] == "d11" and listed[-1] == "d10"


def test_a_full_registry_takes_no_new_device_but_every_known_one() -> None:
    registry = Registry()
    registry.fold(event(state("a")))
    gate = admission(registry=registry, count_max=1)
    assert gate.admit(client("a"), b"secret") and not gate.admit(client("b"), b"secret")


def test_a_line_is_due_once_an_interval_and_says_how_often_it_was_held_back() -> None:
    clock = ManualClock()
    quiet = Quiet(clock, interval_s=10.0)
    assert [quiet.due("a"), quiet.due("a"), quiet.due("a"), quiet.due("b")] == [0, None, None, 0]
    clock.advance(10.0)
    assert [quiet.due("a"), quiet.due("a")] == [2, None]


def test_quiet_forgets_the_oldest_of_very_many() -> None:
    quiet = Quiet(ManualClock())
    assert [quiet.due(str(number)) for number in range(1001)] == [0] * 1001
    assert quiet.due("1000") is None and quiet.due("0") == 0
