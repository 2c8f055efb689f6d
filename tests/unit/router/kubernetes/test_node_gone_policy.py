"""Whether the volumes of a node that is gone may be lost."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from driver.router.kubernetes.node_gone_policy import NodeGonePolicy, Policy


class FakeDirectory:
    """A directory that asks the API server for a Node object."""

    def __init__(self, *, absent: bool) -> None:
        self.absent = absent
        self.asked: list[str] = []

    async def is_absent(self, name: str) -> bool:
        self.asked.append(name)
        return self.absent


class FakeEvents:
    def __init__(self) -> None:
        self.recorded: list[tuple[str, str, str]] = []

    async def record(self, node: str, reason: str, text: str) -> None:
        self.recorded.append((node, reason, text))


@pytest.mark.parametrize(
    ("policy", "absent", "abandoned"),
    [("forget", True, True), ("forget", False, False), ("retain", True, False)],
)
def test_only_a_node_that_the_server_does_not_have_is_given_up_and_only_on_request(
    policy: Policy, *, absent: bool, abandoned: bool
) -> None:
    directory, events = FakeDirectory(absent=absent), FakeEvents()
    recorded: Any = events
    decided = NodeGonePolicy(directory, recorded, policy)
    assert asyncio.run(decided.abandon("volume v", "a")) is abandoned
    assert directory.asked == (["a"] if policy == "forget" else [])
    assert [(node, reason) for node, reason, _ in events.recorded] == (
        [("a", "VolumeGivenUp")] if abandoned else []
    )
    assert all("abandoned volume v" in text for _, _, text in events.recorded)
