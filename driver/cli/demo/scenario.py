"""The demo's scenario: all operations on a volume, in order. Each chapter is a method."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import grpc

from csi_proto import csi_pb2 as csi
from driver.cli.demo.calls import Calls, DemoVolume
from driver.cli.demo.narrator import Narrator
from driver.cli.demo.observations import Observations
from driver.cli.output import human
from driver.core.model import GIB, MIB, Bytes

SIZE: Final[Bytes] = GIB
GROWN: Final[Bytes] = 2 * GIB
WRITTEN: Final[Bytes] = 32 * MIB


class Scenario:
    """Runs the demo, from the creation of a volume to its deletion."""

    def __init__(
        self, calls: Calls, narrator: Narrator, observations: Observations, work: Path
    ) -> None:
        self._calls = calls
        self._narrator = narrator
        self._observations = observations
        self._work = work

    def play(self) -> None:
        """Run all chapters. Raises: DemoFailed if a call fails."""
        self._identify()
        first = self._create()
        self._attach_and_mount(first)
        early = self._write(first, "a first text")
        snapshot = self._snapshot(first)
        late = self._write(first, "another text in the same file")
        restored = self._restore(snapshot, early)
        clone = self._clone(first, late)
        self._grow(first, late)
        self._inspect(first)
        self._delete_in_use(first)
        self._tear_down([clone, restored, first], snapshot)

    def _identify(self) -> None:
        self._narrator.chapter(
            "Identify", "The sidecars first ask the driver for its name, its node and its capacity."
        )
        self._calls.identify()

    def _create(self) -> DemoVolume:
        self._narrator.chapter(
            "Create",
            "A PersistentVolumeClaim is created, and csi-provisioner asks for a volume. The driver"
            " creates an image file and formats it, before the volume becomes visible. It never"
            " formats it again.",
        )
        volume_id = self._calls.create("pvc-1", SIZE, whole_id=True)
        self._calls.show(self._observations.image(volume_id))
        self._calls.show(self._observations.record(volume_id, "volume.json"))
        self._narrator.chapter(
            "Create once more",
            "The response was lost, so the provisioner repeats the call. The volume id consists of"
            " the pool's id and a hash of the name, so a retry finds the same volume.",
        )
        repeated = self._calls.create("pvc-1", SIZE)
        self._narrator.check(
            "the repeated call returns the same volume", passed=repeated == volume_id
        )
        return self._volume(volume_id, "pvc-1")

    def _attach_and_mount(self, volume: DemoVolume) -> None:
        self._narrator.chapter(
            "Attach", "A pod is scheduled to this node; csi-attacher publishes the volume to it."
        )
        self._calls.attach(volume)
        self._calls.show(self._observations.record(volume.id, "attached.json"))
        self._narrator.chapter(
            "Stage",
            "Kubelet has the volume mounted once for all pods of the node: the driver attaches the"
            " image file to a loop device, and mounts the filesystem on it.",
        )
        self._calls.stage(volume)
        self._narrator.chapter(
            "Publish",
            "Kubelet has the volume mounted into the pod's directory: a bind mount. The"
            " driver first verifies that the staging path is a mount of this volume, and not an"
            " empty directory.",
        )
        self._calls.publish(volume)

    def _snapshot(self, volume: DemoVolume) -> str:
        self._narrator.chapter(
            "Snapshot",
            "A VolumeSnapshot is created while the pod runs. The filesystem is frozen, the image"
            " is cloned, and the filesystem is thawed: the snapshot has the data of one moment.",
        )
        with self._show_space_used():
            snapshot_id = self._calls.snapshot(volume, "snapshot-1")
            self._calls.show(self._observations.image(snapshot_id))
        return snapshot_id

    def _restore(self, snapshot_id: str, expected: str) -> DemoVolume:
        self._narrator.chapter(
            "Restore",
            "A claim names the snapshot as its source. The new volume gets a new filesystem UUID,"
            " so that both volumes can be mounted at the same time.",
        )
        snapshot = csi.VolumeContentSource.SnapshotSource(snapshot_id=snapshot_id)
        volume = self._copy("pvc-2", csi.VolumeContentSource(snapshot=snapshot))
        self._read(volume, expected, "what the file held when the snapshot was taken")
        return volume

    def _clone(self, source_volume: DemoVolume, expected: str) -> DemoVolume:
        self._narrator.chapter(
            "Clone",
            "A claim names another claim as its source: it gets a copy of the present data.",
        )
        source = csi.VolumeContentSource.VolumeSource(volume_id=source_volume.id)
        volume = self._copy("pvc-3", csi.VolumeContentSource(volume=source))
        self._read(volume, expected, "what the file holds in the first volume")
        return volume

    def _grow(self, volume: DemoVolume, expected: str) -> None:
        self._narrator.chapter(
            "Grow while mounted",
            "The size of the claim is increased. csi-resizer has the image grown, then kubelet has"
            " the filesystem grown, while the pod keeps a file open.",
        )
        self._calls.show(self._observations.free_space(volume.target))
        with self._file_open(volume):
            self._calls.expand(volume, GROWN)
        self._calls.show(self._observations.free_space(volume.target))
        self._read(volume, expected, "the file is unchanged")

    def _inspect(self, volume: DemoVolume) -> None:
        self._narrator.chapter("Inspect", "Kubelet asks for usage, and sidecars list the volumes.")
        request = csi.NodeGetVolumeStatsRequest(volume_id=volume.id, volume_path=str(volume.target))
        self._calls.call(self._calls.client.node.NodeGetVolumeStats, request)
        listed = self._calls.call(
            self._calls.client.controller.ListVolumes, csi.ListVolumesRequest()
        )
        self._narrator.check("three volumes are listed", passed=len(listed.entries) == 3)

    def _delete_in_use(self, volume: DemoVolume) -> None:
        self._narrator.chapter(
            "Delete a volume in use", "A mistake: the volume is deleted while the pod runs."
        )
        self._calls.call_refused(
            self._calls.client.controller.DeleteVolume,
            csi.DeleteVolumeRequest(volume_id=volume.id),
            grpc.StatusCode.FAILED_PRECONDITION,
        )

    def _tear_down(self, volumes: list[DemoVolume], snapshot_id: str) -> None:
        self._narrator.chapter(
            "Tear down", "The pods end and the claims are deleted: the same steps in reverse."
        )
        for volume in volumes:
            self._calls.unpublish(volume)
            self._calls.unstage(volume)
            self._calls.detach(volume)
            self._calls.delete(volume)
        self._calls.delete_snapshot(snapshot_id)

    # --- what a pod does, and what is observed

    def _volume(self, volume_id: str, name: str) -> DemoVolume:
        return DemoVolume(volume_id, self._work / "staging" / name, self._work / "pods" / name)

    def _copy(self, name: str, source: csi.VolumeContentSource) -> DemoVolume:
        with self._show_space_used():
            volume = self._volume(self._calls.create(name, SIZE, source), name)
            self._calls.show(self._observations.image(volume.id))
        self._calls.attach(volume)
        self._calls.stage(volume)
        self._calls.publish(volume)
        return volume

    def _write(self, volume: DemoVolume, description: str) -> str:
        """Write a file to the volume, with fsync, and return its SHA-256.

        Returns "" if the pool is simulated. `description`: of the file's content.
        """
        if not self._observations.real:
            return ""
        self._narrator.chapter("Write", f"The pod writes {description}.")
        data, file = os.urandom(WRITTEN), volume.target / "text"
        with file.open("wb") as opened:
            opened.write(data)
            opened.flush()
            os.fsync(opened.fileno())
        digest = hashlib.sha256(data).hexdigest()
        self._narrator.action(f"write {file}", f"{human(WRITTEN)}, fsynced, sha256 {digest[:16]}…")
        return digest

    def _read(self, volume: DemoVolume, expected: str, statement: str) -> None:
        if not self._observations.real:
            return
        file = volume.target / "text"
        digest = hashlib.sha256(file.read_bytes()).hexdigest()
        self._narrator.action(f"read {file}", f"sha256 {digest[:16]}…")
        self._narrator.check(statement, passed=digest == expected)

    @contextmanager
    def _file_open(self, volume: DemoVolume) -> Iterator[None]:
        if not self._observations.real:
            yield
            return
        with (volume.target / "log").open("w+") as log:
            log.write("before\n")
            log.flush()
            yield
            log.write("after\n")
            log.flush()
            log.seek(0)
            unchanged = log.read() == "before\nafter\n"
        self._narrator.check("the open file could be written before and after", passed=unchanged)

    @contextmanager
    def _show_space_used(self) -> Iterator[None]:
        before = self._observations.used_bytes()
        yield
        if self._observations.real:
            taken = human(max(0, self._observations.used_bytes() - before))
            self._narrator.observation("the pool", f"uses {taken} more")
