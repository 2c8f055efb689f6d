"""Records Events for pools that become unavailable or available again, for `kubectl describe
node`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from loguru import logger

from csi_proto import cellar_pb2 as cellar
from driver.router.nodes.directory import NodeName, RecordEvent


class PoolProblems:
    """Records an Event of a node for each of its pools that becomes unavailable or available again.

    Only one Event is recorded, also if several routers observe the change.
    """

    def __init__(self, record_event: RecordEvent) -> None:
        self._record_event = record_event
        self._known: dict[NodeName, dict[str, str]] = {}

    def observe(self, node: NodeName, pools: Iterable[cellar.Pool]) -> None:
        """Compare the pools in a node's report with those in its previous report, and record an
        Event for each pool that became unavailable or available again.
        """
        known = self._known.get(node, {})
        current = {pool.name: pool.away for pool in pools if pool.away}
        for name, problem in current.items():
            if _without_numbers(problem) != _without_numbers(known.get(name, "")):
                text = f"pool {name} cannot be used: {problem}"
                logger.warning("node {}: {}", node, text)
                self._record_event(node, "PoolUnavailable", text)
        for name in known.keys() - current.keys():
            text = f"pool {name} can be used again"
            logger.info("node {}: {}", node, text)
            self._record_event(node, "PoolAvailable", text)
        self._known[node] = current


def _without_numbers(problem: str) -> str:
    """Return the text without its numbers: seconds that grow are no change."""
    return re.sub(r"[0-9]+", "", problem)
