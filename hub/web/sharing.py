"""One question to a peer serves every open page: answers are shared while fresh, and kept while a peer is away.

No page waits for a peer that hangs: after `PATIENCE_S` it goes on with the last good answer, and after `SILENCE_S` with
a sentence that says so. The question stays under way, and its answer is there for who asks next.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Any

from hub.web.backend import RefusedError
from streams.clock import Clock
from streams.errors import PenstockError

PATIENCE_S = 0.4
SILENCE_S = 1.2
ANSWERS_MAX = 512  # the answers not asked for the longest are forgotten first


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """The last good answer (None: there was none), when it was given, and what is wrong now, as a sentence.

    Neither a value nor a problem: it is not known yet.
    """

    value: Any | None
    time_ms: int | None
    problem: str | None
    missing: bool = False
    """The peer is well and says that there is no such thing."""

    @property
    def is_open(self) -> bool:
        """Whether nothing can be said yet."""
        return self.value is None and self.problem is None


def silent(who: str) -> str:
    return f"there is no answer from {who} just now"


@dataclass(slots=True)
class _Kept:
    answer: Answer
    asked_ns: int
    """When the question under way was asked; without one, when the last was answered."""
    task: asyncio.Task[Answer] | None = None


class Shared:
    """Answers by key. Belongs to one event loop."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._kept: OrderedDict[Any, _Kept] = OrderedDict()

    async def ask(
        self,
        key: Any,
        question: Callable[[], Awaitable[Any]],
        *,
        max_age_s: float,
        who: str,
        patience_s: float = PATIENCE_S,
    ) -> Answer:
        """The answer to `question`, at most `max_age_s` old. Who asks while a question is under way waits for that one.

        A PenstockError becomes `problem`, beside the last good answer; so does a peer, `who`, that hangs.
        """
        kept = self._kept.get(key)
        if kept is None:
            kept = self._kept[key] = _Kept(Answer(value=None, time_ms=None, problem=None), asked_ns=0)
            self._forget()
        elif kept.task is None and self._clock.monotonic_ns() - kept.asked_ns < max_age_s * 1e9:
            return kept.answer
        self._kept.move_to_end(key)
        if kept.task is None:
            kept.asked_ns = self._clock.monotonic_ns()
            kept.task = asyncio.create_task(self._answer(kept, question), name=f"ask {key}")
        task = kept.task
        await asyncio.wait([task], timeout=max(0.0, patience_s - self._waited_s(kept)))  # never cancels it
        return task.result() if task.done() else self._meanwhile(kept, who)

    def _meanwhile(self, kept: _Kept, who: str) -> Answer:
        if kept.answer.problem is not None or self._waited_s(kept) < SILENCE_S:
            return kept.answer
        return replace(kept.answer, problem=silent(who))

    def _waited_s(self, kept: _Kept) -> float:
        return (self._clock.monotonic_ns() - kept.asked_ns) / 1e9

    async def _answer(self, kept: _Kept, question: Callable[[], Awaitable[Any]]) -> Answer:
        try:
            value = await question()
            answer = Answer(value=value, time_ms=self._clock.time_ns() // 1_000_000, problem=None)
        except RefusedError as error:
            answer = Answer(value=None, time_ms=None, problem=str(error), missing=error.status == 404)
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
