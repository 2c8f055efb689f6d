"""The names of the images of a node, as it reports them."""

from __future__ import annotations

from csi_proto import cellar_pb2 as cellar
from driver.core.ids import unpack_digests
from driver.csi.protocol import NAME_SEARCH_LIFETIME


class ReportedNames:
    """The digests of the names of the images of one node, kept by the changes that it reports."""

    def __init__(self) -> None:
        self._digests: set[int] = set()
        self._read_at = -float("inf")  # a node of an older version reports none

    def update(self, names: cellar.Names, now: float) -> None:
        """Apply what the node reports. `now`: monotonic, seconds."""
        if names.complete:
            self._digests.clear()
        self._digests.difference_update(unpack_digests(names.removed))
        self._digests.update(unpack_digests(names.added))
        self._read_at = now - names.age

    def may_have(self, digest: int, now: float) -> bool:
        """Return whether the node may have an image of this name, so that it must be asked.

        False: it had none NAME_SEARCH_LIFETIME seconds ago or later.
        """
        return digest in self._digests or now - self._read_at > NAME_SEARCH_LIFETIME
