"""The types of pools: a new one is a package of its own, and one entry in the table."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from driver.app import pools
from driver.app.load_settings import load
from driver.app.settings import ServeSettings
from driver.backends.memory.backend import memory
from driver.backends.memory.options import Options
from driver.backends.node_resources import NodeResources
from driver.backends.option_readers import read_overcommit
from driver.backends.pool_type import ConfiguredPool, PoolType
from driver.cli.main import app
from driver.core.errors import Invalid
from driver.core.findings import Finding, ok
from driver.core.ids import PoolId
from driver.core.model import Allocation, Bytes
from driver.core.ports.pool import Pool
from driver.core.ports.records import Records
from driver.core.quantity import parse_bytes

Toy = ConfiguredPool[Bytes, Options]


def open_toy(pool: Toy, node: NodeResources) -> Pool:
    assert node.owner == "cellar.csi.internal"
    return memory(pool.name, pool.location, pool.options)


def initialise_toy(pool: Toy, owner: str, records: Records) -> PoolId:
    assert (pool.name, owner, records.problem) == ("t", "cellar.csi.internal", None)
    return "0123456789ab"


def check_toys(toys: Sequence[Toy], owner: str, records: Records) -> Iterator[Finding]:
    yield from (ok(f"pool {pool.name}", f"{owner} has a toy") for pool in toys)


TOY = PoolType(
    name="toy",
    read_location=parse_bytes,
    options=Options,
    readers={"overcommit": read_overcommit},
    open=open_toy,
    initialise=initialise_toy,
    check=check_toys,
    keeps_state=False,
    silent_after=7.0,
)


@pytest.fixture
def toy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Register the toy as a backend is: by one entry of the table."""
    monkeypatch.setattr(pools, "POOL_TYPES", (*pools.POOL_TYPES, TOY))


def settings(*specs: str) -> ServeSettings:
    return load({"endpoint": "unix:///run/csi.sock", "pools": specs}, {})


def test_a_new_type_is_served(toy: None) -> None:
    configured = settings("t=toy:1GiB,overcommit=2")
    state = pools.open_state(configured)
    [pool] = pools.open_pools(configured, state)
    assert (pool.name, pool.type, pool.location) == ("t", "toy", "1GiB")
    sparse = pool.backend.state().capacities[Allocation.SPARSE]
    assert sparse.total == 2 << 30


def test_a_new_type_is_initialised_by_its_own_function(toy: None, tmp_path: Path) -> None:
    words = ["pools", "init", "t", "--pool", "t=toy:1GiB", "--state-dir", str(tmp_path)]
    result = CliRunner().invoke(app("pools"), words)
    assert result.output == "1GiB is pool t now, with the id 0123456789ab\n"


def test_the_doctor_asks_a_new_type(toy: None, tmp_path: Path) -> None:
    words = ["doctor", "--pool", "t=toy:1GiB", "--state-dir", str(tmp_path)]
    assert "cellar.csi.internal has a toy" in CliRunner().invoke(app("doctor"), words).output


def test_a_type_that_is_not_registered_is_refused_with_those_that_are() -> None:
    with pytest.raises(Invalid, match="type 'toy' is not one of loopfile, lvm, memory"):
        pools.open_state(settings("t=toy:1GiB"))


@pytest.mark.parametrize("pool_type", pools.POOL_TYPES, ids=lambda pool_type: str(pool_type.name))
def test_every_option_that_is_read_is_one_of_the_backend(pool_type: PoolType[Any, Any]) -> None:
    options: Any = pool_type.options
    assert set(pool_type.readers) <= {field.name for field in fields(options)}
