"""Simulated pools as a pool type: `--pool NAME=memory:SIZE`."""

from __future__ import annotations

from typing import Final

from driver.backends.memory.backend import memory
from driver.backends.memory.host import MemoryHost
from driver.backends.memory.options import Options
from driver.backends.node_resources import NodeResources
from driver.backends.option_readers import (
    read_allocation,
    read_boolean,
    read_overcommit,
    read_reserve,
)
from driver.backends.pool_type import ConfiguredPool, PoolType
from driver.core.model import Bytes
from driver.core.ports.pool import Pool
from driver.core.quantity import parse_bytes


def _host(_: NodeResources) -> MemoryHost:
    """Make the simulated machine, one for all simulated pools of a process."""
    return MemoryHost()


def _open(pool: ConfiguredPool[Bytes, Options], node: NodeResources) -> Pool:
    """Return the simulated pool of so many bytes."""
    return memory(pool.name, pool.location, pool.options, host=node.shared(_host))


POOL_TYPE: Final = PoolType(
    name="memory",
    read_location=parse_bytes,
    options=Options,
    readers={
        "allocation": read_allocation,
        "overcommit": read_overcommit,
        "reserve": read_reserve,
        "reflink": read_boolean,
    },
    open=_open,
    keeps_state=False,
)
