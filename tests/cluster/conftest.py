"""Clusters of processes take seconds each: these tests have a tier of their own."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster.machines import RoutedCluster

HERE = Path(__file__).parent
POOLS = {name: ["sim=memory:100GiB"] for name in ("a", "b", "c")}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.is_relative_to(HERE):
            item.add_marker(pytest.mark.cluster)


@pytest.fixture
def where() -> Iterator[Path]:
    """Short enough for a socket."""
    with tempfile.TemporaryDirectory(prefix="cl-") as name:
        yield Path(name)


@pytest.fixture(scope="module")
def cluster() -> Iterator[RoutedCluster]:
    """Three nodes and a router, for all tests of a module: each has volumes of its own."""
    with tempfile.TemporaryDirectory(prefix="cl-") as name:
        with RoutedCluster(Path(name), POOLS) as cluster:
            yield cluster
        assert not [log for log in Path(name).rglob("*.log") if "Traceback" in log.read_text()]
