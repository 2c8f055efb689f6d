"""The port through which a pool is asked, so that no caller waits for a disk that hangs."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from typing import Protocol, TypeVar

T = TypeVar("T")


def thread_tag(pool: str) -> str:
    """Return a part of the names of all threads that work in the pool, and of no others."""
    return f"[{pool}]"


class Answers(Protocol):
    """Asks one pool in threads of its own, so that the caller need not wait for its disk."""

    def begin(self, question: Callable[[], T]) -> Future[T]:
        """Call `question` in a thread of the pool, and return the future of its result.

        Raises: PoolSilent: the pool has not answered for too long.
        """

    def note(self) -> None:
        """Record that the pool answered now to a call without `begin`."""

    @property
    def answered_recently(self) -> bool:
        """Return whether the pool answered a moment ago, so that `begin` is not needed."""

    @property
    def silent_for(self) -> float:
        """Return for how many seconds the oldest question has had no answer, if that is too long;
        else 0.
        """


class Direct:
    """Asks a pool in the thread of the caller, because it cannot hang."""

    answered_recently = True
    silent_for = 0.0

    def begin(self, question: Callable[[], T]) -> Future[T]:
        """Call `question` now, and return its result or its exception as a future."""
        answer: Future[T] = Future()
        try:
            answer.set_result(question())
        except Exception as error:  # noqa: BLE001 - it is raised where the answer is read
            answer.set_exception(error)
        return answer

    def note(self) -> None:
        """Do nothing: every answer is recent."""
