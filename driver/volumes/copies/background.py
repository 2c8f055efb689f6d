"""Copies that continue after their call ended, and report their progress to calls that repeat
it.
"""

from __future__ import annotations

import contextvars
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, Future, wait
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from driver.core.errors import Busy, Exhausted, StillRunning
from driver.core.model import Bytes, Image, Progress
from driver.core.ports.measures import MEASURES, Count, Measure
from driver.core.ports.node_events import NodeEvents
from driver.core.quantity import show_bytes

T = TypeVar("T")

KEEP_FAILURE: Final = 300.0  # seconds for which an error is kept for the next call


@dataclass(frozen=True, slots=True)
class CopyProgress:
    """A running copy. `text`: its source and target, for people; `total`, `copied`: bytes;
    `seconds`: how long it has run; `claim`: the PersistentVolumeClaim that waits for it, as
    NAMESPACE/CLAIM, or "".
    """

    text: str
    total: Bytes
    copied: Bytes
    seconds: float
    claim: str = ""


class BackgroundCopies:
    """Runs copies of images in other threads. A CSI call waits for its copy only for `timeout`
    seconds; if the copy fails later, the next call for the same copy gets its error.

    `executor_of`: returns the executor of the pool with this name; each pool has its own, so that a
    pool that hangs does not delay copies to other pools. The workers of these executors must not
    call `run`, since they would wait for each other. `clock`: returns monotonic seconds; `events`:
    records how a copy ends after its call has stopped waiting.
    """

    def __init__(
        self,
        executor_of: Callable[[str], Executor],
        timeout: float = 1.0,
        clock: Callable[[], float] = time.monotonic,
        events: NodeEvents | None = None,
    ) -> None:
        self._executor_of = executor_of
        self._timeout = timeout
        self.clock = clock
        self._events = events
        self._stopping = threading.Event()
        self._failures: dict[tuple[str, str], tuple[float, BaseException]] = {}
        self._running: dict[Future[Any], _Progress] = {}  # those that their calls do not wait for

    def run(  # noqa: PLR0913 - what is copied, and how people call it
        self,
        pool: str,
        text: str,
        total: Bytes,
        work: Callable[[Progress], T],
        incarnations: str = "",
        *,
        images: Sequence[Image] = (),
    ) -> T:
        """Run `work`, a function that copies bytes and reports them by the function that it gets,
        in the pool's executor, and return its result.

        `pool`: the pool's name; `text`: names source and target of the copy, and identifies it;
        `total`: bytes to copy, for the progress; `incarnations`: random texts of the sources, which
        change when a source is deleted and created again; `images`: the images that the copy
        creates. If a copy fails after its call has stopped waiting, the next call with the same
        `text` and `incarnations` within KEEP_FAILURE seconds raises its error.

        Raises: StillRunning: the copy takes longer than `timeout`, and continues in the background;
        what `work` raises.
        """
        self._forget_old()
        if failed := self._failures.pop((text, incarnations), None):
            raise failed[1]
        progress = _Progress(text, total, self._stopping, _claim(images))
        context = contextvars.copy_context()
        future = _submit(self._executor_of(pool), lambda: context.run(work, progress.add))
        wait([future], timeout=self._timeout)
        if future.done():
            return future.result()
        self._running[future] = progress
        self._record(images, "CopyStarted", f"{text}: {show_bytes(total)} are copied")
        future.add_done_callback(lambda done: self._ended((text, incarnations), done, images))
        raise StillRunning(f"{text} takes longer: try again", done=future, status=progress.status)

    def stop(self) -> None:
        """Make each running copy fail with Busy when it reports its progress next. The copy then
        removes its unfinished image.
        """
        self._stopping.set()

    def running(self) -> Sequence[CopyProgress]:
        """Return the progress of each running copy whose call has stopped waiting for it."""
        return [
            CopyProgress(
                each.text, each.total, min(each.done, each.total), each.seconds, each.claim
            )
            for each in tuple(self._running.values())
        ]

    def remaining(self) -> Sequence[Bytes]:
        """Return, for each running copy whose call has stopped waiting for it, how many bytes are
        not copied yet.
        """
        return [progress.remaining for progress in tuple(self._running.values())]

    def _ended(self, key: tuple[str, str], done: Future[T], images: Sequence[Image]) -> None:
        """Store the error of a copy that failed for the next call, and record how the copy
        ended.
        """
        if progress := self._running.pop(done, None):
            failed = done.cancelled() or done.exception()
            MEASURES.observe(Measure.COPY, progress.seconds, "failed" if failed else "ok")
            MEASURES.add(Count.COPIED_BYTES, progress.done)
            if failed:
                text = f"{progress.status()}, and failed: {failed}"
                self._record(images, "CopyFailed", text, warning=True)
            else:
                self._record(images, "CopyCompleted", f"{key[0]}: done")
        if not done.cancelled() and (error := done.exception()):
            self._failures[key] = self.clock(), error

    def _record(
        self, images: Sequence[Image], reason: str, text: str, *, warning: bool = False
    ) -> None:
        """Record an event of each image for which somebody in Kubernetes waits."""
        if not self._events:
            return
        for image in images:
            if image.objects.claim:
                self._events.record(reason, text, warning=warning, image=image)

    def _forget_old(self) -> None:
        """Drop the errors that are older than KEEP_FAILURE seconds."""
        now = self.clock()
        for key, (at, _) in tuple(self._failures.items()):
            if now - at > KEEP_FAILURE:
                self._failures.pop(key, None)


def _claim(images: Sequence[Image]) -> str:
    """Return the first claim that waits for one of the images, as NAMESPACE/CLAIM, or ""."""
    names = (image.objects for image in images)
    return next((f"{each.namespace}/{each.claim}" for each in names if each.claim), "")


class _Progress:
    """How much of a copy is done. `total`: bytes; `stopping`: ends the copy when it is set;
    `claim`: who waits for it.
    """

    def __init__(self, text: str, total: Bytes, stopping: threading.Event, claim: str) -> None:
        self.text = text
        self.claim = claim
        self.total = total
        self.done = 0
        self._begun = time.monotonic()
        self._stopping = stopping

    def add(self, length: Bytes) -> None:
        """Count `length` bytes more as copied. Raises: Busy: the driver is being stopped."""
        if self._stopping.is_set():
            raise Busy(
                "the driver is being stopped; the copy is started again when the call is repeated"
            )
        self.done += length

    @property
    def remaining(self) -> Bytes:
        """Return the bytes that are still to be copied."""
        return max(0, self.total - self.done)

    @property
    def seconds(self) -> float:
        """Return for how long the copy has been at work, or waited for a thread."""
        return time.monotonic() - self._begun

    def status(self) -> str:
        """Return the progress for people. It never says 100 %, because the last bytes are still to
        be synced: the next call's success says that.
        """
        return f"{self.text}: {min(99, 100 * self.done // max(1, self.total))} %"


def _submit(executor: Executor, work: Callable[[], T]) -> Future[T]:
    """Have the executor run `work`.

    Raises: Exhausted, if no thread could be started, or the driver stops. The executor keeps what
    it was given also then, and must not run it later, when nobody holds the locks.
    """
    abandoned = threading.Event()

    def run() -> T:
        if abandoned.is_set():
            raise Busy("the copy was not started")
        return work()

    try:
        return executor.submit(run)
    except RuntimeError as error:
        abandoned.set()
        raise Exhausted(f"the copy could not be started: {error}; try again") from None
