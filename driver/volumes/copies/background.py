"""Copies that outlive their call: work in the background, with progress for those who ask again."""

from __future__ import annotations

import contextvars
import threading
import time
from collections.abc import Callable
from concurrent.futures import Executor, Future, wait
from typing import Final, TypeVar

from driver.core.errors import Busy, StillRunning
from driver.core.model import Bytes, Progress

T = TypeVar("T")

UNHEARD: Final = 300.0  # seconds for which a failure waits for somebody to hear it


class BackgroundCopies:
    """`executor_of` gives each pool its own, so that one that hangs stops no other's copies; never
    that whose workers call `run`: they would wait for each other. `clock` is monotonic.
    """

    def __init__(
        self,
        executor_of: Callable[[str], Executor],
        patience: float = 1.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._executor_of = executor_of
        self._patience = patience
        self.clock = clock
        self._stopping = threading.Event()
        self._unheard: dict[tuple[str, str], tuple[float, BaseException]] = {}

    def run(
        self, pool: str, text: str, total: Bytes, work: Callable[[Progress], T], lives: str = ""
    ) -> T:
        """What `work` returns. StillRunning if that takes longer than the caller's patience.

        `pool` is the name of the pool that it is about, `text` names the copy. If it fails when
        nobody waits any more, the next call hears why: one about the same `lives` of its sources,
        and not of long ago.
        """
        self._forget_old()
        if failed := self._unheard.pop((text, lives), None):
            raise failed[1]
        tally = _Progress(text, total, self._stopping)
        context = contextvars.copy_context()
        future = self._executor_of(pool).submit(context.run, work, tally.seen)
        wait([future], timeout=self._patience)
        if future.done():
            return future.result()
        future.add_done_callback(lambda done: self._remember((text, lives), done))
        raise StillRunning(f"{text} takes longer: try again", done=future, status=tally.status)

    def stop(self) -> None:
        """Copies that run end at their next step, as if they had never begun."""
        self._stopping.set()

    def _remember(self, what: tuple[str, str], done: Future[T]) -> None:
        if not done.cancelled() and (error := done.exception()):
            self._unheard[what] = self.clock(), error

    def _forget_old(self) -> None:
        now = self.clock()
        for what, (at, _) in tuple(self._unheard.items()):
            if now - at > UNHEARD:
                self._unheard.pop(what, None)


class _Progress:
    def __init__(self, text: str, total: Bytes, stopping: threading.Event) -> None:
        self._text = text
        self._total = total
        self._done = 0
        self._stopping = stopping

    def seen(self, length: Bytes) -> None:
        if self._stopping.is_set():
            raise Busy("the driver is being stopped; the copy begins anew when it is back")
        self._done += length

    def status(self) -> str:
        """100 % is said by the next call's success: the last bytes are still to be synced."""
        return f"{self._text}: {min(99, 100 * self._done // max(1, self._total))} %"
