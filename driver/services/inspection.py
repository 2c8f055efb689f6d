"""The Inspection service, which describes single volumes of this node."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from csi_proto import inspect_pb2
from csi_proto.inspect_pb2_grpc import InspectionServicer
from driver.backends import record
from driver.core.devices import Device, MountPoint, Usage
from driver.core.errors import Unsupported
from driver.core.faults import Fault
from driver.core.ids import parse_volume_id
from driver.core.ports.conditions import ReadConditions, no_conditions
from driver.csi import present
from driver.linux.meters.io_counters import IoCounters, io_counters
from driver.linux.meters.lower_disks import find_disks
from driver.volumes.copies.background import CopyProgress
from driver.volumes.node.description import Describer, VolumeDescription
from driver.volumes.requests import GetVolume


class Inspection(InspectionServicer):
    """Serves what Cellar's commands show of this node: one volume in detail, IO counters, running
    copies of images, and the alert rules whose condition is true.

    `run(work, request)`: calls `work(request)` in a worker thread, with the request's locks;
    `node`: the node's name; `copies`: returns the running copies; `conditions`: returns the alert
    rules, and may wait for a filesystem.
    """

    def __init__(
        self,
        run: Callable[[Callable[[Any], Any], Any], Awaitable[Any]],
        describer: Describer,
        node: str,
        *,
        copies: Callable[[], Sequence[CopyProgress]] = tuple,
        conditions: ReadConditions = no_conditions,
    ) -> None:
        self._copies = copies
        self._conditions = conditions
        self._run = run
        self._describer = describer
        self._node = node

    async def InspectVolume(
        self, request: inspect_pb2.InspectVolumeRequest, context: object
    ) -> inspect_pb2.InspectVolumeResponse:
        """Return the description of a volume: its record, device, mounts, users, extents and
        faults. Raises: NotFound, PoolUnavailable, Damaged.
        """
        volume = GetVolume(parse_volume_id(request.volume_id))
        response: inspect_pb2.InspectVolumeResponse = await self._run(self._describe, volume)
        response.node = self._node
        return response

    def _describe(self, request: GetVolume) -> inspect_pb2.InspectVolumeResponse:
        """Convert the description to a message. To be run on a worker, as the pool's filesystem may
        be read.
        """
        description = self._describer.describe(request)
        response = _present(description)
        if device := description.device:
            response.disks.extend(find_disks(device.path, device.number))
        return response

    async def ListIo(
        self, request: inspect_pb2.ListIoRequest, context: object
    ) -> inspect_pb2.ListIoResponse:
        """Return the IO counters of the devices of all staged volumes, without reading from a
        disk.
        """
        return await asyncio.to_thread(self._read_io)

    def _read_io(self) -> inspect_pb2.ListIoResponse:
        return inspect_pb2.ListIoResponse(
            volumes=[
                _io(volume_id, self._node, counters)
                for volume_id, (_, device) in self._describer.staged().items()
                if (counters := io_counters(device))
            ]
        )

    async def ListCopies(
        self, request: inspect_pb2.ListCopiesRequest, context: object
    ) -> inspect_pb2.ListCopiesResponse:
        """Return the copies of images that are running in the background."""
        copies = [_copy(copy, self._node) for copy in self._copies()]
        return inspect_pb2.ListCopiesResponse(copies=copies)

    async def ListConditions(
        self, request: inspect_pb2.ListConditionsRequest, context: object
    ) -> inspect_pb2.ListConditionsResponse:
        """Return the alert rules whose condition is true for this node now."""
        conditions = await asyncio.to_thread(self._conditions)
        return inspect_pb2.ListConditionsResponse(
            conditions=[present.alert_condition(each, self._node) for each in conditions]
        )

    async def ListNodes(
        self, request: inspect_pb2.ListNodesRequest, context: object
    ) -> inspect_pb2.ListNodesResponse:
        """Raise Unsupported: only a router knows the nodes."""
        raise Unsupported("this driver is one node; ask a router, as `cellar route` serves it")


def _copy(copy: CopyProgress, node: str) -> inspect_pb2.Copy:
    return inspect_pb2.Copy(
        node=node,
        text=copy.text,
        total_bytes=copy.total,
        copied_bytes=copy.copied,
        seconds=copy.seconds,
        claim=copy.claim,
    )


def _present(description: VolumeDescription) -> inspect_pb2.InspectVolumeResponse:
    mounts = (
        _mount(mount, staging=description.staging.get(mount.target, False))
        for mount in description.mounts
    )
    return inspect_pb2.InspectVolumeResponse(
        pool=description.pool,
        record=record.encode(description.volume),
        device=_device(description.device) if description.device else None,
        mounts=mounts,
        holders=description.holders,
        faults=map(_fault, description.faults),
        extents=description.extents or 0,
        written_bytes=description.written,
        snapshots=map(str, description.snapshots),
        clones=map(str, description.clones),
        usage=_usage(description.usage) if description.usage else None,
    )


def _device(device: Device) -> inspect_pb2.BlockDevice:
    number = f"{os.major(device.number)}:{os.minor(device.number)}"
    return inspect_pb2.BlockDevice(path=str(device.path), number=number, read_only=device.read_only)


def _mount(mount: MountPoint, *, staging: bool) -> inspect_pb2.VolumeMount:
    return inspect_pb2.VolumeMount(
        path=os.fsencode(mount.target).decode(errors="replace"),
        read_only=mount.read_only,
        raw=mount.node,
        staging=staging,
        options=sorted(mount.options),
    )


def _fault(fault: Fault) -> inspect_pb2.VolumeFault:
    return inspect_pb2.VolumeFault(kind=fault.kind, severity=fault.severity, text=fault.text)


def _io(volume_id: str, node: str, counters: IoCounters) -> inspect_pb2.VolumeIo:
    return inspect_pb2.VolumeIo(
        volume_id=volume_id,
        node=node,
        clock=time.monotonic(),
        reads=counters.reads,
        read_bytes=counters.read_bytes,
        read_seconds=counters.read_seconds,
        writes=counters.writes,
        written_bytes=counters.written_bytes,
        write_seconds=counters.write_seconds,
        in_flight=counters.in_flight,
        busy_seconds=counters.busy,
    )


def _usage(usage: Usage) -> inspect_pb2.FilesystemUsage:
    return inspect_pb2.FilesystemUsage(
        total_bytes=usage.total,
        used_bytes=usage.used,
        available_bytes=usage.available,
        inodes=usage.inodes,
        inodes_used=usage.inodes_used,
    )
