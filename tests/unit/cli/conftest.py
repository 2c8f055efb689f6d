# ruff: noqa: N802 - the spec names the methods
"""A fake driver behind a socket, and the commands that ask it."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest
import typer
from typer.testing import CliRunner

from csi_proto import cellar_pb2 as cellar
from csi_proto import cellar_pb2_grpc, csi_pb2_grpc, inspect_pb2, inspect_pb2_grpc
from csi_proto import csi_pb2 as csi
from driver.cli import call
from driver.cli.doctor import command as doctor
from driver.cli.lists import tables
from driver.cli.live import hold

POOL = "0123456789ab"
VOLUME = f"{POOL}-{'a' * 32}"
CLONE = f"{POOL}-{'c' * 32}"
INLINE = f"{POOL}-{'d' * 32}"
HANDLE = f"csi-{'e' * 64}"
SNAPSHOT = f"{POOL}-{'b' * 32}"


app = typer.Typer()
app.command("volumes")(tables.volumes)
app.command("snapshots")(tables.snapshots)
app.command("call")(call.command)
app.command("hold")(hold.hold)
app.command("release")(hold.release)
app.add_typer(tables.pools, name="pools")
app.command("doctor")(doctor.command)


class FakePools(cellar_pb2_grpc.NodeServicer):
    def ListPools(self, request: cellar.ListPoolsRequest, context: Any) -> Any:
        return cellar.ListPoolsResponse(
            pools=[
                cellar.Pool(
                    name="fast",
                    type="loopfile",
                    where="/srv/fast",
                    id=POOL,
                    allocation="thick",
                    reflink=True,
                    volumes=2,
                    snapshots=1,
                    total_bytes=10 << 30,
                    committed_bytes=2 << 30,
                    largest_bytes=7 << 30,
                ),
                cellar.Pool(name="slow", type="loopfile", where="/srv/slow", away="no marker"),
            ]
        )

    def Describe(self, request: cellar.DescribeRequest, context: Any) -> Any:
        records = [
            cellar.Record(
                id=VOLUME,
                name="pvc-1",
                filesystem="ext4",
                allocation="thick",
                namespace="shop",
                claim="data",
                persistent="pvc-1",
                limits={"readIops": 100, "writeBps": 4 << 20},
                held=True,
            ),
            cellar.Record(id=INLINE, name=HANDLE, filesystem="ext4", inline=True),
            cellar.Record(id=SNAPSHOT, name="snap-1", filesystem="ext4", created=1.0),
        ]
        ids = {*request.volume_ids, *request.snapshot_ids}
        return cellar.DescribeResponse(records=[one for one in records if one.id in ids])

    def SetHold(self, request: cellar.SetHoldRequest, context: Any) -> Any:
        if request.volume_id != VOLUME:
            context.abort(grpc.StatusCode.NOT_FOUND, "no such volume")
        return cellar.SetHoldResponse()


class FakeController(csi_pb2_grpc.ControllerServicer):
    """Three volumes on two pages, and a snapshot."""

    def ListVolumes(self, request: csi.ListVolumesRequest, context: Any) -> Any:
        if not request.starting_token:
            volume = csi.Volume(volume_id=VOLUME, capacity_bytes=1 << 30)
            status = csi.ListVolumesResponse.VolumeStatus(
                published_node_ids=["n1"],
                volume_condition=csi.VolumeCondition(abnormal=True, message="image is gone"),
            )
            entry = csi.ListVolumesResponse.Entry(volume=volume, status=status)
            return csi.ListVolumesResponse(entries=[entry], next_token="2")
        source = csi.VolumeContentSource(
            snapshot=csi.VolumeContentSource.SnapshotSource(snapshot_id=SNAPSHOT)
        )
        volume = csi.Volume(volume_id=CLONE, capacity_bytes=1 << 30, content_source=source)
        inline = csi.Volume(volume_id=INLINE, capacity_bytes=1 << 30)
        entries = [csi.ListVolumesResponse.Entry(volume=one) for one in (volume, inline)]
        return csi.ListVolumesResponse(entries=entries)

    def ListSnapshots(self, request: csi.ListSnapshotsRequest, context: Any) -> Any:
        snapshot = csi.Snapshot(snapshot_id=SNAPSHOT, source_volume_id=VOLUME, size_bytes=1 << 30)
        snapshot.creation_time.FromSeconds(60)
        entry = csi.ListSnapshotsResponse.Entry(snapshot=snapshot)
        return csi.ListSnapshotsResponse(entries=[entry])

    def DeleteVolume(self, request: csi.DeleteVolumeRequest, context: Any) -> Any:
        context.abort(grpc.StatusCode.FAILED_PRECONDITION, "it is in use")


class FakeInspection(inspect_pb2_grpc.InspectionServicer):
    def ListOrphans(self, request: inspect_pb2.ListOrphansRequest, context: Any) -> Any:
        return inspect_pb2.ListOrphansResponse(orphans=[inspect_pb2.Orphan(volume_id=CLONE)])


@pytest.fixture
def endpoint(tmp_path: Path) -> Iterator[str]:
    """A driver, which is one node."""
    with _served(tmp_path / "csi.sock") as endpoint:
        yield endpoint


@pytest.fixture
def router(tmp_path: Path) -> Iterator[str]:
    with _served(tmp_path / "router.sock", FakeInspection()) as endpoint:
        yield endpoint


@contextmanager
def _served(
    socket: Path, inspection: inspect_pb2_grpc.InspectionServicer | None = None
) -> Iterator[str]:
    server = grpc.server(ThreadPoolExecutor(2))
    cellar_pb2_grpc.add_NodeServicer_to_server(FakePools(), server)
    csi_pb2_grpc.add_ControllerServicer_to_server(FakeController(), server)
    if inspection:
        inspect_pb2_grpc.add_InspectionServicer_to_server(inspection, server)
    server.add_insecure_port(f"unix://{socket}")
    server.start()
    yield f"unix://{socket}"
    server.stop(None).wait(5)


def run(*words: str, status: int = 0) -> str:
    result = CliRunner().invoke(app, words)
    assert result.exit_code == status, result.output
    return result.output
