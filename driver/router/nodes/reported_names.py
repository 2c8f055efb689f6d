"""The names of a node's images, as reported by the node."""

from __future__ import annotations

from array import array
from bisect import bisect_left

from csi_proto import cellar_pb2 as cellar
from driver.core.ids import unpack_digests
from driver.csi.protocol import NAME_SEARCH_LIFETIME


class ReportedNames:
    """The names of the images of one node, updated by the changes that the node reports. Each name
    is stored as a digest: 8 bytes of a hash.

    The digests are in a sorted array, because a set would need ten times the memory, and a router
    has the digests of all nodes.
    """

    def __init__(self) -> None:
        self._digests = array("Q")
        self._read_at = -float("inf")  # a node of an older version reports none

    def update(self, names: cellar.Names, now: float) -> None:
        """Add the names of images that a report says are new, and remove those that it says are
        gone; a complete report replaces all. `now`: monotonic seconds.
        """
        if names.complete:
            self._digests = array("Q", sorted(set(unpack_digests(names.added))))
        else:
            for digest in unpack_digests(names.removed):
                if self.has(digest):
                    del self._digests[bisect_left(self._digests, digest)]
            for digest in unpack_digests(names.added):
                if not self.has(digest):
                    self._digests.insert(bisect_left(self._digests, digest), digest)
        self._read_at = now - names.age

    def may_have(self, digest: int, now: float) -> bool:
        """Return whether the node may have an image whose name has this digest (8 bytes of a hash),
        so that it must be asked. `now`: monotonic seconds.

        False only if a report of the last NAME_SEARCH_LIFETIME seconds shows that the node neither
        had such an image nor was creating one.
        """
        return now - self._read_at > NAME_SEARCH_LIFETIME or self.has(digest)

    def has(self, digest: int) -> bool:
        """Return whether the node, in its last report, had an image whose name has this digest (8
        bytes of a hash), or was creating one.
        """
        index = bisect_left(self._digests, digest)
        return index < len(self._digests) and self._digests[index] == digest
