"""The kernel's interface to loop devices: numbers and structs of include/uapi/linux/loop.h, the
nodes in /dev, the attributes in /sys/block. `loop` interprets them.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import stat
from contextlib import suppress
from pathlib import Path
from typing import Final

from driver.linux import sysfs
from driver.linux.descriptors import Opened

LOOP_CLR_FD: Final = 0x4C01
LOOP_SET_STATUS64: Final = 0x4C04
LOOP_GET_STATUS64: Final = 0x4C05
LOOP_SET_CAPACITY: Final = 0x4C07
LOOP_SET_DIRECT_IO: Final = 0x4C08  # Linux 4.10
LOOP_SET_BLOCK_SIZE: Final = 0x4C09  # Linux 4.14
LOOP_CONFIGURE: Final = 0x4C0A  # Linux 5.8: binds and configures in one step
LOOP_CTL_ADD: Final = 0x4C80
LOOP_CTL_GET_FREE: Final = 0x4C82

LO_FLAGS_READ_ONLY: Final = 1
LO_FLAGS_AUTOCLEAR: Final = 4
LO_FLAGS_PARTSCAN: Final = 8
LO_FLAGS_DIRECT_IO: Final = 16
LO_NAME_SIZE: Final = 64  # the last byte is always 0

GONE: Final = frozenset({errno.ENOENT, errno.ENODEV, errno.ENXIO})
CONTROL: Final = "/dev/loop-control"
BLOCK: Final = "/sys/block"


class LoopInfo64(ctypes.Structure):
    """The kernel's struct loop_info64: the status of a loop device."""

    _fields_ = (
        ("lo_device", ctypes.c_uint64),
        ("lo_inode", ctypes.c_uint64),
        ("lo_rdevice", ctypes.c_uint64),
        ("lo_offset", ctypes.c_uint64),
        ("lo_sizelimit", ctypes.c_uint64),
        ("lo_number", ctypes.c_uint32),
        ("lo_encrypt_type", ctypes.c_uint32),
        ("lo_encrypt_key_size", ctypes.c_uint32),
        ("lo_flags", ctypes.c_uint32),
        ("lo_file_name", ctypes.c_char * LO_NAME_SIZE),
        ("lo_crypt_name", ctypes.c_char * LO_NAME_SIZE),
        ("lo_encrypt_key", ctypes.c_uint8 * 32),
        ("lo_init", ctypes.c_uint64 * 2),
    )


class LoopConfig(ctypes.Structure):
    """The kernel's struct loop_config: the argument of LOOP_CONFIGURE."""

    _fields_ = (
        ("fd", ctypes.c_uint32),
        ("block_size", ctypes.c_uint32),
        ("info", LoopInfo64),
        ("reserved", ctypes.c_uint64 * 8),
    )


def find_problem() -> str | None:
    """Return why no loop device can be bound on this machine, and what to do; None: loop devices
    can be bound.

    The kernel module is loaded, by opening /dev/loop-control if that node exists.
    """
    try:
        os.close(os.open(CONTROL, os.O_RDWR | os.O_CLOEXEC))
    except OSError as error:
        return f"{CONTROL}: {error.strerror}; modprobe loop, in a container mount the node's /dev"
    return None


def names() -> list[str]:
    """Return the names of all loop devices, bound or not, ordered by their numbers. Raises:
    OSError.
    """
    names = [name for name in os.listdir(BLOCK) if name.startswith("loop")]
    return sorted(names, key=lambda name: int(name[4:]))


def read_number(name: str) -> int:
    """Return the number (dev_t) of the loop device called `name`, such as loop5.

    Raises: OSError, if it does not exist.
    """
    major, minor = attribute(name, "dev").split(b":")
    return os.makedev(int(major), int(minor))


def backing_file(name: str) -> str:
    """Return the path of the file to which the loop device `name` is bound, as it was opened; "":
    the device is not bound.

    If the file was unlinked, " (deleted)" is appended. Its filesystem is not accessed. Raises:
    OSError.
    """
    try:
        return os.fsdecode(attribute(name, "loop/backing_file"))
    except OSError as error:
        if error.errno in GONE:
            return ""
        raise


def read_info(node: int) -> LoopInfo64:
    """Return the struct loop_info64 of a loop device. `node`: an open descriptor of the device.

    Raises: OSError; ENXIO if the device is not bound, EIO if the filesystem of its file is dead.
    """
    info = LoopInfo64()
    fcntl.ioctl(node, LOOP_GET_STATUS64, info)
    return info


class ignore_gone:  # noqa: N801 - as contextlib.suppress
    """Ignore errors of the `with` block which mean that a loop device is missing, not bound, or
    being removed.
    """

    def __enter__(self) -> None:
        pass

    def __exit__(self, _: object, error: BaseException | None, __: object) -> bool:
        return isinstance(error, OSError) and error.errno in GONE


class OpenedNode(Opened):
    """Opens the device node of a loop device for the duration of a `with` block.

    The node is created if the kernel has the device, but /dev (a container's tmpfs) has no node.
    Raises: OSError.
    """

    __slots__ = ()

    def __enter__(self) -> int:
        try:
            return super().__enter__()
        except FileNotFoundError:
            _make_node(os.fspath(self._path))
            return super().__enter__()


def _make_node(path: str) -> None:
    """Make the node of a loop device in /dev; no-op if it exists. Raises: OSError."""
    number = read_number(path.removeprefix("/dev/"))
    with suppress(FileExistsError):
        os.mknod(path, stat.S_IFBLK | 0o600, number)


def attribute(name: str, path: str) -> bytes:
    """Return the contents, without white space at both ends, of the file /sys/block/`name`/`path`,
    an attribute of a block device. Raises: OSError.
    """
    fd = os.open(f"{BLOCK}/{name}/{path}", os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.read(fd, 4096).strip()
    finally:
        os.close(fd)


def forbid_discards(name: str) -> None:
    """Forbid discards on a loop device by setting its discard limit to 0 in /sys. That forbids
    zeroing by punching holes, too.

    No-op if they are forbidden. A mount option would not stop fstrim and BLKDISCARD. Raises:
    Refused, if /sys cannot be written; OSError.
    """
    if attribute(name, "queue/discard_max_bytes") == b"0":
        return
    sysfs.write(Path(BLOCK, name, "queue/discard_max_bytes"), b"0")
    if attribute(name, "queue/discard_max_bytes") != b"0":
        raise OSError(errno.EIO, "discards cannot be turned off", f"/dev/{name}")


def encode_label(label: str) -> bytes:
    """Return a label as bytes for the field lo_file_name of struct loop_info64.

    Raises: OSError, ENAMETOOLONG if it has more than 63 bytes.
    """
    raw = label.encode()
    if len(raw) >= LO_NAME_SIZE:
        raise OSError(errno.ENAMETOOLONG, "a loop device holds 63 bytes", label)
    return raw
