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
    """Runs copies that may take longer than their calls, and remembers their failures for the next
    call.

    `executor_of`: returns, for a pool's name, an executor of its own, so that a pool that hangs
    stops no other's copies. It must not be one whose workers call `run`: they would wait for
    each other. `patience`: seconds that a call waits for its copy; `clock`: monotonic seconds.
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
        """Run `work` in the pool's executor and return what it returns.

        `pool`: the pool's name; `text`: names the copy, for people and among failures; `total`:
        bytes to copy, for the progress; `lives`: the incarnations of its sources. If a copy
        fails when no call waits for it, the next call with the same `text` and `lives` raises
        its error, within UNHEARD seconds.

        Raises: StillRunning: it takes longer than the caller's patience, and goes on; what
        `work` raises.
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
        """Make all running copies fail with Busy at their next step, so that nothing of them is
        left.
        """
        self._stopping.set()

    def _remember(self, what: tuple[str, str], done: Future[T]) -> None:
        """Keep the error of a copy that failed, for the next call."""
        if not done.cancelled() and (error := done.exception()):
            self._unheard[what] = self.clock(), error

    def _forget_old(self) -> None:
        """Drop the errors that are older than UNHEARD seconds."""
        now = self.clock()
        for what, (at, _) in tuple(self._unheard.items()):
            if now - at > UNHEARD:
                self._unheard.pop(what, None)


class _Progress:
    """How much of a copy is done. `total`: bytes; `stopping`: ends the copy when it is set."""

    def __init__(self, text: str, total: Bytes, stopping: threading.Event) -> None:
        self._text = text
        self._total = total
        self._done = 0
        self._stopping = stopping

    def seen(self, length: Bytes) -> None:
        """Count `length` bytes more as copied. Raises: Busy: the driver is being stopped."""
        if self._stopping.is_set():
            raise Busy("the driver is being stopped; the copy begins anew when it is back")
        self._done += length

    def status(self) -> str:
        """Return the progress for people. It never says 100 %, because the last bytes are still to
        be synced: the next call's success says that.
        """
        return f"{self._text}: {min(99, 100 * self._done // max(1, self._total))} %"
