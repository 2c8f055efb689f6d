"""Maintenance of a pool: an error is logged, and the next round comes."""

from __future__ import annotations

import pytest

from driver.backends.memory.backend import MemoryBackend
from driver.backends.memory.host import MemoryHost
from driver.backends.memory.options import Options
from driver.core.errors import PoolUnavailable
from driver.core.model import GIB
from driver.core.ports.pool import Pool
from driver.volumes.maintenance import maintain


class Maintained(MemoryBackend):
    """A pool that needs maintenance; `error`: how that fails."""

    rounds = 0
    error: Exception | None = None

    def maintain(self) -> None:
        self.rounds += 1
        if self.error:
            raise self.error


def pool(kind: type[MemoryBackend]) -> tuple[Pool, MemoryBackend]:
    backend = kind("p", GIB, Options(), MemoryHost())
    return Pool("p", backend, MemoryHost()), backend


@pytest.mark.parametrize("error", [None, PoolUnavailable("away"), OSError(5, "failed")])
def test_a_pool_that_fails_does_not_end_its_maintenance(error: Exception | None) -> None:
    maintained, backend = pool(Maintained)
    assert isinstance(backend, Maintained)
    backend.error = error
    maintain(maintained)
    maintain(maintained)
    assert backend.rounds == 2


def test_a_fault_of_the_program_is_not_hidden() -> None:
    maintained, backend = pool(Maintained)
    assert isinstance(backend, Maintained)
    backend.error = ZeroDivisionError()
    with pytest.raises(ZeroDivisionError):
        maintain(maintained)


def test_a_pool_that_needs_none_gets_none() -> None:
    simple, _ = pool(MemoryBackend)
    maintain(simple)
