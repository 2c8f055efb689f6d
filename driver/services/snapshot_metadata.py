"""The SnapshotMetadata service: allocated ranges of a snapshot, and ranges in which two snapshots
differ.

A stream is read in pages, each with a worker and locks of its own. Between pages a slow client
occupies neither; if a snapshot is deleted between them, the stream ends with an error.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from typing import Final, TypeVar

from csi_proto import csi_pb2 as csi
from csi_proto.csi_pb2_grpc import SnapshotMetadataServicer
from driver.core.results import ChangesPage
from driver.csi import parse_snapshots
from driver.services.dispatch import Dispatcher
from driver.volumes.copies.changed_blocks import ChangedBlocks
from driver.volumes.snapshot_requests import GetChangedBlocks

DEFAULT_RESULTS: Final = 256  # ranges in a message, if the caller does not say
MAX_RESULTS: Final = 4096  # at most: clients of gRPC accept no message above 4 MiB
_KIND: Final = csi.BlockMetadataType.VARIABLE_LENGTH

Response = TypeVar("Response", csi.GetMetadataAllocatedResponse, csi.GetMetadataDeltaResponse)


class SnapshotMetadata(SnapshotMetadataServicer):
    """The CSI SnapshotMetadata service: streams the byte ranges of a snapshot that are allocated,
    or those in which two snapshots differ.
    """

    def __init__(self, dispatcher: Dispatcher, changes: ChangedBlocks) -> None:
        self._run = dispatcher.run
        self._changes = changes

    def GetMetadataAllocated(
        self, request: csi.GetMetadataAllocatedRequest, context: object
    ) -> AsyncIterator[csi.GetMetadataAllocatedResponse]:
        """Yield the allocated ranges of a snapshot. Raises: NotFound: no such snapshot; Invalid: a
        field is malformed.
        """
        blocks = parse_snapshots.get_allocated(request)
        return self._stream(csi.GetMetadataAllocatedResponse, blocks, request.max_results)

    def GetMetadataDelta(
        self, request: csi.GetMetadataDeltaRequest, context: object
    ) -> AsyncIterator[csi.GetMetadataDeltaResponse]:
        """Yield the ranges in which two snapshots differ. Raises: NotFound: no such snapshot;
        Invalid: a field is malformed, or the snapshots cannot be compared.
        """
        blocks = parse_snapshots.get_delta(request)
        return self._stream(csi.GetMetadataDeltaResponse, blocks, request.max_results)

    async def _stream(
        self, response: type[Response], blocks: GetChangedBlocks, max_results: int
    ) -> AsyncIterator[Response]:
        max_results = parse_snapshots.max_results(max_results, DEFAULT_RESULTS, MAX_RESULTS)
        async for page in self._pages(blocks):
            for ranges in _messages(page, max_results):
                yield response(
                    block_metadata_type=_KIND,
                    volume_capacity_bytes=page.size,
                    block_metadata=ranges,
                )

    async def _pages(self, blocks: GetChangedBlocks) -> AsyncIterator[ChangesPage]:
        while True:
            page = await self._run(self._changes.page, blocks)
            yield page
            if page.end == page.size:
                return
            blocks = replace(blocks, start=page.end, incarnations=page.incarnations)


def _messages(page: ChangesPage, max_results: int) -> Iterator[list[csi.BlockMetadata]]:
    """Yield the ranges of a page, at most `max_results` in each message.

    At the end of the volume an empty message is yielded if there are no ranges, so that each
    stream has reported the volume's size.
    """
    for first in range(0, len(page.ranges), max_results):
        yield [
            csi.BlockMetadata(byte_offset=extent.start, size_bytes=extent.length)
            for extent in page.ranges[first : first + max_results]
        ]
    if not page.ranges and page.end == page.size:
        yield []
