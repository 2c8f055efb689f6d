"""The scheduler knows the room of each node, and believes it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.e2e.cluster import Kube
from tests.e2e.objects import claim, pod
from tests.e2e.release import NODES, Release

MIB = 1 << 20
BIG = 2048 * MIB


@pytest.fixture
def full(driver: Release, kube: Kube, space: str) -> Iterator[str]:
    """A node that has less than BIG left, while the other one has more."""
    node = NODES[1]
    before = driver.room()[node]
    filler = f"{(before - BIG // 2) // MIB}Mi"
    kube.apply(
        claim("filler", space, size=filler), pod("filler", space, {"filler": "/data"}, node=node)
    )
    kube.running("filler", space)
    kube.until(lambda: driver.room()[node] < BIG, f"{node} says that it is full")
    assert driver.room()[NODES[0]] > BIG
    yield node
    kube.delete("pod", "filler", space)
    kube.delete("pvc", "filler", space)
    kube.until(lambda: driver.room()[node] > BIG, f"{node} has room again")


def test_a_pod_goes_to_the_node_with_room(full: str, kube: Kube, space: str) -> None:
    kube.apply(
        claim("data", space, size=f"{BIG // MIB}Mi"), pod("writer", space, {"data": "/data"})
    )
    assert kube.running("writer", space)["spec"]["nodeName"] == NODES[0]


def test_a_pod_that_must_go_to_the_full_node_waits_and_says_why(
    full: str, kube: Kube, space: str
) -> None:
    kube.apply(
        claim("data", space, size=f"{BIG // MIB}Mi"),
        pod("writer", space, {"data": "/data"}, node=full),
    )

    def told() -> bool:
        return any(
            "did not have enough free storage" in one for one in kube.events(space, "writer")
        )

    kube.until(told, "an event says that the node has no room")
    assert kube.phase("pod", "writer", space) == "Pending"
    assert kube.phase("pvc", "data", space) == "Pending"
