"""Group snapshots of volumes on several nodes: one moment for all, or nothing."""

from __future__ import annotations

import os
import signal
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest

from csi_proto import cellar_pb2 as cellar
from csi_proto import cellar_pb2_grpc
from csi_proto import csi_pb2 as csi
from tests.cluster.conftest import POOLS
from tests.cluster.machines import MOUNT, RoutedCluster, code_of, create, on
from tests.support import disks
from tests.support.driver_process import DriverProcess
from tests.support.waiting import wait_until

Code = grpc.StatusCode


@pytest.fixture
def cluster(where: Path) -> Iterator[RoutedCluster]:
    with RoutedCluster(where, POOLS) as cluster:
        yield cluster
    assert not [log for log in where.rglob("*.log") if "Traceback" in log.read_text()]


def request_of(name: str, *volumes: csi.Volume) -> csi.CreateVolumeGroupSnapshotRequest:
    ids = [volume.volume_id for volume in volumes]
    return csi.CreateVolumeGroupSnapshotRequest(name=name, source_volume_ids=ids)


def spread(cluster: RoutedCluster, nodes: str) -> list[csi.Volume]:
    """A volume on each of the nodes."""
    return [
        create(cluster.router, f"v-{node}", accessibility_requirements=on(node)) for node in nodes
    ]


def snapshots(driver: DriverProcess) -> list[str]:
    entries = driver.controller.ListSnapshots(csi.ListSnapshotsRequest()).entries
    return [entry.snapshot.snapshot_id for entry in entries]


def left(cluster: RoutedCluster) -> list[str]:
    return [snapshot for node in cluster.nodes.values() for snapshot in snapshots(node)]


@contextmanager
def stopped(node: DriverProcess) -> Iterator[None]:
    """It hangs, and nobody knows yet."""
    os.kill(node.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(node.pid, signal.SIGCONT)


def test_a_member_whose_node_hangs_spoils_the_group_and_nothing_is_left(
    cluster: RoutedCluster,
) -> None:
    a, b = spread(cluster, "ab")
    with stopped(cluster.nodes["b"]):
        code = code_of(
            lambda: cluster.router.group.CreateVolumeGroupSnapshot(request_of("g", a, b))
        )
        assert code in {Code.FAILED_PRECONDITION, Code.UNAVAILABLE}
    wait_until(lambda: left(cluster) == [])
    created: Callable[[], object] = lambda: cluster.router.group.CreateVolumeGroupSnapshot(  # noqa: E731
        request_of("g", a, b)
    )
    wait_until(lambda: code_of(created) is Code.OK)
    assert len(left(cluster)) == 2


@contextmanager
def begun(node: DriverProcess, name: str, local: csi.Volume, *others: csi.Volume) -> Iterator[Any]:
    """Another router has begun a group, and got as far as this: the writers stand still."""
    assert node.channel
    stub = cellar_pb2_grpc.NodeStub(node.channel)
    request = cellar.TakePartRequest(
        session="l",
        name=name,
        source_volume_ids=[volume.volume_id for volume in (local, *others)],
        local_volume_ids=[local.volume_id],
        created=1.0,
    )
    states = stub.TakePart(request, timeout=60)
    try:
        assert next(states).step == cellar.PartState.FROZEN
        yield states
    finally:
        states.cancel()


def test_a_router_that_dies_leaves_nothing_and_holds_nobody(cluster: RoutedCluster) -> None:
    a, b = spread(cluster, "ab")
    delete = csi.DeleteVolumeRequest(volume_id=a.volume_id)
    with begun(cluster.nodes["a"], "g", a, b):
        code = code_of(lambda: cluster.router.controller.DeleteVolume(delete))
        assert code is Code.ABORTED
    wait_until(lambda: code_of(lambda: cluster.router.controller.DeleteVolume(delete)) is Code.OK)
    assert left(cluster) == []


def test_a_router_that_hangs_is_not_waited_for(cluster: RoutedCluster) -> None:
    """The writers stand still for seconds at most, whatever becomes of the router."""
    a, b = spread(cluster, "ab")
    with begun(cluster.nodes["a"], "g", a, b) as states:
        last = next(states)
        assert (last.step, last.code) == (cellar.PartState.UNDONE, "ABORTED")
        assert "not frozen in time" in last.text
    assert left(cluster) == []


def test_a_busy_member_makes_the_whole_group_wait(cluster: RoutedCluster) -> None:
    a, b = spread(cluster, "ab")
    request = request_of("g", a, b)
    make: Callable[[], object] = lambda: cluster.router.group.CreateVolumeGroupSnapshot(request)  # noqa: E731
    with begun(cluster.nodes["a"], "g", a, b):
        assert code_of(make) is Code.ABORTED
        assert snapshots(cluster.nodes["b"]) == []
    wait_until(lambda: code_of(make) is Code.OK)


def test_a_half_made_group_is_made_anew(cluster: RoutedCluster) -> None:
    """As if a node had died between its last step and the answer."""
    volumes = spread(cluster, "abc")
    group = cluster.router.group
    created = group.CreateVolumeGroupSnapshot(request_of("g", *volumes)).group_snapshot
    lost = cluster.nodes["c"]
    lost.kill()
    lost.start()  # what is in memory is gone with the process: its pool is a new one
    assert snapshots(lost) == []
    volume = create(cluster.router, "w", accessibility_requirements=on("b"))
    wait_until(
        lambda: (
            code_of(lambda: group.CreateVolumeGroupSnapshot(request_of("g", volumes[0], volume)))
            in {Code.OK, Code.UNAVAILABLE}
        )
    )
    get = csi.GetVolumeGroupSnapshotRequest(group_snapshot_id=created.group_snapshot_id)
    assert code_of(lambda: group.GetVolumeGroupSnapshot(get)) is not Code.OK


class NodesWithDisks:
    """Two nodes with disks that can share bytes, a volume on each of them, and a writer."""

    def __init__(self, where: Path, cluster: RoutedCluster) -> None:
        self.where = where
        self.cluster = cluster
        self.router = cluster.router
        self._staged: list[tuple[DriverProcess, csi.Volume, Path]] = []

    def stage(self, volume: csi.Volume, node: str) -> Path:
        path = self.where / f"stage-{len(self._staged)}"
        driver = self.cluster.nodes[node]
        driver.node.NodeStageVolume(
            csi.NodeStageVolumeRequest(
                volume_id=volume.volume_id,
                staging_target_path=str(path),
                volume_capability=MOUNT,
                volume_context=volume.volume_context,
            )
        )
        self._staged.append((driver, volume, path))
        return path

    def restored(self, snapshot: csi.Snapshot, node: str) -> int:
        """The number that the volume had at the moment of the snapshot."""
        source = csi.VolumeContentSource.SnapshotSource(snapshot_id=snapshot.snapshot_id)
        content_source = csi.VolumeContentSource(snapshot=source)
        name = f"r-{snapshot.snapshot_id}"
        volume = create(
            self.router,
            name,
            volume_content_source=content_source,
            accessibility_requirements=on(node),
            capacity_range=SIZE,
        )
        return number(self.stage(volume, node))

    def clear(self) -> None:
        for driver, volume, path in self._staged:
            driver.node.NodeUnstageVolume(
                csi.NodeUnstageVolumeRequest(
                    volume_id=volume.volume_id, staging_target_path=str(path)
                )
            )


SIZE = csi.CapacityRange(required_bytes=64 << 20)


def number(path: Path) -> int:
    return int((path / "number").read_text())


@contextmanager
def counted(first: Path, second: Path) -> Iterator[Callable[[], int]]:
    """One number after the other, always into the first before the second; how far it is."""
    stop, at = threading.Event(), [0]

    def write() -> None:
        while not stop.is_set():
            at[0] += 1
            for path in (first, second):
                fd = os.open(path / "number", os.O_RDWR | os.O_CREAT)
                os.pwrite(fd, b"%020d" % at[0], 0)
                os.fsync(fd)
                os.close(fd)

    thread = threading.Thread(target=write)
    thread.start()
    try:
        wait_until(lambda: at[0] > 3)
        yield lambda: at[0]
    finally:
        stop.set()
        thread.join(60)


@pytest.fixture
def on_disks() -> Iterator[NodesWithDisks]:
    with tempfile.TemporaryDirectory(prefix="cl-") as name:
        where = Path(name)
        created = {
            node: disks.make(where / f"{node}.disk", where / f"d{node}", "xfs", 1 << 30)
            for node in "ab"
        }
        try:
            pools = {
                node: [f"p=loopfile:{disk.where},allocation=sparse"]
                for node, disk in created.items()
            }
            with RoutedCluster(where, pools) as cluster:
                on_disks = NodesWithDisks(where, cluster)
                yield on_disks
                on_disks.clear()
        finally:
            for disk in created.values():
                disk.unmount()


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="needs root: loop devices and mounts")
def test_the_writers_on_all_nodes_stand_still_at_one_moment(on_disks: NodesWithDisks) -> None:
    """What was written later is in no snapshot without what was written before it."""
    volumes = [
        create(
            on_disks.router, f"v{node}", accessibility_requirements=on(node), capacity_range=SIZE
        )
        for node in "ab"
    ]
    first, second = (
        on_disks.stage(volume, node) for volume, node in zip(volumes, "ab", strict=True)
    )
    with counted(first, second) as at:
        for turn in range(3):
            before = at()
            request = request_of(f"g{turn}", *volumes)
            group = on_disks.router.group.CreateVolumeGroupSnapshot(request).group_snapshot
            wait_until(lambda before=before: at() > before + 1)  # type: ignore[misc]
            by_source = {member.source_volume_id: member for member in group.snapshots}
            counts = [
                on_disks.restored(by_source[volume.volume_id], node)
                for volume, node in zip(volumes, "ab", strict=True)
            ]
            assert counts[0] - counts[1] in {0, 1}
            assert counts[0] >= before - 1


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="needs root: loop devices and mounts")
def test_a_router_that_dies_leaves_no_filesystem_frozen(on_disks: NodesWithDisks) -> None:
    volume, other = (
        create(
            on_disks.router, f"v{node}", accessibility_requirements=on(node), capacity_range=SIZE
        )
        for node in "ab"
    )
    first, second = on_disks.stage(volume, "a"), on_disks.where / "elsewhere"
    second.mkdir()
    with counted(first, second) as at:
        with begun(on_disks.cluster.nodes["a"], "g", volume, other):
            now = at()
            assert at() <= now + 1
        wait_until(lambda: at() > now + 3)
        wait_until(lambda: snapshots(on_disks.cluster.nodes["a"]) == [])
        with begun(on_disks.cluster.nodes["a"], "g", volume, other):
            now = at()
            wait_until(lambda: at() > now + 3)  # at the bound, with the router still there
