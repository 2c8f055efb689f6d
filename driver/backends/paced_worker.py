"""Background work at a small share of a processor.

It is done in steps, each as long as background work may hold Python's lock; the
rest after a step is a multiple of what the step cost. No nice value: a thread that the kernel
passes over while it has that lock would hold up all others.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from typing import Final

from loguru import logger

from driver.core.errors import CellarError

RESTS: Final = 49  # times what a step cost: two per cent of a processor, then


class Background:
    """Runs rounds of work in a thread that uses a small share of a processor.

    `steps` returns the steps of one round, anew for each round; it finds out itself whether
    there is anything to do. `rests`: how many times the processor time of a step the thread
    sleeps after it. There is one thread at most, and it ends with its round. CellarError and
    OSError end a round early and are logged.
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
        """Start a round, unless one is under way."""
        with self._lock:
            if not self._stop.is_set():
                return
            self._stop = stop = threading.Event()
            self._thread = threading.Thread(
                target=self._work, args=(stop,), name=self._name, daemon=True
            )
        self._thread.start()

    def stop(self) -> None:
        """End the round that is under way after its current step; do not wait for that."""
        with self._lock:
            self._stop.set()

    def close(self, bound: float) -> None:
        """Stop, and wait at most `bound` seconds until the thread has ended and so has nothing
        open.
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
