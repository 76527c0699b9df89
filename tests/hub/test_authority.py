"""Who is let in as whom, and what the rules of users cover."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub.authority import DefaultAuthority, _covers
from hub.gateway_settings import GatewaySettings, TlsSettings, TopicRule
from hub.intake import Client
from hub.subscriptions import Held, SubscriptionTree
from streams.mqtt import Subscription


def authority(**settings: Any) -> DefaultAuthority:
    return DefaultAuthority(GatewaySettings(**settings))


def client(client_id: str, username: str | None = None, certificate: str | None = None) -> Client:
    return Client(client_id, username, "192.0.2.1:9", 5, certificate)


def test_a_user_is_the_device_of_its_name_and_no_other() -> None:
    rules = authority(users=("press:secret", "lathe:other"), identity="username")
    assert rules.admit(client("press", "press"), b"secret")
    assert rules.admit(client("press/app-1", "press"), b"secret")
    assert not rules.admit(client("lathe", "press"), b"secret")
    assert not rules.admit(client("press", "lathe"), b"secret")
    assert not rules.admit(client("presser", "press"), b"secret")


def test_a_certificate_is_as_good_as_a_password_for_the_device_of_its_name() -> None:
    rules = authority(
        plain=False,
        identity="certificate",
        tls=TlsSettings(port=0, certificate="x", client_certificates="required", client_ca="y"),
    )
    assert rules.admit(client("press", None, "press"), None)
    assert not rules.admit(client("lathe", None, "press"), None)
    assert not rules.admit(client("press"), None)


def test_an_application_of_a_device_has_none_of_its_topics() -> None:
    rules = authority()
    for topic in ("penstock/v1/press/commands", "penstock/v1/press/app/commands"):
        assert not rules.may_subscribe(client("press/app", "press"), topic)
        assert not rules.may_publish(client("press/app", "press"), topic)


@pytest.mark.parametrize(
    ("topic", "publish", "subscribe"),
    [
        ("hall/ann/x", True, True),
        ("hall/bob/x", False, True),
        ("hall/#", False, True),
        ("hall/+/x", False, True),
        ("#", False, False),
        ("+/ann/x", False, False),
        ("all", False, True),
        ("all/x", False, False),
        ("$SYS/broker/uptime", False, True),
        ("penstock/v1/c/frames", True, True),
        ("penstock/v1/d/frames", False, False),
    ],
)
def test_rules_say_what_a_user_may(topic: str, publish: bool, subscribe: bool) -> None:
    rules = authority(
        rules=(
            TopicRule(user="*", subscribe=("all", "$SYS/#")),
            TopicRule(user="ann", publish=("hall/%u/#",), subscribe=("hall/#",)),
        )
    )
    assert rules.may_publish(client("c", "ann"), topic) is publish
    assert rules.may_subscribe(client("c", "ann"), topic) is subscribe


@pytest.mark.parametrize("name", ["+", "#", "a/+"])
def test_a_name_with_a_wildcard_in_it_opens_nothing(name: str) -> None:
    rules = authority(rules=(TopicRule(publish=("hall/%c/%u",), subscribe=("hall/%c/%u",)),))
    assert not rules.may_subscribe(client(name, "ann"), f"hall/{name}/ann")
    assert not rules.may_subscribe(client("c", name), f"hall/c/{name}")


levels = st.sampled_from(["a", "b", "+", "#"])
filters = st.lists(levels, min_size=1, max_size=3).filter(lambda each: "#" not in each[:-1])
topics = st.lists(st.sampled_from(["a", "b", "c"]), min_size=1, max_size=4)


@given(allowed=filters, asked=filters, topic=topics)
def test_what_is_covered_gives_nothing_more(allowed: list[str], asked: list[str], topic: list[str]) -> None:
    """Invariant: if a filter is allowed because of another one, every topic that fits it fits that one."""
    if _covers(allowed, asked) and _fits(asked, topic):
        assert _fits(allowed, topic)


def _fits(levels: list[str], topic: list[str]) -> bool:
    tree = SubscriptionTree()
    tree.add("c", Held(Subscription("/".join(levels))))
    return bool(tree.match("/".join(topic), lambda _: True))
