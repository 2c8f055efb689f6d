"""The names of the images of a node, as it reports them."""

from __future__ import annotations

from array import array
from bisect import bisect_left

from csi_proto import cellar_pb2 as cellar
from driver.core.ids import unpack_digests
from driver.csi.protocol import NAME_SEARCH_LIFETIME


class ReportedNames:
    """The digests of the names of the images of one node, kept by the changes that it reports.

    They are sorted in an array: a set would take ten times the memory, and a router has those of
    all nodes.
    """

    def __init__(self) -> None:
        self._digests = array("Q")
        self._read_at = -float("inf")  # a node of an older version reports none

    def update(self, names: cellar.Names, now: float) -> None:
        """Apply what the node reports. `now`: monotonic, seconds."""
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
        """Return whether the node may have an image of this name, so that it must be asked.

        False: NAME_SEARCH_LIFETIME seconds ago or later it neither had one nor was creating one.
        """
        return now - self._read_at > NAME_SEARCH_LIFETIME or self.has(digest)

    def has(self, digest: int) -> bool:
        """Return whether the node had an image of this name, or was creating one, at its last
        report.
        """
        index = bisect_left(self._digests, digest)
        return index < len(self._digests) and self._digests[index] == digest
