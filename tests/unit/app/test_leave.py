"""The end of a driver of which a thread is stuck: pools where nothing is stuck are closed."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from driver.app import leave
from driver.core.answers import Direct, thread_tag
from driver.core.errors import PoolUnavailable
from driver.core.ports.pool import Pool


@dataclass
class Backend:
    closed: bool = False
    gone: bool = False

    def close(self) -> None:
        if self.gone:
            raise PoolUnavailable("it is not there")
        self.closed = True


def pool(name: str, backend: Any) -> Pool:
    host: Any = None
    return Pool(name, backend, host, answers=Direct())


@pytest.fixture
def stuck() -> Iterator[threading.Thread]:
    """A thread that works in the pool "sick" and does not end."""
    release = threading.Event()
    thread = threading.Thread(target=release.wait, name=f"worker{thread_tag('sick')}-0")
    thread.start()
    yield thread
    release.set()
    thread.join()


def test_threads_are_waited_for_until_the_deadline_only(stuck: threading.Thread) -> None:
    start = time.monotonic()
    assert leave.join_threads(start + 0.05) == [stuck.name]
    assert time.monotonic() - start < 5


def test_pools_in_which_nothing_is_stuck_are_closed() -> None:
    well, sick, gone = Backend(), Backend(), Backend(gone=True)
    pools = [pool("well", well), pool("sick", sick), pool("gone", gone)]
    leave.close_idle_pools(pools, [f"worker{thread_tag('sick')}-0"])
    assert (well.closed, sick.closed) == (True, False)


def test_no_pool_is_closed_while_a_thread_is_stuck_nobody_knows_where() -> None:
    well = Backend()
    leave.close_idle_pools([pool("well", well)], ["observer_0"])
    assert not well.closed
