"""One question to a peer serves every open page: answers are shared while fresh, and kept while a peer is away."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from streams.clock import Clock
from streams.errors import PenstockError

ANSWERS_MAX = 512  # the answers not asked for the longest are forgotten first


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """The last good answer (None: there was none), when it was given, and what is wrong now, as a sentence."""

    value: Any | None
    time_ms: int | None
    problem: str | None


@dataclass(slots=True)
class _Kept:
    answer: Answer
    asked_ns: int
    task: asyncio.Task[Answer] | None = None


class Shared:
    """Answers by key. Belongs to one event loop."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._kept: OrderedDict[Any, _Kept] = OrderedDict()

    async def ask(self, key: Any, question: Callable[[], Awaitable[Any]], *, max_age_s: float) -> Answer:
        """The answer to `question`, at most `max_age_s` old. Who asks while a question is under way waits for that one.

        A PenstockError becomes `problem`, beside the last good answer.
        """
        kept = self._kept.get(key)
        if kept is None:
            kept = self._kept[key] = _Kept(Answer(value=None, time_ms=None, problem=None), asked_ns=0)
            self._forget()
        elif kept.task is None and self._clock.monotonic_ns() - kept.asked_ns < max_age_s * 1e9:
            return kept.answer
        self._kept.move_to_end(key)
        if kept.task is None:
            kept.task = asyncio.create_task(self._answer(kept, question), name=f"ask {key}")
        return await asyncio.shield(kept.task)  # a page that is closed must not stop the question of the others

    async def _answer(self, kept: _Kept, question: Callable[[], Awaitable[Any]]) -> Answer:
        try:
            value = await question()
            answer = Answer(value=value, time_ms=self._clock.time_ns() // 1_000_000, problem=None)
        except PenstockError as error:
            answer = Answer(value=kept.answer.value, time_ms=kept.answer.time_ms, problem=str(error))
        finally:
            kept.task = None
            kept.asked_ns = self._clock.monotonic_ns()
        kept.answer = answer
        return answer

    def _forget(self) -> None:
        idle = [key for key, kept in self._kept.items() if kept.task is None]
        for key in idle[: max(0, len(self._kept) - ANSWERS_MAX)]:
            del self._kept[key]
