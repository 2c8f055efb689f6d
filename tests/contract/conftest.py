"""Fixtures of the contract suites: every implementation in turn, on ground that was cleared."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from driver.core.model import Allocation
from tests.contract.grounds import (
    BACKENDS,
    ENCRYPTED,
    EVERY,
    HOSTS,
    LOCATING,
    Ground,
    Machine,
    had_by,
    run,
)


@pytest.fixture(scope="session")
def machine() -> Iterator[Machine]:
    """Not below pytest's own folders: it would empty what is still mounted there."""
    machine = Machine(Path(tempfile.mkdtemp(prefix="cellar-contract-")))
    yield machine
    machine.close()


@pytest.fixture(params=EVERY)
def ground(request: pytest.FixtureRequest, machine: Machine) -> Iterator[Ground]:
    with BACKENDS[request.param](machine) as ground:
        yield ground


@pytest.fixture(params=HOSTS)
def host_ground(request: pytest.FixtureRequest, machine: Machine) -> Iterator[Ground]:
    """For what does not depend on the filesystem below the pool."""
    with BACKENDS[request.param](machine) as ground:
        yield ground


@pytest.fixture(params=ENCRYPTED)
def encrypted_ground(request: pytest.FixtureRequest, machine: Machine) -> Iterator[Ground]:
    """For what an encrypted volume needs beside its pool."""
    with BACKENDS[request.param](machine) as ground:
        yield ground


@pytest.fixture(params=LOCATING)
def locating_ground(request: pytest.FixtureRequest, machine: Machine) -> Iterator[Ground]:
    """For pools that know where bytes lie."""
    with BACKENDS[request.param](machine) as ground:
        yield ground


@pytest.fixture(params=Allocation)
def allocation(request: pytest.FixtureRequest) -> Allocation:
    """Each that the pool has."""
    return Allocation(request.param)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items[:] = [item for item in items if _is_had(item)]


def _is_had(item: pytest.Item) -> bool:
    """Whether the pool of a test has the allocation that it is about."""
    chosen = (
        item.callspec.params
        if isinstance(item, pytest.Function) and hasattr(item, "callspec")
        else {}
    )
    asked = chosen.get("allocation")
    return asked is None or "ground" not in chosen or asked in had_by(str(chosen["ground"]))


@pytest.fixture
def targets(tmp_path: Path) -> Iterator[Path]:
    """Where things are shown; nothing is, afterwards, whatever the test found out."""
    path = tmp_path / "targets"
    path.mkdir()
    yield path
    mounted = [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    for target in reversed([target for target in mounted if target.startswith(f"{path}/")]):
        run("umount", target)
