"""`cellar describe` of a volume of a real driver."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from csi_proto import csi_pb2 as csi
from tests.support.driver_process import DriverProcess

CAPABILITY = csi.VolumeCapability(
    mount=csi.VolumeCapability.MountVolume(fs_type="ext4"),
    access_mode=csi.VolumeCapability.AccessMode(
        mode=csi.VolumeCapability.AccessMode.SINGLE_NODE_WRITER
    ),
)
META = "csi.storage.k8s.io"


@pytest.fixture(scope="module")
def driver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DriverProcess]:
    with DriverProcess(tmp_path_factory.mktemp("describe"), ["sim=memory:10GiB"]) as driver:
        yield driver


@pytest.fixture(scope="module")
def staging(driver: DriverProcess) -> Path:
    """Where the volume of shop/data is staged."""
    path = driver.where / "staging"
    path.mkdir()
    request = csi.CreateVolumeRequest(
        name="pvc-1",
        volume_capabilities=[CAPABILITY],
        parameters={
            f"{META}/pvc/name": "data",
            f"{META}/pvc/namespace": "shop",
            f"{META}/pv/name": "pvc-1",
        },
    )
    volume = driver.controller.CreateVolume(request).volume
    driver.controller.CreateSnapshot(
        csi.CreateSnapshotRequest(name="snap", source_volume_id=volume.volume_id)
    )
    driver.node.NodeStageVolume(
        csi.NodeStageVolumeRequest(
            volume_id=volume.volume_id,
            staging_target_path=str(path),
            volume_capability=CAPABILITY,
        )
    )
    return path


def cellar(driver: DriverProcess, *words: str, status: int = 0) -> str:
    command = [sys.executable, "-m", "driver", *words, "--endpoint", driver.endpoint]
    result = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert result.returncode == status, result.stderr
    return result.stdout + result.stderr


@pytest.mark.parametrize("reference", ["shop/data", "pvc-1"])
def test_a_volume_is_described_with_all_that_is_known(
    driver: DriverProcess, staging: Path, reference: str
) -> None:
    [row] = json.loads(cellar(driver, "describe", reference, "-o", "json"))
    assert (row["node"], row["pool"]) == ("node-a", "sim")
    assert row["record"]["claim"] == "shop/data"
    assert [(mount["path"], mount["staging"]) for mount in row["mounts"]] == [(str(staging), True)]
    assert row["usage"]["total_bytes"] == 1 << 30
    assert len(row["snapshots"]) == 1
    assert row["faults"] == []
    assert [call["rpc"] for call in row["calls"]] == [
        "CreateVolume",
        "CreateSnapshot",
        "NodeStageVolume",
    ]


def test_a_person_reads_it_from_top_to_bottom(driver: DriverProcess, staging: Path) -> None:
    text = cellar(driver, "describe", "shop/data")
    assert "Claim:       shop/data\n" in text
    assert "Health:\n  ok\n" in text
    assert f"  {staging}  (staging path)" in text
    assert "NodeStageVolume" in text


def test_no_name_controls_a_terminal(driver: DriverProcess) -> None:
    request = csi.CreateVolumeRequest(name="a\nb\u202ec", volume_capabilities=[CAPABILITY])
    volume = driver.controller.CreateVolume(request).volume
    for words in (["describe", volume.volume_id], ["calls", "-o", "wide"]):
        text = cellar(driver, *words)
        assert all(char.isprintable() or char == "\n" for char in text)
        assert "\nb" not in text
    driver.controller.DeleteVolume(csi.DeleteVolumeRequest(volume_id=volume.volume_id))


def test_the_beginning_of_an_id_will_do(driver: DriverProcess, staging: Path) -> None:
    volume_id = cellar(driver, "volumes", "-o", "name").strip()
    assert cellar(driver, "describe", volume_id[:20], "-o", "name") == f"{volume_id}\n"


def test_what_does_not_exist_is_said(driver: DriverProcess, staging: Path) -> None:
    assert "no volume 'shop/other'" in cellar(driver, "describe", "shop/other", status=1)
    unknown = f"{'0' * 12}-{'0' * 32}"
    assert "is not on this node" in cellar(driver, "describe", unknown, status=1)


def test_nodes_are_asked_of_a_router(driver: DriverProcess) -> None:
    assert "ask a router" in cellar(driver, "nodes", status=1)
