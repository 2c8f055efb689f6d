"""Disks that are blank and in use: by whom is said, and nothing is written."""

from __future__ import annotations

import ctypes
import fcntl
import os
import struct
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from driver.core.errors import Refused
from driver.core.model import MIB
from driver.disks.examination import examine
from driver.disks.judgement import Consent
from driver.linux.disks import usage
from driver.linux.disks.block_devices import list_devices, read_device
from tests.root.conftest import MakePool
from tests.support.blank_disks import BlankDisk, MakeDisk

BLKPG = 0x1269  # <linux/blkpg.h>
XFS_IOC_GOINGDOWN = 0x8004587D  # <xfs/xfs_fs.h>


def _run(*words: str | Path) -> None:
    subprocess.run([str(word) for word in words], check=True, capture_output=True)


def refused(disk: BlankDisk, sentence: str) -> None:
    """Both the list and `create` say it, and the disk is as it was."""
    before = disk.digest()
    now = usage.read_usage(list_devices())
    said = examine(read_device(disk.path), now, Consent(named=True)).refusal
    assert sentence in said
    with pytest.raises(Refused) as error:
        disk.create()
    assert sentence in str(error.value)
    assert disk.digest() == before


@contextmanager
def partition(disk: BlankDisk) -> Iterator[None]:
    """A partition that the kernel has and no table on the disk says."""
    fd = os.open(disk.path, os.O_RDONLY)

    def ask(operation: int) -> None:
        part = ctypes.create_string_buffer(
            struct.pack("=qqi64s64s4x", 8 * MIB, 16 * MIB, 1, b"", b"")
        )
        words = struct.pack("=iii4xQ", operation, 0, len(part) - 1, ctypes.addressof(part))
        fcntl.ioctl(fd, BLKPG, words)

    try:
        ask(1)
        yield
        ask(2)
    finally:
        os.close(fd)


def test_a_disk_with_a_partition(make_disk: MakeDisk) -> None:
    disk = make_disk(options=("--partscan",))
    with partition(disk):
        refused(disk, f"it has partitions: {disk.path.name}p1")
        device = read_device(Path(f"{disk.path}p1"))
        assert device.parent == disk.path.name
        now = usage.read_usage(list_devices())
        said = examine(device, now, Consent(named=True)).refusal
        assert "only whole disks become pools" in said


def test_a_mounted_disk(disk: BlankDisk, tmp_path: Path) -> None:
    _run("mkfs.ext4", "-q", disk.path)
    target = tmp_path / "mounted"
    target.mkdir()
    _run("mount", "-o", "ro", disk.path, target)
    try:
        refused(disk, f"it is mounted at {target}")
    finally:
        _run("umount", target)


def test_a_disk_that_is_mounted_in_another_mount_namespace_only(
    disk: BlankDisk, tmp_path: Path
) -> None:
    _run("mkfs.ext4", "-q", disk.path)
    target = tmp_path / "elsewhere"
    target.mkdir()
    script = 'mount -o ro "$0" "$1" && echo ready && read -r _'
    words = ["unshare", "--mount", "--propagation", "private", "sh", "-c", script]
    with subprocess.Popen(
        [*words, str(disk.path), str(target)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as other:
        assert other.stdout
        assert other.stdout.readline() == "ready\n"
        refused(disk, "which has it mounted at")
        other.communicate("\n")


def test_a_disk_that_another_process_has_exclusively(disk: BlankDisk) -> None:
    script = (
        "import os, sys; os.open(sys.argv[1], os.O_RDONLY | os.O_EXCL);"
        "print(flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        ["python3", "-c", script, str(disk.path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as other:
        assert other.stdout
        other.stdout.readline()
        refused(disk, f"it is in use, by python3 (pid {other.pid})")
        other.communicate()


def test_a_disk_that_another_process_has_open_as_a_virtual_machine_has(disk: BlankDisk) -> None:
    with subprocess.Popen(
        ["sh", "-c", 'exec 3<>"$0"; echo ready; read -r _', str(disk.path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as other:
        assert other.stdout
        other.stdout.readline()
        refused(disk, f"it is open: sh (pid {other.pid})")
        other.communicate(b"\n")


def test_a_disk_that_is_below_a_loop_device(disk: BlankDisk) -> None:
    with _bound(disk) as name:
        refused(disk, f"{name} is bound to it")


@contextmanager
def _bound(disk: BlankDisk) -> Iterator[str]:
    said = subprocess.run(
        ["losetup", "--find", "--show", str(disk.path)], check=True, capture_output=True, text=True
    )
    path = said.stdout.strip()
    try:
        yield Path(path).name
    finally:
        _run("losetup", "--detach", path)


def test_a_read_only_disk(disk: BlankDisk) -> None:
    _run("blockdev", "--setro", disk.path)
    try:
        refused(disk, "it is read-only")
    finally:
        _run("blockdev", "--setrw", disk.path)


def test_a_disk_that_is_swap(disk: BlankDisk) -> None:
    _run("mkswap", disk.path)
    _run("swapon", disk.path)
    try:
        refused(disk, "it is swap")
    finally:
        _run("swapoff", disk.path)


def test_the_image_of_a_volume(make_disk: MakeDisk, tmp_path: Path) -> None:
    image = tmp_path / f"{'0' * 12}-{'a' * 32}" / "disk.img"
    refused(make_disk(image=image), "it is a loop device that shows a volume")


def test_a_disk_that_is_published_to_a_pod(disk: BlankDisk, tmp_path: Path) -> None:
    target = tmp_path / "node"
    target.touch()
    _run("mount", "--bind", disk.path, target)
    try:
        refused(disk, "it is published to a pod as a raw block volume")
    finally:
        _run("umount", target)


def test_a_disk_that_answers_eio(make_pool: MakePool, make_disk: MakeDisk) -> None:
    pool = make_pool("xfs", size=1024 * MIB)
    disk = make_disk(image=pool / "image")
    root = os.open(pool, os.O_RDONLY)
    try:
        fcntl.ioctl(root, XFS_IOC_GOINGDOWN, struct.pack("I", 2))
    finally:
        os.close(root)
    with pytest.raises(Refused, match="Input/output error"):
        disk.create()
    now = usage.read_usage(list_devices())
    said = examine(read_device(disk.path), now, Consent(named=True)).refusal
    assert "Input/output error" in said
