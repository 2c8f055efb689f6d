"""The SnapshotMetadata service: what a snapshot has, and what was changed since an older one.

A stream is gathered in pages, each of them a short work of its own. Between them a client may take
its time: it keeps neither a worker nor a claim, and is told if the snapshots have gone meanwhile.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from typing import Final, TypeVar

from csi_proto import csi_pb2 as csi
from csi_proto.csi_pb2_grpc import SnapshotMetadataServicer
from driver.core.results import ChangesPage
from driver.csi import parse
from driver.services.dispatch import Dispatcher
from driver.volumes.copies.changed_blocks import Changes
from driver.volumes.requests import GetChangedBlocks

USUAL: Final = 256  # ranges of a message, if the caller does not say
MOST: Final = 4096  # whatever the caller says: gRPC's clients take no message above 4 MiB
_KIND: Final = csi.BlockMetadataType.VARIABLE_LENGTH

Response = TypeVar("Response", csi.GetMetadataAllocatedResponse, csi.GetMetadataDeltaResponse)


class SnapshotMetadata(SnapshotMetadataServicer):
    """The CSI SnapshotMetadata service."""

    def __init__(self, dispatcher: Dispatcher, changes: Changes) -> None:
        self._run = dispatcher.run
        self._changes = changes

    def GetMetadataAllocated(
        self, request: csi.GetMetadataAllocatedRequest, context: object
    ) -> AsyncIterator[csi.GetMetadataAllocatedResponse]:
        """Yield the allocated ranges of a snapshot. Raises: NotFound, Invalid."""
        wanted = parse.allocated(request)
        return self._stream(csi.GetMetadataAllocatedResponse, wanted, request.max_results)

    def GetMetadataDelta(
        self, request: csi.GetMetadataDeltaRequest, context: object
    ) -> AsyncIterator[csi.GetMetadataDeltaResponse]:
        """Yield the ranges that differ between two snapshots. Raises: NotFound, Invalid."""
        wanted = parse.delta(request)
        return self._stream(csi.GetMetadataDeltaResponse, wanted, request.max_results)

    async def _stream(
        self, response: type[Response], wanted: GetChangedBlocks, max_results: int
    ) -> AsyncIterator[Response]:
        most = parse.most(max_results, USUAL, MOST)
        async for page in self._pages(wanted):
            for ranges in _messages(page, most):
                yield response(
                    block_metadata_type=_KIND,
                    volume_capacity_bytes=page.size,
                    block_metadata=ranges,
                )

    async def _pages(self, wanted: GetChangedBlocks) -> AsyncIterator[ChangesPage]:
        while True:
            page = await self._run(self._changes.page, wanted)
            yield page
            if page.end == page.size:
                return
            wanted = replace(wanted, start=page.end, lives=page.incarnations)


def _messages(page: ChangesPage, most: int) -> Iterator[list[csi.BlockMetadata]]:
    """Yield the ranges of a page, at most `most` in each message.

    At the end of the volume an empty message is yielded if there are no ranges, so that each
    stream has reported the volume's size.
    """
    for first in range(0, len(page.ranges), most):
        yield [
            csi.BlockMetadata(byte_offset=one.start, size_bytes=one.length)
            for one in page.ranges[first : first + most]
        ]
    if not page.ranges and page.end == page.size:
        yield []
