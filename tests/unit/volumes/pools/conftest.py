"""A pool that hangs when it is told to."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest

from driver.backends.memory.backend import MemoryBackend
from driver.backends.memory.host import MemoryHost
from driver.backends.memory.options import Options
from driver.backends.pool_threads import Answering
from driver.core.capacity import Capacity, PoolState
from driver.core.faults import Fault
from driver.core.ids import ImageId
from driver.core.model import GIB, Allocation, Image
from driver.core.ports.pool import Pool
from driver.volumes.pools.registry import Pools
from tests.unit.volumes.world import World


class Hanging(MemoryBackend):
    """Whatever looks at it waits, while `answers` is not set."""

    def __init__(self, name: str) -> None:
        super().__init__(name, 100 * GIB, Options(), MemoryHost())
        self.answers = threading.Event()
        self.answers.set()

    @property
    def id(self) -> str:
        assert self.answers.wait(10)
        return super().id

    def find(self, image_id: Any) -> Any:
        assert self.answers.wait(10)
        return super().find(image_id)

    def images(self) -> Iterator[Image]:
        assert self.answers.wait(10)
        return super().images()

    def capacity(self, allocation: Allocation) -> Capacity:
        assert self.answers.wait(10)
        return super().capacity(allocation)

    def state(self) -> PoolState:
        assert self.answers.wait(10)
        return super().state()

    def faults(self, image_id: ImageId | None) -> Iterator[Fault]:
        assert self.answers.wait(10)
        return super().faults(image_id)


@pytest.fixture
def sick(world: World) -> Iterator[Pool]:
    """A pool of the world's, beside its own two, that hangs when it is told to."""
    backend = Hanging("sick")
    answering = Answering("sick", silent=0.3)
    pool = Pool("sick", backend, world.host, answers=answering)
    world.pools = world.volumes._pools = Pools([pool, world.fast, world.slow])
    yield pool
    backend.answers.set()
    answering.close()


def hang(pool: Pool) -> None:
    assert isinstance(pool.backend, Hanging)
    pool.backend.answers.clear()
