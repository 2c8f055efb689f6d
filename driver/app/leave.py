"""Ends a driver that has a thread stuck in the kernel, after closing all other pools."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import Final

from driver.core.answers import thread_tag
from driver.core.errors import PoolUnavailable
from driver.core.ports.pool import Pool

EXIT_TIMEOUT: Final = 19.0  # seconds after SIGTERM; what still runs then is left
_CLOSE_TIMEOUT: Final = 1.0  # seconds for each pool


def join_threads(deadline: float) -> Sequence[str]:
    """Wait until `deadline` (monotonic seconds) for all threads that Python would join at exit.

    Returns the names of those that are still running.
    """
    current = threading.current_thread()
    threads = [
        thread for thread in threading.enumerate() if thread is not current and not thread.daemon
    ]
    for thread in threads:
        thread.join(max(0.0, deadline - time.monotonic()))
    return [thread.name for thread in threads if thread.is_alive()]


def close_idle_pools(pools: Sequence[Pool], stuck: Sequence[str]) -> None:
    """Close the pools in which none of the threads named in `stuck` is working, so that another
    process can open them at once.

    As long as one of its threads hangs in the kernel, this process keeps its file descriptors, and
    so its locks on pools. No-op if a stuck thread belongs to no pool, because then it is unknown
    which pool it uses.
    """
    tags = {pool.name: thread_tag(pool.name) for pool in pools}
    if any(not any(tag in thread for tag in tags.values()) for thread in stuck):
        return
    for pool in pools:
        if not any(tags[pool.name] in thread for thread in stuck):
            with suppress(PoolUnavailable, TimeoutError):
                pool.answers.begin(pool.backend.close).result(_CLOSE_TIMEOUT)
