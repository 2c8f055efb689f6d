"""Promises 4 and 12 for encrypted volumes: a driver that dies at each point, and what it says."""

from __future__ import annotations

import re
import shutil
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest

from csi_proto import csi_pb2 as csi
from driver.core.failpoints import ENCRYPTED, FailPoint
from tests.lvm.encrypted_pools import MARKS, PASSPHRASE, disk, mappings, run
from tests.support.driver_process import ROOT, DriverProcess

pytestmark = MARKS

__all__ = ["disk"]  # a fixture

SECRETS = {"passphrase": PASSPHRASE}
LUKS = ["--luks", "pbkdf=pbkdf2,iterations=1000"]
MIB = 1 << 20
MOUNT = csi.VolumeCapability(
    mount=csi.VolumeCapability.MountVolume(fs_type="ext4"),
    access_mode=csi.VolumeCapability.AccessMode(
        mode=csi.VolumeCapability.AccessMode.SINGLE_NODE_WRITER
    ),
)


class EncryptedNode:
    """One driver on one pool, and the calls for a volume and its clone."""

    def __init__(self, location: Path, tmp: Path) -> None:
        self.location, self.tmp = location, tmp
        self.driver = DriverProcess(tmp, [f"p=loopfile:{location},init=true"], arguments=LUKS)

    def create(self, name: str, source: str = "") -> str:
        volume = csi.VolumeContentSource.VolumeSource(volume_id=source)
        request = csi.CreateVolumeRequest(
            name=name,
            volume_capabilities=[MOUNT],
            capacity_range=csi.CapacityRange(required_bytes=64 * MIB),
            parameters={"encrypted": "true", "allocation": "thick"},
            volume_content_source=csi.VolumeContentSource(volume=volume) if source else None,
        )
        return self.driver.controller.CreateVolume(request).volume.volume_id

    def stage(self, volume_id: str) -> Path:
        at = self.tmp / volume_id
        self.driver.node.NodeStageVolume(
            csi.NodeStageVolumeRequest(
                volume_id=volume_id,
                staging_target_path=str(at),
                volume_capability=MOUNT,
                secrets=SECRETS,
            )
        )
        return at

    def unstage(self, volume_id: str) -> None:
        self.driver.node.NodeUnstageVolume(
            csi.NodeUnstageVolumeRequest(
                volume_id=volume_id, staging_target_path=str(self.tmp / volume_id)
            )
        )

    def delete(self, volume_id: str) -> None:
        self.driver.controller.DeleteVolume(csi.DeleteVolumeRequest(volume_id=volume_id))

    def restart(self, point: str = "") -> None:
        self.driver.stop() if self.driver.running else None
        self.driver.env = {"CELLAR_FAILPOINT": point} if point else {}
        self.driver.start()

    def act(self, point: str, volume_id: str) -> None:
        match point.partition(".")[0]:
            case "refill" | "stage":
                self.stage(volume_id)
            case "unstage":
                self.unstage(volume_id)
            case "delete":
                self.delete(volume_id)


@pytest.fixture
def node(disk: Path) -> Iterator[EncryptedNode]:
    location = Path(tempfile.mkdtemp(prefix="pool-", dir=disk))
    tmp = Path(tempfile.mkdtemp(prefix="cellar-node-", dir="/run"))
    node = EncryptedNode(location, tmp)
    with node.driver:
        yield node
    shutil.rmtree(location)
    shutil.rmtree(tmp)
    assert mappings() == []
    assert str(location) not in run("losetup", "--list", "--noheadings")


@pytest.mark.parametrize("point", ENCRYPTED)
def test_killed_there_it_comes_back_right(node: EncryptedNode, point: str) -> None:
    volume_id = node.create("v")
    if not point.startswith("refill") and point != "stage.sealed":
        (node.stage(volume_id) / "file").write_text("kept")
    if point == "stage.renewed":
        source, volume_id = volume_id, node.create("clone", volume_id)
    elif point == "delete.erased":
        node.unstage(volume_id)
    node.restart(point)
    with pytest.raises(grpc.RpcError):
        node.act(point, volume_id)
    assert node.driver.wait() == -signal.SIGKILL
    node.restart()
    assert not [name for name in mappings() if "sealed" in name]
    node.act(point, volume_id)
    if point == "delete.erased":
        assert list(node.location.glob("*/disk.img")) == []
        return
    at = node.stage(volume_id)
    if point == "stage.renewed":
        assert (at / "file").read_text() == "kept"
        node.unstage(source)
        node.delete(source)
    elif point == "unstage.closed":
        assert (at / "file").read_text() == "kept"
    (at / "file").write_text("new")
    node.unstage(volume_id)
    assert (node.stage(volume_id) / "file").read_text() == "new"
    node.unstage(volume_id)
    node.delete(volume_id)
    assert [path.name for path in node.location.iterdir()] == [".cellar-pool.json"]


def test_the_list_of_points_is_what_the_sources_reach() -> None:
    every = "".join(path.read_text() for path in (ROOT / "driver").rglob("*.py"))
    reached = {FailPoint[name] for name in re.findall(r"\breach\(FailPoint\.(\w+)\)", every)}
    assert set(ENCRYPTED) <= reached


def test_the_log_and_the_errors_do_not_know_the_passphrase(node: EncryptedNode) -> None:
    node.driver.arguments = [*LUKS, "--log-level", "debug"]
    node.restart()
    volume_id = node.create("v")
    node.stage(volume_id)
    node.unstage(volume_id)
    said = []
    for secrets in ({}, {"passphrase": f"{PASSPHRASE}-but-wrong"}, {"other": PASSPHRASE}):
        request = csi.NodeStageVolumeRequest(
            volume_id=volume_id,
            staging_target_path=str(node.tmp / volume_id),
            volume_capability=MOUNT,
            secrets=secrets,
        )
        with pytest.raises(grpc.RpcError) as caught:
            node.driver.node.NodeStageVolume(request)
        assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
        said.append(caught.value.details() or "")
    assert all("secrets[passphrase]" in text for text in said)
    node.delete(volume_id)
    node.driver.stop()
    log = node.driver.log.read_text()
    assert volume_id in log and "NodeStageVolume" in log
    assert PASSPHRASE not in log + "".join(said)
    node.driver.start()
