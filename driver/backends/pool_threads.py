"""The threads that make the calls on one pool, and the time for which the pool has not answered.

They are daemon threads without an executor: a thread that is stuck in the kernel must not keep the
process from ending. There are at most THREADS of them.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, Final, TypeVar

from driver.core.answers import start_thread
from driver.core.errors import PoolSilent

THREADS: Final = 4  # questions to one pool at a time
SILENT: Final = 5.0  # seconds without an answer, after which a pool counts as unavailable
SILENT_LVM: Final = 30.0  # the same: a look waits for commands that change the volume group
LATELY: Final = 0.2  # seconds for which an answer shows that the pool can be asked directly

T = TypeVar("T")


class Answering:
    """Makes the calls on one pool in threads of its own, so that a caller need not wait for the
    pool's disk. Thread-safe. Implements the interface `Answers` of driver/core.

    A thread is started when a call needs one, up to a fixed number of threads.
    """

    def __init__(
        self, name: str, clock: Callable[[], float] = time.monotonic, silent: float = SILENT
    ) -> None:
        """Prepare to ask the pool `name`. `clock`: monotonic seconds.

        `silent`: seconds that a pool which is well, and busy, may take for an answer.
        """
        self._name = name
        self._silent = silent
        self._clock = clock
        self._asked: queue.SimpleQueue[tuple[Future[Any], Callable[[], Any]] | None] = (
            queue.SimpleQueue()
        )
        self._lock = threading.Lock()
        self._threads = 0
        self._waiting: dict[Future[Any], float] = {}  # since when
        self._answered = -float("inf")

    def begin(self, question: Callable[[], T]) -> Future[T]:
        """Call the function `question` in a thread of the pool, and return the future of its result
        or exception.

        Raises: PoolSilent if an earlier call on the pool has not returned for longer than the
        number of seconds given to the constructor; Exhausted if no thread could be started.
        """
        if silent := self.silent_for:
            raise PoolSilent(f"pool {self._name} has not answered for {silent:.0f} s")
        answer: Future[T] = Future()
        with self._lock:
            if self._threads < min(THREADS, len(self._waiting) + 1):
                thread = threading.Thread(target=self._serve, name=f"ask-{self._name}", daemon=True)
                start_thread(thread)
                self._threads += 1
            self._waiting[answer] = self._clock()
        self._asked.put((answer, question))
        return answer

    def close(self) -> None:
        """Accept no more calls: each thread ends after its current call."""
        for _ in range(THREADS):
            self._asked.put(None)

    def note(self) -> None:
        self._answered = self._clock()

    @property
    def answered_recently(self) -> bool:
        return self._clock() - self._answered < LATELY

    @property
    def silent_for(self) -> float:
        oldest = min(tuple(self._waiting.values()), default=None)
        silent = 0.0 if oldest is None else self._clock() - oldest
        return silent if silent > self._silent else 0.0

    def _serve(self) -> None:
        while asked := self._asked.get():
            answer, question = asked
            if not answer.set_running_or_notify_cancel():
                self._forget(answer)
                continue
            try:
                result = question()
            except Exception as error:  # noqa: BLE001 - it is raised where the answer is read
                self._forget(answer)
                answer.set_exception(error)
            else:
                self._forget(answer)
                self.note()
                answer.set_result(result)

    def _forget(self, answer: Future[Any]) -> None:
        with self._lock:
            del self._waiting[answer]
