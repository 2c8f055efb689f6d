"""A driver for the page, without a socket: its lists, which a test changes, and its calls."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any

import grpc

from csi_proto import cellar_pb2 as cellar
from csi_proto import csi_pb2 as csi
from csi_proto import inspect_pb2
from driver.cli.client import CallFailed

POOL = "0123456789ab"


def id_of(number: int) -> str:
    return f"{POOL}-{number:032x}"


class FakeDriver:
    """What the page asks of a driver's client; `make` returns one that shares the lists."""

    def __init__(self, count: int = 3) -> None:
        self.names = {id_of(number): f"pvc-{number}" for number in range(count)}
        self.claims: dict[str, str] = {}
        self.abnormal: dict[str, str] = {}
        self.snapshot_of: dict[str, str] = {}
        self.ended: list[inspect_pb2.Call] = []
        self.copies: list[inspect_pb2.Copy] = []
        self.conditions: list[inspect_pb2.Condition] = []
        self.nodes: list[inspect_pb2.NodeEntry] = []  # not empty: it is a router
        self.problem = ""
        self.asked = 0
        self.hangs = False  # until it is closed
        self.hanging, self.closed = threading.Event(), threading.Event()
        self.inspection = SimpleNamespace(
            ListNodes=self._list_nodes,
            InspectVolume=lambda request, **_: self._inspect(request),
            ListCopies=lambda _: inspect_pb2.ListCopiesResponse(copies=self.copies),
            ListConditions=lambda _: inspect_pb2.ListConditionsResponse(conditions=self.conditions),
        )

    def make(self) -> Any:
        return nullcontext(self)

    def end_call(self, rpc: str, request: str = "{}", code: str = "OK", error: str = "") -> None:
        self.ended.append(
            inspect_pb2.Call(
                number=len(self.ended) + 1,
                ended=time.time(),
                rpc=rpc,
                code=code,
                error=error,
                seconds=0.01,
                request=request,
            )
        )

    # --- what driver.cli.client.Client has

    def close(self) -> None:
        self.closed.set()

    def pools(self) -> list[cellar.Pool]:
        self.asked += 1
        if self.hangs:
            self.hanging.set()
            self.closed.wait()
            raise CallFailed(grpc.StatusCode.CANCELLED, "the connection was closed")
        if self.problem:
            raise CallFailed(grpc.StatusCode.UNAVAILABLE, self.problem)
        fast = cellar.Pool(
            name="fast",
            type="loopfile",
            where="/srv/fast",
            id=POOL,
            volumes=len(self.names),
            total_bytes=100 << 30,
            committed_bytes=40 << 30,
            largest_bytes=60 << 30,
            occupied=0.25,
        )
        return [fast, cellar.Pool(name="slow", type="loopfile", away="its disk was pulled")]

    def volumes(self) -> Iterator[list[Any]]:
        entry, status = csi.ListVolumesResponse.Entry, csi.ListVolumesResponse.VolumeStatus
        yield [
            entry(
                volume=csi.Volume(volume_id=volume_id, capacity_bytes=1 << 30),
                status=status(
                    volume_condition=csi.VolumeCondition(
                        abnormal=volume_id in self.abnormal,
                        message=self.abnormal.get(volume_id, ""),
                    )
                ),
            )
            for volume_id in [*self.names]
        ]

    def snapshots(self) -> Iterator[list[csi.Snapshot]]:
        yield [
            csi.Snapshot(snapshot_id=snapshot, source_volume_id=source)
            for snapshot, source in self.snapshot_of.items()
        ]

    def describe(self, volume_ids: Any = (), snapshot_ids: Any = ()) -> dict[str, cellar.Record]:
        records = {
            volume_id: cellar.Record(
                id=volume_id,
                name=self.names[volume_id],
                filesystem="ext4",
                namespace="shop" if volume_id in self.claims else "",
                claim=self.claims.get(volume_id, ""),
            )
            for volume_id in volume_ids
        }
        return records | {each: cellar.Record(id=each, name="snap-1") for each in snapshot_ids}

    def call(self, method: Any, request: Any) -> Any:
        return method(request)

    def calls(self, request: inspect_pb2.FollowCallsRequest) -> Iterator[inspect_pb2.Call]:
        yield from self.ended

    def _list_nodes(self, request: Any) -> Any:
        if not self.nodes:
            raise CallFailed(grpc.StatusCode.UNIMPLEMENTED, "a node")
        return inspect_pb2.ListNodesResponse(nodes=self.nodes)

    def _inspect(self, request: Any) -> inspect_pb2.InspectVolumeResponse:
        if request.volume_id not in self.names:
            raise CallFailed(grpc.StatusCode.NOT_FOUND, "no such volume")
        return inspect_pb2.InspectVolumeResponse(
            node="n1", pool="fast", record={"name": self.names[request.volume_id]}
        )
