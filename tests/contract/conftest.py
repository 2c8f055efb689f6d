"""Fixtures of the contract suites: every implementation in turn, on ground that was cleared."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.contract.grounds import BACKENDS, EVERY, HOSTS, Ground, Machine


@pytest.fixture(scope="session")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    machine = Machine(tmp_path_factory.mktemp("machine"))
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


@pytest.fixture
def targets(tmp_path: Path) -> Path:
    """Where things are shown."""
    where = tmp_path / "targets"
    where.mkdir()
    return where
