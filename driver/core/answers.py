"""The port through which a pool is called, so that no caller waits for a disk that hangs."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from threading import Thread
from typing import Protocol, TypeVar

from driver.core.errors import Exhausted

T = TypeVar("T")


def thread_tag(pool: str) -> str:
    """Return the tag of the pool: a text that is part of the names of all threads which work in
    this pool, and of no other thread.
    """
    return f"[{pool}]"


def start_thread(thread: Thread) -> None:
    """Start a thread.

    Raises: Exhausted, if this process may have no more threads.
    """
    try:
        thread.start()
    except RuntimeError:
        raise Exhausted(
            "the driver ran out of a resource: no thread could be started (pids.max of its"
            " control group, or a limit of its user); try again"
        ) from None


class Answers(Protocol):
    """Makes the calls on one pool in separate threads, so that their caller need not wait while the
    pool's disk hangs.
    """

    def begin(self, question: Callable[[], T]) -> Future[T]:
        """Call `question`, a function that uses the pool, in a separate thread, and return the
        future of its result.

        Raises: PoolSilent: an earlier call on this pool has had no answer for too long.
        """

    def note(self) -> None:
        """Record that the pool has just answered a call that the caller made in its own thread."""

    @property
    def answered_recently(self) -> bool:
        """Return whether the pool answered a moment ago, so that a caller need not use
        another thread for its next call.
        """

    @property
    def silent_for(self) -> float:
        """Return for how many seconds the oldest running call has had no answer, if that is too
        long; else 0.
        """


class Direct:
    """Makes the calls on a pool in the caller's thread, for pools that cannot hang."""

    answered_recently = True
    silent_for = 0.0

    def begin(self, question: Callable[[], T]) -> Future[T]:
        """Call `question` in the caller's thread, and return a future that has its result or its
        exception already.
        """
        answer: Future[T] = Future()
        try:
            answer.set_result(question())
        except Exception as error:  # noqa: BLE001 - it is raised where the answer is read
            answer.set_exception(error)
        return answer

    def note(self) -> None:
        """Do nothing: a pool that cannot hang always counts as having answered recently."""
