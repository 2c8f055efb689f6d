"""csi-sanity on loop files, over each filesystem that a pool may lie on."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.sanity.conftest import Sanity
from tests.support.driver_process import DriverProcess

GIB = 1 << 30
MKFS = {
    "ext4": ("mkfs.ext4", "-q", "-F"),
    "xfs": ("mkfs.xfs", "-q", "-f"),
    "btrfs": ("mkfs.btrfs", "-q", "-f"),
}

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root: loop devices and mounts"),
]


@pytest.fixture
def pool(short_path: Path, request: pytest.FixtureRequest) -> Iterator[Path]:
    """A mounted filesystem of 24 GiB, sparse; whatever the driver left in it fails the test."""
    image, where = short_path / "pool.img", short_path / "pool"
    with image.open("wb") as file:
        file.truncate(24 * GIB)
    where.mkdir()
    subprocess.run([*MKFS[request.param], image], check=True)
    subprocess.run(["mount", "-o", "loop", image, where], check=True)
    try:
        yield where
        left = set(os.listdir(where)) - {"lost+found", ".cellar-pool.json"}
        assert not left
        assert not list(_loops_on(where))
    finally:
        subprocess.run(["umount", "--recursive", where], check=True)
        where.rmdir()


def _loops_on(where: Path) -> Iterator[str]:
    """Loop devices whose image lies on this filesystem, whatever path they were attached by."""
    number = f"{os.major(where.stat().st_dev)}:{os.minor(where.stat().st_dev)}"
    words = ["losetup", "--list", "--noheadings", "--output", "NAME,BACK-MAJ:MIN"]
    said = subprocess.run(words, check=True, capture_output=True, text=True).stdout
    return (line for line in said.splitlines() if line.split()[1:] == [number])


def _mounts_below(where: Path, pid: int) -> list[str]:
    lines = Path(f"/proc/{pid}/mountinfo").read_text().splitlines()
    below = [line.split()[4] for line in lines]
    return [one for one in below if one.startswith(f"{where}/") and one != f"{where}/pool"]


@pytest.mark.parametrize(
    ("pool", "kind"),
    [("ext4", "mount"), ("xfs", "mount"), ("btrfs", "mount"), ("xfs", "block")],
    indirect=["pool"],
)
def test_all_specs_pass_twice_on_one_driver_and_leave_nothing(
    sanity: Sanity, short_path: Path, pool: Path, kind: str
) -> None:
    """In a mount namespace of their own: a test beside that copies ours would hold the volumes."""
    spec = f"fast=loopfile:{pool},allocation=sparse,overcommit=20"
    alone = ["unshare", "--mount", "--propagation", "private"]
    arguments = ["--max-volumes", "8"]
    with DriverProcess(short_path, [spec], arguments=arguments, wrap=alone) as driver:
        beside = ["nsenter", f"--mount=/proc/{driver.pid}/ns/mnt"]
        for _ in range(2):
            sanity.run(driver, f"--csi.testvolumeaccesstype={kind}", wrap=beside).check()
            assert list(driver.volumes()) == []
            assert _mounts_below(short_path, driver.pid) == []
        assert driver.stop() == 0
    assert "Traceback" not in driver.log.read_text()
