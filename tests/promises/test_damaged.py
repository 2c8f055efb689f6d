"""A record that cannot be read, or is of a newer version, belongs to an image that is there."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from csi_proto import csi_pb2 as pb
from tests.support.client import SECONDS, Csi, digest, of_snapshot, of_volume, outcome, refused
from tests.support.disks import MIB, Disk
from tests.support.node import Life, Node
from tests.support.waiting import wait_until

SIZE = 16 * MIB


def _newer(record: Path) -> None:
    flat = json.loads(record.read_text())
    record.write_text(json.dumps({**flat, "schema": 2, "tiers": {"hot": 1}}))


def _truncated(record: Path) -> None:
    record.write_bytes(record.read_bytes()[:40])


def _filled(text: bytes) -> Callable[[Path], None]:
    def damage(record: Path) -> None:
        record.write_bytes(text)

    return damage


def _folder(record: Path) -> None:
    record.unlink()
    record.mkdir()


def _pipe(record: Path) -> None:
    record.unlink()
    os.mkfifo(record)


def _link(record: Path) -> None:
    record.unlink()
    record.symlink_to("/etc/passwd")


def _unreadable(record: Path) -> None:
    """read(2) answers EIO: nothing is mapped at address 0."""
    subprocess.run(["mount", "--bind", "/proc/1/mem", os.fspath(record)], check=True)


def _set(**values: object) -> Callable[[Path], None]:
    def damage(record: Path) -> None:
        record.write_text(json.dumps({**json.loads(record.read_text()), **values}))

    return damage


DAMAGES: dict[str, Callable[[Path], None]] = {
    "newer": _newer,
    "truncated": _truncated,
    "empty": _filled(b""),
    "garbage": _filled(os.urandom(512)),
    "deep": _filled(b"[" * 100_000),
    "huge": lambda record: os.truncate(record, 1 << 40),
    "missing": Path.unlink,
    "folder": _folder,
    "pipe": _pipe,
    "link": _link,
    "unreadable": _unreadable,
    "another": _set(id=f"{'0' * 12}-{'0' * 32}"),
    "numbers": _set(id=7, source=3, members=1, limits=2),
    "negative": _set(size="-4096"),
    "infinite": _set(created="inf"),
    "surrogate": _set(name="\ud800"),
    "climbing": _set(incarnation="../../x"),
}


class Case:
    """A volume that stands in a pod, and its snapshot; then their records go bad."""

    def __init__(self, node: Node, fs: str) -> None:
        self.node = node
        self.disk: Disk = node.disk(fs)
        self.csi: Csi = node.start(f"p=loopfile:{self.disk.where}")
        self.life: Life = node.life(self.csi, self.csi.create("v", SIZE).volume_id)
        self.csi.attach(self.volume_id)
        self.life.up()
        self.life.write()
        self.snapshot_id = self.csi.snapshot("s", self.volume_id).snapshot_id
        self.room = self.csi.capacity().available_capacity
        self._good = {one: self.record(one).read_bytes() for one in self.both}

    @property
    def volume_id(self) -> str:
        return self.life.volume_id

    @property
    def both(self) -> tuple[str, str]:
        return self.volume_id, self.snapshot_id

    def record(self, image_id: str) -> Path:
        return self.disk.where / image_id / "volume.json"

    def image(self, image_id: str) -> Path:
        return self.disk.where / image_id / "disk.img"

    def damage(self, damage: Callable[[Path], None]) -> None:
        self.csi.driver.stop()
        for one in self.both:
            damage(self.record(one))
        self.csi.driver.start()

    def mend(self) -> None:
        for one, text in self._good.items():
            self.clean(one)
            self.record(one).write_bytes(text)

    def clean(self, image_id: str) -> None:
        place = self.record(image_id)
        subprocess.run(["umount", place], check=False, capture_output=True)  # of `_unreadable`
        with suppress(FileNotFoundError, IsADirectoryError):
            place.unlink()
        with suppress(FileNotFoundError, NotADirectoryError):
            place.rmdir()

    def calls(self) -> Iterator[tuple[str, Callable[[], object]]]:
        """Every call that needs to know the volume or the snapshot."""
        csi, volume, snapshot = self.csi, self.volume_id, self.snapshot_id
        controller, metadata = csi.controller, csi.driver.metadata
        yield (
            "GetVolume",
            lambda: controller.ControllerGetVolume(pb.ControllerGetVolumeRequest(volume_id=volume)),
        )
        yield "CreateVolume", lambda: csi.create("v", SIZE)
        yield "DeleteVolume", lambda: csi.delete(volume)
        yield "Publish", lambda: csi.attach(volume)
        yield "Expand", lambda: csi.expand(volume, 2 * SIZE)
        yield "Stage", self.life.stage
        yield "NodePublish", self.life.publish
        yield "Stats", lambda: csi.stats(volume, self.life.target)
        yield "NodeExpand", lambda: csi.grow(volume, self.life.target, SIZE)
        yield "clone", lambda: csi.create("c", SIZE, source=of_volume(volume))
        yield "restore", lambda: csi.create("r", SIZE, source=of_snapshot(snapshot))
        yield "snapshot of it", lambda: csi.snapshot("t", volume)
        yield "group of it", lambda: csi.snapshot_group("g", [volume])
        yield "CreateSnapshot", lambda: csi.snapshot("s", volume)
        yield "DeleteSnapshot", lambda: csi.delete_snapshot(snapshot)
        yield (
            "GetSnapshot",
            lambda: controller.GetSnapshot(pb.GetSnapshotRequest(snapshot_id=snapshot)),
        )
        yield (
            "ListSnapshots of it",
            lambda: controller.ListSnapshots(pb.ListSnapshotsRequest(snapshot_id=snapshot)),
        )
        yield "allocated", lambda: csi.allocated(snapshot)
        yield (
            "delta",
            lambda: list(
                metadata.GetMetadataDelta(
                    pb.GetMetadataDeltaRequest(
                        base_snapshot_id=snapshot, target_snapshot_id=snapshot
                    )
                )
            ),
        )
        yield (
            "validate",
            lambda: controller.ValidateVolumeCapabilities(
                pb.ValidateVolumeCapabilitiesRequest(
                    volume_id=volume,
                    volume_capabilities=[csi.create_request("v").volume_capabilities[0]],
                )
            ),
        )


def _check_told(case: Case, kind: str) -> None:
    answer = case.csi.controller.ListVolumes(pb.ListVolumesRequest(), timeout=SECONDS)
    listed = {one.volume.volume_id: one.status.volume_condition for one in answer.entries}
    assert listed[case.volume_id].abnormal
    said = "upgrade" if kind == "newer" else "operations.md"
    assert said in listed[case.volume_id].message
    health = case.csi.controller.ControllerGetVolumeHealth(
        pb.ControllerGetVolumeHealthRequest(volume_id=case.volume_id), timeout=SECONDS
    ).volume_health
    assert [one.status for one in health.health_statuses] == [pb.DATA_LOSS]
    stored = case.csi.node.NodeGetStorageHealth(pb.NodeGetStorageHealthRequest(), timeout=SECONDS)
    assert "RecordDamaged" in {one.reason for one in stored.backend_health}
    snapshots = case.csi.snapshots()
    assert case.snapshot_id not in snapshots or not snapshots[case.snapshot_id].ready_to_use


@pytest.mark.parametrize(
    ("fs", "kind"),
    [*(("xfs", kind) for kind in DAMAGES), ("ext4", "newer"), ("btrfs", "newer")],
)
def test_a_damaged_record_is_data_loss_until_it_is_put_right(
    node: Node, fs: str, kind: str
) -> None:
    case = Case(node, fs)
    before = {one: digest(case.image(one)) for one in case.both}
    case.damage(DAMAGES[kind])
    try:
        codes = {name: outcome(call) for name, call in case.calls()}
        assert set(codes.values()) == {"DATA_LOSS"}, codes
        _check_told(case, kind)
        assert case.csi.capacity().available_capacity <= case.room + MIB
        case.life.down()
        case.csi.detach(case.volume_id)
        assert node.mounts() == []
        assert node.loops() == []
        with refused("DATA_LOSS"):
            case.csi.delete(case.volume_id)
        after = {one: digest(case.image(one)) for one in case.both}
        assert before[case.snapshot_id] == after[case.snapshot_id]
        assert case.image(case.volume_id).stat().st_size == SIZE
    finally:
        case.mend()
    case.life.up()
    assert case.life.read()
    case.life.down()
    case.csi.delete(case.volume_id)
    case.csi.delete_snapshot(case.snapshot_id)
    wait_until(
        lambda: not [one for one in case.disk.entries() if not one.startswith(".cellar-pool")]
    )


def test_a_damaged_image_that_somebody_took_away_is_gone(node: Node) -> None:
    case = Case(node, "xfs")
    case.life.down()
    case.csi.detach(case.volume_id)
    case.damage(DAMAGES["garbage"])
    for one in case.both:
        subprocess.run(["rm", "-r", case.disk.where / one], check=True)
    case.csi.delete(case.volume_id)
    case.csi.delete_snapshot(case.snapshot_id)
    assert case.csi.volumes() == {}
    wait_until(lambda: case.csi.capacity().available_capacity > case.room)


def test_one_damaged_record_does_not_keep_others_from_work(node: Node) -> None:
    case = Case(node, "xfs")
    other = node.life(case.csi, case.csi.create("other", SIZE).volume_id)
    case.damage(DAMAGES["missing"])
    other.up()
    other.down()
    case.csi.delete(other.volume_id)
    case.mend()
