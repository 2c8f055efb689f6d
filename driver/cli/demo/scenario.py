"""The demo's story: a volume from its first day to its last. Every chapter is a method."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import grpc

from csi_proto import csi_pb2 as csi
from driver.cli.demo.calls import Calls, Used
from driver.cli.demo.narrator import Narrator
from driver.cli.demo.observations import Observations
from driver.cli.output import human
from driver.core.model import GIB, MIB, Bytes

SIZE: Final[Bytes] = GIB
GROWN: Final[Bytes] = 2 * GIB
WRITTEN: Final[Bytes] = 32 * MIB


class Scenario:
    """The calls of the demo, from a volume's creation to its deletion, one method for each
    chapter.
    """

    def __init__(self, calls: Calls, tell: Narrator, sights: Observations, work: Path) -> None:
        self._do = calls
        self._tell = tell
        self._sights = sights
        self._work = work

    def play(self) -> None:
        """Run all chapters. Raises: Broken if a call fails."""
        self._greet()
        first = self._create()
        self._bring_up(first)
        early = self._write(first, "a first text")
        snapshot = self._snapshot(first)
        late = self._write(first, "another text in the same file")
        restored = self._restore(snapshot, early)
        clone = self._clone(first, late)
        self._grow(first, late)
        self._look(first)
        self._refuse(first)
        self._tear_down([clone, restored, first], snapshot)

    def _greet(self) -> None:
        self._tell.chapter("Greet", "A driver is asked first who it is, where, and for how much.")
        self._do.greet()

    def _create(self) -> Used:
        self._tell.chapter(
            "Create",
            "A PersistentVolumeClaim appears; csi-provisioner asks for a volume of that name. Its"
            " filesystem is made now, before anybody can see it, and never again.",
        )
        volume_id = self._do.create("pvc-1", SIZE, whole_id=True)
        self._do.see(self._sights.image(volume_id))
        self._do.see(self._sights.record(volume_id, "volume.json"))
        self._tell.chapter(
            "Create once more",
            "The answer was lost, so the provisioner repeats the call. The id is the pool's and a"
            " hash of the name: a retry meets the same volume.",
        )
        again = self._do.create("pvc-1", SIZE)
        self._tell.proved("it is the same volume", holds=again == volume_id)
        return self._used(volume_id, "pvc-1")

    def _bring_up(self, volume: Used) -> None:
        self._tell.chapter("Attach", "A pod is scheduled; csi-attacher notes where it runs.")
        self._do.attach(volume)
        self._do.see(self._sights.record(volume.id, "attached.json"))
        self._tell.chapter(
            "Stage",
            "Kubelet wants the volume on this node, once for all pods: a loop device shows the"
            " image file as a disk, and the filesystem on it is mounted.",
        )
        self._do.stage(volume)
        self._tell.chapter(
            "Publish",
            "Kubelet wants it in the pod's own directory: a bind mount, made only after proof"
            " that the staging path shows this very volume and not an empty directory.",
        )
        self._do.publish(volume)

    def _snapshot(self, volume: Used) -> str:
        self._tell.chapter(
            "Snapshot",
            "A VolumeSnapshot appears while the pod runs. The filesystem is frozen, its bytes are"
            " taken over, and it is thawed: one moment of the whole volume.",
        )
        with self._room_taken():
            snapshot_id = self._do.snapshot(volume, "snapshot-1")
            self._do.see(self._sights.image(snapshot_id))
        return snapshot_id

    def _restore(self, snapshot_id: str, expected: str) -> Used:
        self._tell.chapter(
            "Restore",
            "A claim names the snapshot as its source. The new volume gets a filesystem UUID of"
            " its own, so that it can be mounted beside the first.",
        )
        snapshot = csi.VolumeContentSource.SnapshotSource(snapshot_id=snapshot_id)
        volume = self._copy("pvc-2", csi.VolumeContentSource(snapshot=snapshot))
        self._read(volume, expected, "what the file held when the snapshot was taken")
        return volume

    def _clone(self, of: Used, expected: str) -> Used:
        self._tell.chapter("Clone", "A claim names another claim: a copy of it as it is now.")
        source = csi.VolumeContentSource.VolumeSource(volume_id=of.id)
        volume = self._copy("pvc-3", csi.VolumeContentSource(volume=source))
        self._read(volume, expected, "what the file holds in the first volume")
        return volume

    def _grow(self, volume: Used, expected: str) -> None:
        self._tell.chapter(
            "Grow while mounted",
            "The claim's size is edited. csi-resizer has the image made longer, kubelet has the"
            " filesystem grown; the pod keeps a file open all the while.",
        )
        self._do.see(self._sights.room(volume.target))
        with self._open_meanwhile(volume):
            self._do.expand(volume, GROWN)
        self._do.see(self._sights.room(volume.target))
        self._read(volume, expected, "the file is as it was")

    def _look(self, volume: Used) -> None:
        self._tell.chapter("Look", "What feeds kubelet's metrics, and what lists the volumes.")
        wanted = csi.NodeGetVolumeStatsRequest(volume_id=volume.id, volume_path=str(volume.target))
        self._do.ask(self._do.client.node.NodeGetVolumeStats, wanted)
        listed = self._do.ask(self._do.client.controller.ListVolumes, csi.ListVolumesRequest())
        self._tell.proved("three volumes are listed", holds=len(listed.entries) == 3)

    def _refuse(self, volume: Used) -> None:
        self._tell.chapter("Refuse", "A mistake: somebody deletes the volume while the pod runs.")
        self._do.ask_in_vain(
            self._do.client.controller.DeleteVolume,
            csi.DeleteVolumeRequest(volume_id=volume.id),
            grpc.StatusCode.FAILED_PRECONDITION,
        )

    def _tear_down(self, volumes: list[Used], snapshot_id: str) -> None:
        self._tell.chapter("Tear down", "The pods end, the claims go: the same way back.")
        for volume in volumes:
            self._do.unpublish(volume)
            self._do.unstage(volume)
            self._do.detach(volume)
            self._do.delete(volume)
        self._do.delete_snapshot(snapshot_id)

    # --- what a pod does, and what can be seen

    def _used(self, volume_id: str, name: str) -> Used:
        return Used(volume_id, self._work / "staging" / name, self._work / "pods" / name)

    def _copy(self, name: str, source: csi.VolumeContentSource) -> Used:
        with self._room_taken():
            volume = self._used(self._do.create(name, SIZE, source), name)
            self._do.see(self._sights.image(volume.id))
        self._do.attach(volume)
        self._do.stage(volume)
        self._do.publish(volume)
        return volume

    def _write(self, volume: Used, what: str) -> str:
        """Write a file to the volume and return its SHA-256 ("" if the pool is simulated).

        The data is on the medium when this returns, as a careful program leaves it.
        """
        if not self._sights.real:
            return ""
        self._tell.chapter("Write", f"The pod writes {what}.")
        data, file = os.urandom(WRITTEN), volume.target / "text"
        with file.open("wb") as opened:
            opened.write(data)
            opened.flush()
            os.fsync(opened.fileno())
        digest = hashlib.sha256(data).hexdigest()
        self._tell.deed(f"write {file}", f"{human(WRITTEN)}, fsynced, sha256 {digest[:16]}…")
        return digest

    def _read(self, volume: Used, expected: str, what: str) -> None:
        if not self._sights.real:
            return
        file = volume.target / "text"
        digest = hashlib.sha256(file.read_bytes()).hexdigest()
        self._tell.deed(f"read {file}", f"sha256 {digest[:16]}…")
        self._tell.proved(what, holds=digest == expected)

    @contextmanager
    def _open_meanwhile(self, volume: Used) -> Iterator[None]:
        if not self._sights.real:
            yield
            return
        with (volume.target / "log").open("w+") as log:
            log.write("before\n")
            log.flush()
            yield
            log.write("after\n")
            log.flush()
            log.seek(0)
            same = log.read() == "before\nafter\n"
        self._tell.proved("the open file could be written before and after", holds=same)

    @contextmanager
    def _room_taken(self) -> Iterator[None]:
        before = self._sights.used()
        yield
        if self._sights.real:
            taken = human(max(0, self._sights.used() - before))
            self._tell.seen("the pool", f"has {taken} more in use")
