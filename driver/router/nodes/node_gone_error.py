"""The error for a node that is gone for good, and the type of the policy for its volumes.

`kubernetes.node_gone_policy` decides whether the volumes may be abandoned, and `delete` applies
that.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final, TypeAlias

from driver.core.errors import PoolUnavailable
from driver.router.nodes.directory import NodeName

CURE: Final = (
    "bring the node or its disk back; or, if the data may be lost, start the router with"
    " --node-gone-policy=forget"
)

# Returns whether `label` (for people, such as "volume" and its id) may count as deleted, though it
# was on this node, which is gone.
Abandon: TypeAlias = Callable[[str, NodeName], Awaitable[bool]]


async def abandon_nothing(_label: str, _node: NodeName) -> bool:
    """Return False: the policy of a router that does not know which nodes are gone."""
    return False


class NodeGone(PoolUnavailable):
    """The node of a pool is gone for good, and not only unavailable."""

    def __init__(self, node: NodeName) -> None:
        super().__init__(f"node {node} is gone, with its volumes: {CURE}")
        self.node = node
