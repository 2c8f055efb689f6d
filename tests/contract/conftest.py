"""Fixtures of the contract suites: every implementation in turn, cleared."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from driver.core.model import Allocation
from tests.contract.backends_under_test import (
    BACKENDS,
    ENCRYPTED,
    EVERY,
    HOSTS,
    LOCATING,
    BackendUnderTest,
    SharedDisks,
    had_by,
    run,
)


@pytest.fixture(scope="session")
def shared_disks() -> Iterator[SharedDisks]:
    """Not below pytest's own folders: it would empty what is still mounted there."""
    shared_disks = SharedDisks(Path(tempfile.mkdtemp(prefix="cellar-contract-")))
    yield shared_disks
    shared_disks.close()


@pytest.fixture(params=EVERY)
def under_test(
    request: pytest.FixtureRequest, shared_disks: SharedDisks
) -> Iterator[BackendUnderTest]:
    with BACKENDS[request.param](shared_disks) as under_test:
        yield under_test


@pytest.fixture(params=HOSTS)
def host_under_test(
    request: pytest.FixtureRequest, shared_disks: SharedDisks
) -> Iterator[BackendUnderTest]:
    """For what does not depend on the filesystem below the pool."""
    with BACKENDS[request.param](shared_disks) as under_test:
        yield under_test


@pytest.fixture(params=ENCRYPTED)
def encrypted_ground(
    request: pytest.FixtureRequest, shared_disks: SharedDisks
) -> Iterator[BackendUnderTest]:
    """For what an encrypted volume needs beside its pool."""
    with BACKENDS[request.param](shared_disks) as under_test:
        yield under_test


@pytest.fixture(params=LOCATING)
def locating_ground(
    request: pytest.FixtureRequest, shared_disks: SharedDisks
) -> Iterator[BackendUnderTest]:
    """For pools that know where bytes lie."""
    with BACKENDS[request.param](shared_disks) as under_test:
        yield under_test


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
    return asked is None or "under_test" not in chosen or asked in had_by(str(chosen["under_test"]))


@pytest.fixture
def targets(tmp_path: Path) -> Iterator[Path]:
    """Where things are shown; nothing is, afterwards, whatever the test found out."""
    path = tmp_path / "targets"
    path.mkdir()
    yield path
    mounted = [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    for target in reversed([target for target in mounted if target.startswith(f"{path}/")]):
        run("umount", target)
