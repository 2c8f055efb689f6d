"""Fixtures of the contract suites: every implementation in turn, on ground that was cleared."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.contract.grounds import BACKENDS, EVERY, HOSTS, SEALED, Ground, Machine, run


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


@pytest.fixture(params=SEALED)
def sealed_ground(request: pytest.FixtureRequest, machine: Machine) -> Iterator[Ground]:
    """For what an encrypted volume needs beside its pool."""
    with BACKENDS[request.param](machine) as ground:
        yield ground


@pytest.fixture
def targets(tmp_path: Path) -> Iterator[Path]:
    """Where things are shown; nothing is, afterwards, whatever the test found out."""
    where = tmp_path / "targets"
    where.mkdir()
    yield where
    mounted = [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    for target in reversed([one for one in mounted if one.startswith(f"{where}/")]):
        run("umount", target)
