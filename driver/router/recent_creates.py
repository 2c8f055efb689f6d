"""The nodes that were asked to create volumes a moment ago, whether or not they have answered."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

from driver.core.ids import Key
from driver.router.nodes.directory import NodeName

LIFETIME: Final = 60.0  # seconds: longer than a call of csi-provisioner, and than a node's report


class RecentCreates:
    """Remembers which node was asked last to create a volume, by the key of the volume's name.

    A node that did not answer in time may still be creating the volume, and a new volume is in its
    node's reports only a moment later. So if a volume with that name is to be created again, that
    node is asked first. `clock`: returns monotonic seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._nodes: dict[Key, tuple[NodeName, float]] = {}  # the oldest first

    def last_node(self, key: Key) -> NodeName | None:
        """Return the node that was asked to create the volume in the last LIFETIME seconds; None:
        no node was.
        """
        self._forget_old()
        return self._nodes[key][0] if key in self._nodes else None

    def add(self, key: Key, node: NodeName) -> None:
        """Record that `node` is asked to create the volume with this key."""
        self._forget_old()
        self._nodes.pop(key, None)
        self._nodes[key] = node, self._clock()

    def remove(self, key: Key) -> None:
        """Record that the node which was asked has certainly not created the volume."""
        self._nodes.pop(key, None)

    def _forget_old(self) -> None:
        oldest = self._clock() - LIFETIME
        while self._nodes:
            key = next(iter(self._nodes))
            if self._nodes[key][1] >= oldest:
                return
            del self._nodes[key]
