"""Questions to a pool that may never answer: its disk can hang, and whoever asks must not."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from typing import Protocol, TypeVar

T = TypeVar("T")


def thread_tag(pool: str) -> str:
    """Return a part of the names of all threads that work in the pool, and of no others."""
    return f"[{pool}]"


class Answers(Protocol):
    """Puts questions to one pool, in threads of its own, so that the caller need not wait for its
    disk.
    """

    def begin(self, question: Callable[[], T]) -> Future[T]:
        """Ask the pool and return a future of the answer, without waiting. Raises: PoolSilent: the
        pool has not answered for too long.
        """

    def note(self) -> None:
        """Note that the pool has answered now, to somebody who asked it directly."""

    @property
    def answered_recently(self) -> bool:
        """Return whether the pool has answered a moment ago, so that it may be asked directly."""

    @property
    def silent_for(self) -> float:
        """Return for how many seconds a question has been waiting for its answer, if that is too
        long; else 0.
        """


class Direct:
    """Asks a pool in the caller's thread: one that cannot hang, simulated or in a test."""

    answered_recently = True
    silent_for = 0.0

    def begin(self, question: Callable[[], T]) -> Future[T]:
        """Ask the pool now and return its answer, or the exception, as a future."""
        answer: Future[T] = Future()
        try:
            answer.set_result(question())
        except Exception as error:  # noqa: BLE001 - it is raised where the answer is read
            answer.set_exception(error)
        return answer

    def note(self) -> None:
        pass
