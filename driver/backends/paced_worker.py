"""Background work that uses a small share of a processor.

The work is split into steps. A step lasts as long as background work may hold the global
interpreter lock; after it the thread sleeps for a multiple of the processor time that the step
took. A nice value would be wrong: a thread that the kernel does not schedule while it has that lock
delays all others.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from typing import Final

from loguru import logger

from driver.core.answers import start_thread
from driver.core.errors import CellarError, Exhausted

RESTS: Final = 49  # times what a step cost: two per cent of a processor, then


class Background:
    """Does work in a background thread that uses a small share of a processor.

    `steps`: called each time that the thread is started; returns an iterator that does one step of
    the work each time that it is advanced, and ends at once if there is nothing to do. `rests`: how
    long the thread sleeps after a step, as a multiple of the step's processor time. At most one
    thread exists, and it ends with the iterator. A CellarError or OSError ends it early and is
    logged.
    """

    def __init__(
        self, name: str, steps: Callable[[], Iterator[None]], rests: float = RESTS
    ) -> None:
        self._name = name
        self._steps = steps
        self._rests = rests
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._stop.set()  # no round is under way
        self._thread: threading.Thread | None = None

    def begin(self) -> None:
        """Start the background thread, which does the work once and ends; no-op while it runs, or
        if no thread could be started.
        """
        with self._lock:
            if not self._stop.is_set():
                return
            stop = threading.Event()
            thread = threading.Thread(target=self._work, args=(stop,), name=self._name, daemon=True)
            try:
                start_thread(thread)
            except Exhausted as error:
                logger.debug("{} not started: {}", self._name, error)
                return
            self._stop, self._thread = stop, thread

    def stop(self) -> None:
        """End the background thread after its current step of work, without waiting for its end."""
        with self._lock:
            self._stop.set()

    def close(self, bound: float) -> None:
        """End the background thread after its current step of work, and wait at most `bound`
        seconds for its end, so that it has no file open.
        """
        self.stop()
        if self._thread and self._thread is not threading.current_thread():
            self._thread.join(bound)

    def _work(self, stop: threading.Event) -> None:
        try:
            steps = self._steps()
            cost = time.thread_time()
            while not stop.is_set() and next(steps, stop) is not stop:
                stop.wait(self._rests * (time.thread_time() - cost))
                cost = time.thread_time()
        except (CellarError, OSError) as error:
            logger.debug("{} ended early: {}", self._name, error)
        finally:
            stop.set()
