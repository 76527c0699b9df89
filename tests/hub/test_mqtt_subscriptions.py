"""The tree of topic filters and the retained messages, against a reference that is too simple to be wrong."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub.retained import RetainedMessages
from hub.subscriptions import Held, SubscriptionTree, parse_filter
from streams.mqtt import MalformedPacket, Publish, Reason, Subscription

HIDDEN = {"own"}

level = st.sampled_from(["a", "b", "", "own", "$x"])
topics = st.lists(level, min_size=1, max_size=4).map("/".join).filter(bool)
filters = (
    st.tuples(st.lists(level | st.just("+"), max_size=4), st.sampled_from([[], ["#"]]))
    .map(lambda parts: "/".join([*parts[0], *parts[1]]))
    .filter(bool)
)


def fits(topic_filter: str, topic: str) -> bool:
    """5.0, 4.7, word for word, as a regular expression."""
    hidden = topic.startswith("$") or topic.split("/")[0] in HIDDEN
    if hidden and topic_filter[0] in "+#":
        return False
    if topic_filter == "#":
        return True
    pattern = re.escape(topic_filter).replace(r"\+", "[^/]*")
    if pattern.endswith(r"/\#"):
        pattern = pattern[: -len(r"/\#")] + "(/.*)?"
    return re.fullmatch(pattern, topic) is not None


def tree(*filters: str) -> SubscriptionTree:
    made = SubscriptionTree(hidden=HIDDEN)
    for number, each in enumerate(filters):
        made.add(f"client {number}", Held(Subscription(each, 1)))
    return made


def nobody(client_id: str) -> bool:
    return False


@given(st.lists(filters, max_size=8), topics)
def test_the_tree_finds_whom_the_specification_names(given_filters: list[str], topic: str) -> None:
    found = tree(*given_filters).match(topic, nobody)
    assert set(found) == {f"client {n}" for n, each in enumerate(given_filters) if fits(each, topic)}


@given(filters, st.lists(topics, max_size=8, unique=True))
def test_a_new_subscription_gets_what_was_retained_on_topics_that_fit(
    topic_filter: str, given_topics: list[str]
) -> None:
    retained = RetainedMessages(messages_max=100, bytes_max=100_000, hidden=HIDDEN)
    for topic in given_topics:
        assert retained.keep(Publish(topic, b"x"), None)
    _, levels = parse_filter(topic_filter)
    found = [kept.message.topic for kept in retained.matching(levels, 0)]
    assert sorted(found) == sorted(topic for topic in given_topics if fits(topic_filter, topic))


@given(st.lists(filters, max_size=8))
def test_nothing_is_left_of_a_tree_when_all_are_gone(given_filters: list[str]) -> None:
    made = tree(*given_filters)
    for number, each in enumerate(given_filters):
        assert made.remove(f"client {number}", each)
        assert not made.remove(f"client {number}", each)
    assert made.is_empty()


@given(st.lists(topics, max_size=8))
def test_nothing_is_left_of_retained_messages_when_all_are_removed(given_topics: list[str]) -> None:
    retained = RetainedMessages(messages_max=100, bytes_max=100_000)
    for topic in given_topics:
        retained.keep(Publish(topic, b"x"), None)
    for topic in given_topics:
        retained.keep(Publish(topic, b""), None)
    assert len(retained) == 0
    assert retained.matching(["#"], 0) == []
    assert retained.keep(Publish("a", bytes(99_000)), None), "their bytes are free again"


@pytest.mark.parametrize(
    "topic_filter",
    ["", "a+", "+a/b", "a#", "#/a", "a/#/b", "$share/g", "$share//a", "$share/g/", "$share/g+/a", "a/" * 128 + "a"],
)
def test_what_is_no_topic_filter_is_refused(topic_filter: str) -> None:
    with pytest.raises(MalformedPacket, match="is not a topic filter") as caught:
        parse_filter(topic_filter)
    assert caught.value.reason == Reason.TOPIC_FILTER_INVALID


@pytest.mark.parametrize(("topic_filter", "share"), [("a/+/#", None), ("/", None), ("$share/g/a/#", "g")])
def test_a_topic_filter_has_levels_and_perhaps_a_share(topic_filter: str, share: str | None) -> None:
    assert parse_filter(topic_filter)[0] == share


def test_a_client_with_several_filters_that_fit_gets_the_highest_qos_and_all_identifiers() -> None:
    made = SubscriptionTree()
    made.add("c", Held(Subscription("a/#", 0), 1))
    made.add("c", Held(Subscription("a/b", 2), 2))
    made.add("c", Held(Subscription("x", 2), 3))
    found = made.match("a/b", nobody)["c"]
    assert (found.qos, sorted(found.identifiers)) == (2, [1, 2])
    assert made.qos_of("c", "a/b") == 2
    assert made.qos_of("c", "a/c") == 0
    assert made.qos_of("c", "b") is None
    assert made.qos_of("d", "a/b") is None


def test_subscribing_again_replaces() -> None:
    made = SubscriptionTree()
    assert made.add("c", Held(Subscription("a", 0)))
    assert not made.add("c", Held(Subscription("a", 1)))
    assert made.match("a", nobody)["c"].qos == 1


def test_the_holders_of_a_shared_subscription_take_turns() -> None:
    made = SubscriptionTree()
    for client_id in "abc":
        made.add(client_id, Held(Subscription("$share/g/t", 1)))
    made.add("d", Held(Subscription("$share/h/t", 1)))
    found = [sorted(made.match("t", lambda _: True)) for _ in range(4)]
    assert found == [["a", "d"], ["b", "d"], ["c", "d"], ["a", "d"]]


def test_a_shared_subscription_passes_over_who_is_not_there() -> None:
    made = SubscriptionTree()
    for client_id in "abc":
        made.add(client_id, Held(Subscription("$share/g/t", 1)))
    found = [next(iter(made.match("t", lambda client_id: client_id in "ac"))) for _ in range(4)]
    assert found == ["a", "c", "a", "c"]
    assert len(made.match("t", nobody)) == 1, "when nobody is there, it waits for one of them"


def test_retained_messages_are_bounded_by_number_and_bytes() -> None:
    retained = RetainedMessages(messages_max=2, bytes_max=10_000)
    assert retained.keep(Publish("a", b"1"), None)
    assert retained.keep(Publish("b", b"1"), None)
    assert not retained.keep(Publish("c", b"1"), None)
    assert retained.keep(Publish("a", b"2"), None), "there is room for a newer one"
    assert not retained.keep(Publish("b", bytes(10_000)), None)
    assert [kept.message.payload for kept in retained.matching(["#"], 0)] == [b"2"]


def test_a_retained_message_ends_when_its_time_is_over() -> None:
    retained = RetainedMessages(messages_max=2, bytes_max=10_000)
    retained.keep(Publish("a", b"1"), 100)
    assert len(retained.matching(["a"], 99)) == 1
    assert retained.matching(["a"], 100) == []
    assert len(retained) == 0
