"""The nodes that were asked to create volumes a moment ago, whether or not they have answered."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

from driver.core.ids import Key
from driver.router.nodes.directory import NodeName

LIFETIME: Final = 60.0  # seconds: longer than a call of csi-provisioner, and than a node's report


class RecentCreates:
    """Remembers which node was asked last to create a volume with a name, by a hash of the name.

    A node that did not answer in time may still be creating the volume, and a new volume is in its
    node's reports only a moment later. So if a volume with that name is to be created again, that
    node is asked first. `clock`: returns monotonic seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._nodes: dict[Key, tuple[NodeName, float]] = {}  # the oldest first

    def last_node(self, key: Key) -> NodeName | None:
        """Return the node that was asked in the last LIFETIME seconds to create a volume; None: no
        node was. `key`: a hash of the volume's name.
        """
        self._forget_old()
        return self._nodes[key][0] if key in self._nodes else None

    def add(self, key: Key, node: NodeName) -> None:
        """Record that `node` is asked now to create a volume. `key`: a hash of the volume's
        name.
        """
        self._forget_old()
        self._nodes.pop(key, None)
        self._nodes[key] = node, self._clock()

    def remove(self, key: Key) -> None:
        """Forget which node was asked to create a volume, because that node has certainly not
        created it. `key`: a hash of the volume's name.
        """
        self._nodes.pop(key, None)

    def _forget_old(self) -> None:
        oldest = self._clock() - LIFETIME
        while self._nodes:
            key = next(iter(self._nodes))
            if self._nodes[key][1] >= oldest:
                return
            del self._nodes[key]
