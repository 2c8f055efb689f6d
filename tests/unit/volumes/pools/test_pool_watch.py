"""A pool whose workers do not come back is tried."""

from __future__ import annotations

from driver.backends.memory.backend import MemoryBackend
from driver.backends.memory.host import MemoryHost
from driver.backends.memory.options import Options
from driver.core.model import GIB
from driver.core.ports.pool import Pool
from driver.volumes.pools.pool_watch import STUCK, SUSPICIOUS, Watching
from tests.unit.volumes.world import World


class Trying(MemoryBackend):
    """A disk that can still be read when nothing can be written."""

    tried = 0

    def try_writing(self) -> None:
        self.tried += 1


def test_a_pool_is_tried_when_a_worker_does_not_come_back(world: World) -> None:
    backend = Trying("p", GIB, Options(), MemoryHost())
    pool = Pool("p", backend, world.host)
    now, running = [100.0], [100.0]
    watching = Watching([pool], lambda _: running, lambda: now[0])
    for seconds, times in ((SUSPICIOUS - 1, 0), (2, 1), (2, 2)):
        now[0] += seconds
        watching.check()
        assert backend.tried == times
    assert watching.stuck() == {"p": 0}
    now[0] = 100 + STUCK + 1
    assert watching.stuck() == {"p": 1}
    assert watching.longest() == {"p": STUCK + 1}
    running.clear()
    watching.check()
    assert backend.tried == 2
    assert watching.longest() == {"p": 0}
