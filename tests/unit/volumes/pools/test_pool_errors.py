"""An error says which pool it is about, if there is only one."""

from __future__ import annotations

import pytest

from driver.backends.memory.backend import MemoryBackend
from driver.backends.memory.host import MemoryHost
from driver.backends.memory.options import Options
from driver.core.errors import Busy, CellarError, NoSpace, OutOfRange
from driver.core.model import GIB
from driver.core.ports.pool import Pool
from driver.volumes.pools.pool_errors import naming

FAST, SLOW = (
    Pool(name, MemoryBackend(name, GIB, Options(), MemoryHost()), MemoryHost())
    for name in ("fast", "slow")
)


@pytest.mark.parametrize(
    ("pools", "error", "text"),
    [
        ((FAST,), NoSpace("it is full"), "pool fast: it is full"),
        ((FAST, FAST), OutOfRange("too large"), "pool fast: too large"),
        ((FAST, SLOW), NoSpace("all are full"), "all are full"),
        ((FAST,), Busy("it is in use"), "it is in use"),
    ],
)
def test_the_pool_is_named_and_the_code_stays(
    pools: tuple[Pool, ...], error: CellarError, text: str
) -> None:
    with pytest.raises(CellarError) as caught, naming(*pools):
        raise error
    assert (type(caught.value), str(caught.value)) == (type(error), text)
