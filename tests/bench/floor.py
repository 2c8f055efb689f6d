"""The floor: what one life of a volume costs as bare syscalls, with mkfs and the fsyncs of promise 4.

Written without the driver's own code but for the options of mkfs, so that the driver cannot flatter
itself. Eight empty RPCs on the driver's own server belong to it: no CSI driver can do without.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from driver.linux.formats import ext4

GIB = 1 << 30
EMPTY_CALLS = 8

_LOOP_CTL_GET_FREE = 0x4C82
_LOOP_CONFIGURE = 0x4C0A
_LOOP_CLR_FD = 0x4C01
_LO_FLAGS_DIRECT_IO = 16
_MS_BIND = 4096
_EBUSY = 16

_libc = ctypes.CDLL(None, use_errno=True)


def life(pool: Path, kubelet_dir: Path, name: str, empty_call: Callable[[], object]) -> None:
    """Create, stage, publish and all of it back; `kubelet_dir` is kubelet's directory."""
    for _ in range(EMPTY_CALLS):
        empty_call()
    image = _create(pool, name)
    staging, target = kubelet_dir / f"{name}.staging", kubelet_dir / f"{name}.target"
    device = _attach(image)
    staging.mkdir()
    _mount(device, staging, b"ext4", 0)
    target.mkdir()
    _mount(staging, target, b"", _MS_BIND)
    _unmount(target)
    target.rmdir()
    _unmount(staging)
    staging.rmdir()
    _detach(device)
    _delete(pool, name)


def _create(pool: Path, name: str) -> Path:
    building, there = pool / f".new-{name}", pool / name
    building.mkdir(mode=0o700)
    image = building / "disk.img"
    with _Opened(image, os.O_RDWR | os.O_CREAT | os.O_EXCL) as disk:
        os.ftruncate(disk.fd, GIB)
        _mkfs(image)
        os.fsync(disk.fd)
    with _Opened(building / "volume.json", os.O_WRONLY | os.O_CREAT) as record:
        os.write(record.fd, b"{}" * 200)
        os.fsync(record.fd)
    _sync(building)
    building.rename(there)
    _sync(pool)
    return there / "disk.img"


def _delete(pool: Path, name: str) -> None:
    deleted_folder = pool / f".del-{name}"
    (pool / name).rename(deleted_folder)
    _sync(pool)
    for name_inside in ("disk.img", "volume.json"):
        (deleted_folder / name_inside).unlink()
    deleted_folder.rmdir()


def _mkfs(image: Path) -> None:
    options = [word for pair in ext4.flags(image, 4096).items() for word in pair]
    words = ["mkfs.ext4", "-q", "-F", *options, os.fspath(image)]
    child = os.posix_spawnp(words[0], words, os.environ)
    _, status = os.waitpid(child, 0)
    if status:
        raise OSError(f"{words} ended with {status}")


def _attach(image: Path) -> Path:
    with (
        _Opened(image, os.O_RDWR) as backing,
        _Opened(Path("/dev/loop-control"), os.O_RDWR) as control,
    ):
        info = struct.pack("<QQQQQIIII", 0, 0, 0, 0, 0, 0, 0, 0, _LO_FLAGS_DIRECT_IO)
        config = struct.pack("<II", backing.fd, 4096) + info.ljust(232, b"\0") + bytes(64)
        while True:
            device = Path(f"/dev/loop{fcntl.ioctl(control.fd, _LOOP_CTL_GET_FREE)}")
            try:
                with _Opened(device, os.O_RDWR) as node:
                    fcntl.ioctl(node.fd, _LOOP_CONFIGURE, config)
            except OSError as error:
                if error.errno != _EBUSY:
                    raise
                continue  # somebody else took it first
            return device


def _detach(device: Path) -> None:
    with _Opened(device, os.O_RDWR | os.O_EXCL) as node:
        fcntl.ioctl(node.fd, _LOOP_CLR_FD)


def _mount(source: Path, target: Path, kind: bytes, flags: int) -> None:
    if _libc.mount(os.fsencode(source), os.fsencode(target), kind, flags, None) < 0:
        raise OSError(ctypes.get_errno(), f"mount {source} on {target}")


def _unmount(target: Path) -> None:
    if _libc.umount2(os.fsencode(target), 0) < 0:
        raise OSError(ctypes.get_errno(), f"umount {target}")


def _sync(directory: Path) -> None:
    with _Opened(directory, os.O_RDONLY) as opened:
        os.fsync(opened.fd)


@dataclass
class _Opened:
    path: Path
    flags: int
    fd: int = -1

    def __enter__(self) -> Self:
        self.fd = os.open(self.path, self.flags | os.O_CLOEXEC, 0o600)
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self.fd)
