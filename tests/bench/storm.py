"""Many callers at once: what pods wait while claims are created and deleted by the hundred.

Callers are as patient as those of Kubernetes: what fails is tried again, later each time, as
csi-provisioner does (--retry-interval-start) and kubelet. Each status but OK is counted.
"""

from __future__ import annotations

import asyncio
import statistics
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc.aio

from csi_proto import csi_pb2 as pb
from csi_proto import csi_pb2_grpc as rpc
from driver.core.model import MIB
from tests.bench.measures import Figure
from tests.bench.peer import mount_capability

SECONDS = 60.0  # of a call; more than any sidecar gives it, so that nothing is hidden by a repeat
RETRY = 0.5  # seconds before the first repetition
CLAIMS = 100
PODS = 200
OLD = 1_000  # volumes that are deleted
WATCHED = 20  # pods that come and go meanwhile, one after the other


@dataclass
class Storm:
    """The callers of one driver. `times`: milliseconds of each call that answered OK, by method;
    `refused`: the other statuses.
    """

    channel: grpc.aio.Channel
    kubelet: Path
    times: dict[str, list[float]] = field(default_factory=dict)
    refused: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self.controller = rpc.ControllerStub(self.channel)
        self.node = rpc.NodeStub(self.channel)

    async def create(self, name: str) -> str:
        """Create a volume as csi-provisioner does, and return its id."""
        request = pb.CreateVolumeRequest(
            name=name,
            capacity_range=pb.CapacityRange(required_bytes=16 * MIB),
            volume_capabilities=[mount_capability()],
        )
        answer = await self._patiently(
            "CreateVolume", lambda: self.controller.CreateVolume(request, timeout=SECONDS)
        )
        volume_id: str = answer.volume.volume_id
        return volume_id

    async def delete(self, volume_id: str) -> None:
        request = pb.DeleteVolumeRequest(volume_id=volume_id)
        await self._patiently(
            "DeleteVolume", lambda: self.controller.DeleteVolume(request, timeout=SECONDS)
        )

    async def up(self, volume_id: str) -> None:
        """Stage and publish a volume, as kubelet does when a pod starts."""
        staging, target = self._paths(volume_id)
        staging.mkdir(parents=True)
        stage = pb.NodeStageVolumeRequest(
            volume_id=volume_id,
            staging_target_path=str(staging),
            volume_capability=mount_capability(),
        )
        await self._patiently(
            "NodeStageVolume", lambda: self.node.NodeStageVolume(stage, timeout=SECONDS)
        )
        publish = pb.NodePublishVolumeRequest(
            volume_id=volume_id,
            staging_target_path=str(staging),
            target_path=str(target),
            volume_capability=mount_capability(),
        )
        await self._patiently(
            "NodePublishVolume", lambda: self.node.NodePublishVolume(publish, timeout=SECONDS)
        )

    async def down(self, volume_id: str) -> None:
        """Unpublish and unstage a volume, as kubelet does when a pod ends."""
        staging, target = self._paths(volume_id)
        unpublish = pb.NodeUnpublishVolumeRequest(volume_id=volume_id, target_path=str(target))
        await self._patiently(
            "NodeUnpublishVolume", lambda: self.node.NodeUnpublishVolume(unpublish, timeout=SECONDS)
        )
        unstage = pb.NodeUnstageVolumeRequest(volume_id=volume_id, staging_target_path=str(staging))
        await self._patiently(
            "NodeUnstageVolume", lambda: self.node.NodeUnstageVolume(unstage, timeout=SECONDS)
        )
        staging.rmdir()

    def taken(self, method: str) -> list[float]:
        """Return the times of a method since they were asked for last."""
        return self.times.pop(method, [])

    def _paths(self, volume_id: str) -> tuple[Path, Path]:
        return self.kubelet / "storm" / volume_id, self.kubelet / f"storm-{volume_id}"

    async def _patiently(self, method: str, call: Callable[[], Any]) -> Any:
        """Call until it answers OK; the time is that from the first call on."""
        start, pause = time.perf_counter(), RETRY
        while True:
            try:
                answer = await call()
            except grpc.aio.AioRpcError as error:
                self.refused[f"{method} {error.code().name}"] += 1
                await asyncio.sleep(pause)
                pause *= 2
            else:
                took = 1e3 * (time.perf_counter() - start)
                self.times.setdefault(method, []).append(took)
                return answer


@asynccontextmanager
async def storm(endpoint: str, kubelet: Path) -> AsyncIterator[Storm]:
    """The callers of the driver at this socket, with mounts below `kubelet`."""
    async with grpc.aio.insecure_channel(endpoint) as channel:
        yield Storm(channel, kubelet)


async def together(calls: Iterable[Awaitable[object]], most: int = CLAIMS) -> list[object]:
    """Await all calls, `most` of them at a time: the workers of a sidecar."""
    free = asyncio.Semaphore(most)

    async def bounded(call: Awaitable[object]) -> object:
        async with free:
            return await call

    return await asyncio.gather(*(bounded(call) for call in calls))


def measured(endpoint: str, kubelet: Path, scale: float = 1.0) -> list[Figure]:
    """The figures of the driver at this socket. `scale`: a smaller storm, for a test."""
    return asyncio.run(_measured(endpoint, kubelet, scale))


async def _measured(endpoint: str, kubelet: Path, scale: float) -> list[Figure]:
    async with storm(endpoint, kubelet) as callers:
        figures = [
            *await _rebooted(callers, max(2, int(PODS * scale))),
            *await _besides(callers, max(2, int(CLAIMS * scale)), max(4, int(OLD * scale))),
        ]
        refused = ", ".join(f"{count} {code}" for code, count in callers.refused.items())
        count = sum(callers.refused.values())
        figures.append(
            Figure("calls of all storms that failed", count, "", target="0", note=refused)
        )
        return figures


async def _rebooted(callers: Storm, pods: int) -> list[Figure]:
    """All pods of a node start at once, and end at once."""
    names = [f"pod-{number}" for number in range(pods)]
    volumes = [str(volume) for volume in await together(map(callers.create, names))]
    callers.times.clear()
    start = time.perf_counter()
    await together(map(callers.up, volumes), most=pods)
    took = time.perf_counter() - start
    staged = callers.taken("NodeStageVolume")
    start = time.perf_counter()
    await together(map(callers.down, volumes), most=pods)
    ended = time.perf_counter() - start
    await together(map(callers.delete, volumes))
    label = f"{pods} pods of a rebooted node"
    return [
        Figure(f"{label}, until all are published", took, "s", target="<= 10 s"),
        Figure(f"{label}, NodeStageVolume p99", _p99(staged), note=_middle(staged)),
        Figure(f"{label}, until all are gone", ended, "s"),
    ]


async def _besides(callers: Storm, claims: int, old: int) -> list[Figure]:
    """Pods come and go one after the other: alone, while claims are created, and deleted."""
    [volume] = [str(volume) for volume in await together([callers.create("watched")])]
    callers.times.clear()
    alone = await _stages(callers, volume, None)
    names = [f"old-{number}" for number in range(old)]
    creates = asyncio.ensure_future(together(map(callers.create, names), most=claims))
    while_created = await _stages(callers, volume, creates)
    volumes = [str(volume) for volume in await creates]
    created = callers.taken("CreateVolume")
    deletes = asyncio.ensure_future(together(map(callers.delete, volumes), most=claims))
    while_deleted = await _stages(callers, volume, deletes)
    await deletes
    deleted = callers.taken("DeleteVolume")
    await callers.delete(volume)
    return [
        Figure("NodeStageVolume alone, p99", _p99(alone), note=_middle(alone)),
        *_beside("CreateVolume", claims, created, while_created),
        *_beside("DeleteVolume", claims, deleted, while_deleted),
    ]


def _beside(
    method: str, claims: int, times: Sequence[float], stages: Sequence[float]
) -> list[Figure]:
    label = f"{method}, {claims} in flight"
    return [
        Figure(f"{label}, p99", _p99(times), note=f"{len(times)} calls, {_middle(times)}"),
        Figure(
            f"NodeStageVolume beside {label}, p99",
            _p99(stages),
            target="<= half of theirs" if method == "CreateVolume" else "",
            note=f"{len(stages)} calls, {_middle(stages)}",
        ),
    ]


async def _stages(
    callers: Storm, volume: str, until: asyncio.Future[list[object]] | None
) -> list[float]:
    """The times of stages, one after the other, until that has ended; WATCHED of them without it."""
    callers.taken("NodeStageVolume")
    turns = 0
    while turns < WATCHED if until is None else not until.done():
        await callers.up(volume)
        await callers.down(volume)
        turns += 1
    return callers.taken("NodeStageVolume")


def _p99(times: Sequence[float]) -> float:
    ordered = sorted(times)
    return ordered[min(len(ordered) - 1, int(0.99 * len(ordered)))] if ordered else 0.0


def _middle(times: Sequence[float]) -> str:
    return f"median {statistics.median(times):.1f} ms" if times else "none in that time"
