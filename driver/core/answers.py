"""Questions to a pool that may never answer: its disk can hang, and whoever asks must not."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from typing import Protocol, TypeVar

T = TypeVar("T")


def place_of(pool: str) -> str:
    """A part of the name of every thread that works in the pool, and in no other."""
    return f"[{pool}]"


class Answers(Protocol):
    """Puts questions to one pool."""

    def begin(self, question: Callable[[], T]) -> Future[T]:
        """Ask, and do not wait. PoolSilent: the pool has not answered for too long."""

    def note(self) -> None:
        """Somebody who asked the pool directly was answered."""

    @property
    def lately(self) -> bool:
        """Whether it has answered a moment ago, so that it may be asked directly."""

    @property
    def silent_for(self) -> float:
        """Seconds that a question has been waiting for its answer, once they are too many; or 0."""


class Direct:
    """Answers of a pool that cannot hang: a simulated one, or one that is asked by a test."""

    lately = True
    silent_for = 0.0

    def begin(self, question: Callable[[], T]) -> Future[T]:
        answer: Future[T] = Future()
        try:
            answer.set_result(question())
        except Exception as error:  # noqa: BLE001 - it is raised where the answer is read
            answer.set_exception(error)
        return answer

    def note(self) -> None:
        pass
