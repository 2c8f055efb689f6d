"""A node of its own for each test; see tests/promises, whose disks these are."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import disks
from tests.support.node import Node

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.is_relative_to(HERE):
            item.add_marker(pytest.mark.root)
            item.add_marker(pytest.mark.alerts)
            if os.geteuid():
                item.add_marker(pytest.mark.skip(reason="needs root: loop devices and mounts"))


@pytest.fixture(scope="session")
def shelf() -> Iterator[Path]:
    with disks.shelf() as where:
        yield where


@pytest.fixture
def node(shelf: Path) -> Iterator[Node]:
    node = Node(shelf)
    yield node
    node.close()
