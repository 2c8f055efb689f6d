"""Fixtures of the promises: a node for each module, pools on real filesystems."""

from __future__ import annotations

import os
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.support import disks
from tests.support.client import Csi, outcome
from tests.support.disks import Disk, run
from tests.support.node import Life, Node

HERE = Path(__file__).parent
PASSED = pytest.StashKey[bool]()
FILESYSTEMS = ("ext4", "xfs", "btrfs")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.root)
            if os.geteuid():
                item.add_marker(pytest.mark.skip(reason="needs root: loop devices and mounts"))


@pytest.fixture(scope="session")
def shelf() -> Iterator[Path]:
    with disks.shelf() as where:
        yield where


@pytest.fixture
def node(shelf: Path) -> Iterator[Node]:
    """A node of the test's own, for tests that break it."""
    node = Node(shelf)
    yield node
    node.close()


@pytest.fixture
def host(node: Node) -> Iterator[Node]:
    """A machine whose root is private, and whose kubelet directory is a shared mount."""
    run("mount", "--bind", node.kubelet, node.kubelet)
    run("mount", "--make-rshared", node.kubelet)
    yield node
    for driver in node.drivers:
        if driver.running:
            driver.kill()


@dataclass(frozen=True)
class Served:
    """A running driver and the disk of its one pool."""

    node: Node
    disk: Disk
    csi: Csi

    @property
    def pool(self) -> str:
        return f"p=loopfile:{self.disk.where}"

    def life(self, volume_id: str, **how: Any) -> Life:
        return self.node.life(self.csi, volume_id, **how)

    def left(self) -> list[str]:
        """What a test should have taken down."""
        entries = [one for one in self.disk.entries() if not one.startswith(".cellar-pool")]
        return [*self.node.mounts(), *self.node.loops(), *entries]

    def clear(self) -> None:
        self.csi.driver.kill()  # it holds devices open that pods have
        self.node.take_down()
        self.csi.driver.start()
        for volume in self.csi.volumes():
            outcome(lambda gone=volume: self.csi.detach(gone))  # type: ignore[misc]
            outcome(lambda gone=volume: self.csi.delete(gone))  # type: ignore[misc]
        for snapshot in self.csi.snapshots():
            outcome(lambda gone=snapshot: self.csi.delete_snapshot(gone))  # type: ignore[misc]


def serve(node: Node, fs: str, size: int = 768 * disks.MIB, settings: str = "") -> Served:
    disk = node.disk(fs, size)
    return Served(node, disk, node.start(f"p=loopfile:{disk.where}{settings}"))


@pytest.fixture(scope="module", params=FILESYSTEMS)
def each(request: pytest.FixtureRequest, shelf: Path) -> Iterator[Served]:
    """A driver for each kind of filesystem below the pool, shared by the tests of a module."""
    node = Node(shelf)
    try:
        yield serve(node, request.param)
    finally:
        node.close()


@pytest.fixture(scope="module")
def one(shelf: Path) -> Iterator[Served]:
    """A driver on an xfs pool, shared by the tests of a module: for what does not depend on it."""
    node = Node(shelf)
    try:
        yield serve(node, "xfs")
    finally:
        node.close()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Function,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Remembers how a test ended, and puts the drivers' logs into the report of a failed one."""
    report = yield
    item.stash[PASSED] = report.passed
    if report.failed:
        for one in item.funcargs.values():
            node = one.node if isinstance(one, Served) else one
            for driver in node.drivers if isinstance(node, Node) else ():
                report.sections.append((f"log of {driver.where.name}", driver.tail(30)))
    return report


@pytest.fixture(autouse=True)
def nothing_left(request: pytest.FixtureRequest) -> Iterator[None]:
    """A shared driver is given on as it was found: no volume, mount or loop device."""
    yield
    for name in {"each", "one", "reflink"} & set(request.fixturenames):
        served: Served = request.getfixturevalue(name)
        left = served.left()
        if left:
            served.clear()
        # A test that failed leaves things behind; that is no second failure.
        assert not left or not request.node.stash[PASSED]
