"""Disks that can be plugged in and pulled out: scsi_debug, whose disks lie in the kernel's memory.

To the kernel they are disks of this machine, unlike loop devices.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from driver.linux.devices.lvm import CONFIG
from tests.lvm.conftest import said
from tests.support.waiting import wait_until

SIZE_MIB = 272
MODEL = "scsi_debug*"
DMSETUP = ("env", "DM_DISABLE_UDEV=1", "dmsetup")  # makes and removes its nodes itself
_TIMEOUT = 90.0  # seconds; the guest has one processor, which others of this machine use too
_MODULE = Path("/sys/bus/pseudo/drivers/scsi_debug")
_HOSTS = Path("/sys/class/scsi_host")


class ScsiDisks:
    """The disks of scsi_debug, each with a SCSI host and memory of its own."""

    def disks(self) -> set[Path]:
        """Return their nodes, such as /dev/sda."""
        return {
            Path("/dev", path.name)
            for path in Path("/sys/block").glob("sd*")
            if "scsi_debug" in (path / "device/model").read_text()
        }

    def plug(self) -> Path:
        """Plug in a blank disk."""
        before = self.disks()
        (_MODULE / "add_host").write_text("1")
        return self._wait_for_another(before)

    def pull(self, disk: Path) -> Path:
        """Pull a disk out, and return its host, where `replug` finds it again."""
        host = _host_of(disk)
        Path("/sys/block", disk.name, "device/delete").write_text("1")
        wait_until(lambda: disk not in self.disks() and not disk.exists(), _TIMEOUT)
        return host

    def replug(self, host: Path) -> Path:
        """Plug in the disk again that was pulled out of a host."""
        before = self.disks()
        (_HOSTS / host.name / "scan").write_text("- - -")
        return self._wait_for_another(before)

    def _wait_for_another(self, before: set[Path]) -> Path:
        wait_until(lambda: any(disk.exists() for disk in self.disks() - before), _TIMEOUT)
        [disk] = self.disks() - before
        return disk


def _host_of(disk: Path) -> Path:
    device = (Path("/sys/block") / disk.name / "device").resolve()
    return next(folder for folder in device.parents if folder.name.startswith("host"))


def digest(disk: Path) -> str:
    """Of all of its bytes."""
    said("blockdev", "--flushbufs", str(disk))
    return said("sha256sum", str(disk)).split()[0]


def remove_mapped(prefix: str) -> None:
    """Remove all devices of device-mapper whose names begin so, those below others at last."""
    for _ in range(5):
        for line in said(*DMSETUP, "ls").splitlines():
            if line.startswith(prefix):
                words = [*DMSETUP, "remove", line.split()[0]]
                subprocess.run(words, check=False, capture_output=True)


def _is_removed() -> bool:
    done = subprocess.run(["modprobe", "-r", "scsi_debug"], check=False, capture_output=True)
    return not done.returncode or not _MODULE.exists()


@pytest.fixture
def scsi() -> Iterator[ScsiDisks]:
    """No disk is plugged in yet; whatever group is on them is removed at the end."""
    options = ("add_host=0", f"dev_size_mb={SIZE_MIB}", "per_host_store=1", "delay=0")
    words = ["modprobe", "scsi_debug", *options]
    if subprocess.run(words, check=False, capture_output=True).returncode:
        pytest.skip("this kernel has no scsi_debug")
    subprocess.run(["modprobe", "sd_mod"], check=False, capture_output=True)
    yield ScsiDisks()
    subprocess.run(
        ["lvm", "vgremove", "--config", CONFIG, "--yes", "--force", "claimed"], check=False
    )
    remove_mapped("claimed")
    shutil.rmtree("/dev/claimed", ignore_errors=True)
    wait_until(_is_removed, _TIMEOUT)
