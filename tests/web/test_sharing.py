"""Shared answers: one question for all, the last good answer while a peer is away, and a bound."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from hub.web.backend import RefusedError
from hub.web.sharing import ANSWERS_MAX, PATIENCE_S, SILENCE_S, Shared
from streams.clock import ManualClock
from streams.errors import TryLaterError


class Question:
    """Counts how often it is asked; waits until it may answer."""

    def __init__(self, answer: Any = "answer") -> None:
        self.answer = answer
        self.asked = 0
        self.may = asyncio.Event()
        self.may.set()

    async def __call__(self) -> Any:
        self.asked += 1
        await self.may.wait()
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


async def test_who_asks_while_a_question_is_under_way_shares_it() -> None:
    shared, question = Shared(ManualClock()), Question()
    question.may.clear()
    waiting = [asyncio.create_task(shared.ask("k", question, max_age_s=1, who="the peer")) for _ in range(5)]
    while not question.asked:
        await asyncio.sleep(0)
    question.may.set()
    assert {answer.value for answer in await asyncio.gather(*waiting)} == {"answer"}
    assert question.asked == 1


async def test_a_fresh_answer_is_not_asked_for_again() -> None:
    clock = ManualClock()
    shared, question = Shared(clock), Question()
    await shared.ask("k", question, max_age_s=1, who="the peer")
    clock.advance(0.9)
    await shared.ask("k", question, max_age_s=1, who="the peer")
    assert question.asked == 1
    clock.advance(0.2)
    await shared.ask("k", question, max_age_s=1, who="the peer")
    assert question.asked == 2


async def test_the_last_good_answer_stays_beside_the_problem() -> None:
    clock = ManualClock()
    shared, question = Shared(clock), Question()
    good = await shared.ask("k", question, max_age_s=1, who="the peer")
    clock.advance(60)
    question.answer = TryLaterError("away", retry_after_s=1)
    bad = await shared.ask("k", question, max_age_s=1, who="the peer")
    assert (bad.value, bad.time_ms, bad.problem) == ("answer", good.time_ms, "away")
    clock.advance(60)
    question.answer = "back"
    again = await shared.ask("k", question, max_age_s=1, who="the peer")
    assert (again.value, again.problem) == ("back", None)


async def test_a_failure_is_not_asked_again_and_again() -> None:
    shared, question = Shared(ManualClock()), Question(TryLaterError("away", retry_after_s=1))
    await shared.ask("k", question, max_age_s=1, who="the peer")
    answer = await shared.ask("k", question, max_age_s=1, who="the peer")
    assert question.asked == 1 and answer.value is None and answer.problem == "away"


async def test_a_page_that_is_closed_does_not_stop_the_question_of_the_others() -> None:
    shared, question = Shared(ManualClock()), Question()
    question.may.clear()
    closed = asyncio.create_task(shared.ask("k", question, max_age_s=1, who="the peer"))
    other = asyncio.create_task(shared.ask("k", question, max_age_s=1, who="the peer"))
    while not question.asked:
        await asyncio.sleep(0)
    closed.cancel()
    question.may.set()
    assert (await other).value == "answer"


async def test_our_own_mistakes_are_not_hidden_and_do_not_stick() -> None:
    shared, question = Shared(ManualClock()), Question(KeyError("x"))
    with pytest.raises(KeyError):
        await shared.ask("k", question, max_age_s=0, who="the peer")
    question.answer = "fine"
    assert (await shared.ask("k", question, max_age_s=0, who="the peer")).value == "fine"


async def test_no_more_than_the_bound_is_kept() -> None:
    shared, question = Shared(ManualClock()), Question()
    for key in range(ANSWERS_MAX + 10):
        await shared.ask(key, question, max_age_s=100, who="the peer")
    assert len(shared._kept) <= ANSWERS_MAX
    before = question.asked
    await shared.ask(ANSWERS_MAX + 9, question, max_age_s=100, who="the peer")
    assert question.asked == before, "the newest are kept"


async def test_nobody_waits_for_a_peer_that_hangs_and_soon_it_is_said() -> None:
    clock = ManualClock()
    shared, question = Shared(clock), Question("first")
    good = await shared.ask("k", question, max_age_s=1, who="the peer")
    clock.advance(60)
    question.may.clear()
    at_once = await shared.ask("k", question, max_age_s=1, who="the peer", patience_s=0)
    assert at_once == good, "what it last said, while it is merely slow"
    clock.advance(SILENCE_S)
    hanging = await shared.ask("k", question, max_age_s=1, who="the peer")
    assert (hanging.value, hanging.time_ms) == ("first", good.time_ms)
    assert hanging.problem == "there is no answer from the peer just now"
    question.answer = "second"
    question.may.set()
    back = await shared.ask("k", question, max_age_s=1, who="the peer", patience_s=60)
    assert (back.value, back.problem) == ("second", None) and question.asked == 2


async def test_what_was_never_answered_is_open_and_neither_empty_nor_wrong() -> None:
    clock = ManualClock()
    shared, question = Shared(clock), Question()
    question.may.clear()
    assert (await shared.ask("k", question, max_age_s=1, who="the peer", patience_s=0)).is_open
    clock.advance(PATIENCE_S)
    assert (await shared.ask("k", question, max_age_s=1, who="the peer")).is_open
    clock.advance(SILENCE_S)
    assert not (await shared.ask("k", question, max_age_s=1, who="the peer")).is_open
    question.may.set()


async def test_what_is_not_there_any_more_is_not_kept() -> None:
    clock = ManualClock()
    shared, question = Shared(clock), Question()
    await shared.ask("k", question, max_age_s=1, who="the peer")
    clock.advance(60)
    question.answer = RefusedError("there is no such device", status=404)
    answer = await shared.ask("k", question, max_age_s=1, who="the peer")
    assert answer.missing and answer.value is None and answer.problem == "there is no such device"
