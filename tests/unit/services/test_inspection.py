"""The service that describes volumes, on a simulated pool."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from csi_proto import inspect_pb2
from driver.core.errors import NotFound, Unsupported
from driver.core.faults import Fault, FaultKind, Severity
from driver.core.ids import VolumeId, volume_key
from driver.core.model import GIB, Allocation, FsType, Volume
from driver.core.ports.conditions import Alarm, Condition
from driver.core.ports.memory_records import MemoryRecords
from driver.core.ports.pool import Pool
from driver.linux.meters.io_counters import IoCounters
from driver.services import inspection
from driver.services.inspection import Inspection
from driver.volumes.copies.background import CopyProgress
from driver.volumes.node.description import Describer
from driver.volumes.node.mount_records import MountRecords
from driver.volumes.pools.registry import Pools
from tests.support.failing_backend import FailingBackend, failing_pool


async def run(work: Callable[[Any], Any], request: Any) -> Any:
    return work(request)


def create(pool: Pool) -> Volume:
    volume = Volume(
        id=VolumeId(pool.backend.id, volume_key("pvc-1")),
        name="pvc-1",
        size=GIB,
        fs=FsType.EXT4,
        allocation=Allocation.THICK,
        block_size=4096,
        incarnation="1",
    )
    pool.backend.create(
        volume, lambda path: pool.host.mkfs(path, FsType.EXT4, block_size=4096, options=())
    )
    return volume


def inspected(pool: Pool, volume_id: str) -> inspect_pb2.InspectVolumeResponse:
    describer = Describer(Pools([pool]), MountRecords(MemoryRecords()))
    request = inspect_pb2.InspectVolumeRequest(volume_id=volume_id)
    return asyncio.run(Inspection(run, describer, "node-a").InspectVolume(request, None))


def test_a_mounted_volume_is_shown_with_its_device_and_its_mount(tmp_path: Path) -> None:
    pool = failing_pool("fast", 10 * GIB)
    volume, target = create(pool), tmp_path / "target"
    device = pool.backend.attach(volume, read_only=False)
    pool.host.mount(device, target, FsType.EXT4, (), read_only=True)
    answer = inspected(pool, str(volume.id))
    assert (answer.node, answer.pool, answer.record["name"]) == ("node-a", "fast", "pvc-1")
    assert (answer.device.path, answer.device.read_only) == (str(device.path), False)
    [mount] = answer.mounts
    assert (mount.path, mount.read_only, mount.raw) == (str(target), True, False)
    assert answer.usage.total_bytes == GIB


def test_a_path_that_is_not_utf8_is_shown_as_far_as_it_can_be(tmp_path: Path) -> None:
    pool = failing_pool("fast", 10 * GIB)
    volume, target = create(pool), tmp_path / "a\udcff"
    device = pool.backend.attach(volume, read_only=False)
    pool.host.mount(device, target, FsType.EXT4, (), read_only=True)
    [mount] = inspected(pool, str(volume.id)).mounts
    assert mount.path == f"{tmp_path}/a\ufffd"


def test_a_volume_that_is_not_attached_has_no_device_and_its_faults() -> None:
    pool = failing_pool("fast", 10 * GIB)
    volume = create(pool)
    fault = Fault(FaultKind.BACKING_FILE_SHORT, "too short", Severity.DATA_LOSS)
    assert isinstance(pool.backend, FailingBackend)
    pool.backend.set_faults(volume.id, fault)
    answer = inspected(pool, str(volume.id))
    assert not answer.HasField("device")
    assert not answer.HasField("usage")
    [shown] = answer.faults
    assert (shown.kind, shown.severity, shown.text) == (
        "BackingFileShort",
        "data_loss",
        "too short",
    )


@pytest.mark.parametrize("volume_id", ["not ours", f"{'0' * 12}-{'0' * 32}"])
def test_what_does_not_exist_is_not_found(volume_id: str) -> None:
    pool = failing_pool("fast", 10 * GIB)
    unknown = volume_id.replace("0" * 12, pool.backend.id)
    with pytest.raises(NotFound):
        inspected(pool, unknown)


def test_devices_that_the_kernel_counts_are_listed(monkeypatch: pytest.MonkeyPatch) -> None:
    pool = failing_pool("fast", 10 * GIB)
    describer = Describer(Pools([pool]), MountRecords(MemoryRecords()))
    monkeypatch.setattr(
        Describer, "staged", lambda _: {"a": ("/staging/a", 7), "gone": ("/staging/b", 8)}
    )
    counters = IoCounters(1, 512, 0.5, 2, 1024, 0.25, 3, 0.75)
    monkeypatch.setattr(inspection, "io_counters", {7: counters}.get)
    service = Inspection(run, describer, "node-a")
    [volume] = asyncio.run(service.ListIo(inspect_pb2.ListIoRequest(), None)).volumes
    assert (volume.volume_id, volume.node, volume.reads, volume.in_flight) == ("a", "node-a", 1, 3)
    assert (volume.read_bytes, volume.written_bytes, volume.busy_seconds) == (512, 1024, 0.75)


def test_the_nodes_are_known_to_a_router_only() -> None:
    pool = failing_pool("fast", 10 * GIB)
    describer = Describer(Pools([pool]), MountRecords(MemoryRecords()))
    with pytest.raises(Unsupported, match="ask a router"):
        asyncio.run(
            Inspection(run, describer, "node-a").ListNodes(inspect_pb2.ListNodesRequest(), None)
        )


def test_copies_and_conditions_are_those_of_this_node() -> None:
    describer = Describer(Pools([failing_pool("fast", GIB)]), MountRecords(MemoryRecords()))
    service = Inspection(
        run,
        describer,
        "node-a",
        copies=lambda: [CopyProgress("a clone", 100, 40, 2.0)],
        conditions=lambda: [Condition("CellarNotRegistered", Alarm.CRITICAL, "text", "v1")],
    )
    copies = asyncio.run(service.ListCopies(inspect_pb2.ListCopiesRequest(), None)).copies
    assert [*copies] == [
        inspect_pb2.Copy(
            node="node-a", text="a clone", total_bytes=100, copied_bytes=40, seconds=2.0
        )
    ]
    request = inspect_pb2.ListConditionsRequest()
    assert [*asyncio.run(service.ListConditions(request, None)).conditions] == [
        inspect_pb2.Condition(
            node="node-a",
            alert="CellarNotRegistered",
            severity="critical",
            text="text",
            volume_id="v1",
        )
    ]
