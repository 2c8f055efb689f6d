"""A disk that appears makes the pools look."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Executor, Future
from dataclasses import dataclass, field
from typing import Any

from driver.backends.memory.backend import MemoryBackend, memory
from driver.core.capacity import PoolState
from driver.core.model import GIB
from driver.core.ports.pool import Pool
from driver.observe.disk_events import DiskEvents


@dataclass
class Looked(MemoryBackend):
    """A pool that counts how often it is looked at."""

    inner: MemoryBackend
    times: int = 0

    def state(self) -> PoolState:
        self.times += 1
        return self.inner.state()


@dataclass
class Later(Executor):
    """Does nothing until it is told to."""

    work: list[Callable[[], Any]] = field(default_factory=list)

    def submit(self, work: Callable[..., Any], /, *_: Any, **__: Any) -> Future[Any]:
        self.work.append(work)
        return Future()

    def run(self) -> None:
        while self.work:
            self.work.pop(0)()


def ground() -> tuple[DiskEvents, Later, Looked]:
    pool = memory("sim", GIB)
    assert isinstance(pool.backend, MemoryBackend)
    looked, later = Looked(pool.backend), Later()
    return DiskEvents([Pool("sim", looked, pool.host)], later), later, looked


def test_a_burst_of_events_is_one_look() -> None:
    disks, later, looked = ground()
    for _ in range(100):
        disks.on_event("add", "sdb")
        disks.on_event("change", "sdb1")
    later.run()
    assert looked.times == 1
    disks.on_event("add", "sdc")
    later.run()
    assert looked.times == 2


def test_our_own_loop_devices_and_what_leaves_are_no_news() -> None:
    disks, later, looked = ground()
    disks.on_event("change", "loop3")
    disks.on_event("remove", "sdb")
    later.run()
    assert looked.times == 0
