"""The mounts according to statmount(2) and listmount(2), by ids that are never reused.

Structures and numbers: include/uapi/linux/mount.h. The system calls exist since Linux 6.8. mnt_opts
(6.11) and sb_source (6.13) are needed too, so older kernels use mountinfo.
"""

from __future__ import annotations

import ctypes
import errno
import os
import struct
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path
from typing import Final

from driver.linux.mounts.table.mount_entry import Mount, split_options

_NR_STATMOUNT: Final = 457  # <asm-generic/unistd.h>; the same on all architectures
_NR_LISTMOUNT: Final = 458
_REQUEST: Final = struct.Struct("=IIQQ")  # struct mnt_id_req: size, spare, mnt_id, param
_LSMT_ROOT: Final = 0xFFFF_FFFF_FFFF_FFFF  # all mounts that this process can reach from its root
_IDS: Final = 4096  # at once

_SB_BASIC: Final = 0x001
_MNT_BASIC: Final = 0x002
_MNT_ROOT: Final = 0x008
_MNT_POINT: Final = 0x010
_FS_TYPE: Final = 0x020
_MNT_OPTS: Final = 0x080
_FS_SUBTYPE: Final = 0x100
_SB_SOURCE: Final = 0x200
_NEEDED: Final = _SB_BASIC | _MNT_BASIC | _MNT_ROOT | _MNT_POINT | _FS_TYPE | _SB_SOURCE
_REQUESTED: Final = _NEEDED | _MNT_OPTS | _FS_SUBTYPE  # not there if they are empty

# struct statmount: mnt_opts, mask, sb_dev_major and _minor, sb_flags, fs_type, mnt_id,
# mnt_parent_id, mnt_attr, mnt_root, mnt_point, fs_subtype, sb_source
_STATMOUNT: Final = struct.Struct("=4xIQII8xIIQQ8xQ32xII8xII")
_STRINGS: Final = 512  # offset of the strings
_SIZES: Final = (4096, 1 << 16, 1 << 20)  # of the buffer; the kernel says EOVERFLOW

_SB_FLAGS: Final = {16: "sync", 128: "dirsync", 1 << 25: "lazytime"}
_ATTRIBUTES: Final = {
    0x2: "nosuid",
    0x4: "nodev",
    0x8: "noexec",
    0x10: "noatime",
    0x80: "nodiratime",
    0x100000: "idmapped",
    0x200000: "nosymfollow",
}
_RDONLY: Final = 1  # both SB_RDONLY and MOUNT_ATTR_RDONLY
_ATIME: Final = 0x70  # MOUNT_ATTR__ATIME; 0: MOUNT_ATTR_RELATIME

_libc: Final = ctypes.CDLL(None, use_errno=True)
_libc.syscall.restype = ctypes.c_long


def is_supported(mount_id: int) -> bool:
    """Return whether this kernel has listmount(2) and statmount(2), with all fields that this
    program reads.

    `mount_id`: the unique id of any mount, with which the calls are tried. Returns False also if
    seccomp forbids the calls, and never raises OSError.
    """
    try:
        return mount_id in ids(listing()) and _mask(_ask(mount_id)) & _NEEDED == _NEEDED
    except OSError:
        return False


def listing() -> bytes:
    """Return the unique ids of all reachable mounts of this mount namespace, ascending, as raw
    bytes.

    Each id has 8 bytes, as the kernel returns it, because converting thousands of them to integers
    takes longer than the system call. Raises: OSError.
    """
    pages, last = b"", 0
    while True:
        page = (ctypes.c_uint64 * _IDS)()
        request = _REQUEST.pack(_REQUEST.size, 0, _LSMT_ROOT, last)
        count = _libc.syscall(_NR_LISTMOUNT, request, page, ctypes.c_size_t(_IDS), 0)
        if count < 0:
            code = ctypes.get_errno()
            raise OSError(code, os.strerror(code), "listmount")
        pages += memoryview(page)[:count]
        if count < _IDS:
            return pages
        last = page[count - 1]


def ids(listing: bytes) -> memoryview[int]:
    """Return the mount ids in `listing`, raw bytes with 8 bytes for each id, as integers."""
    return memoryview(listing).cast("Q")


def entry(mount_id: int) -> Mount | None:
    """Return the mount with the unique id `mount_id`.

    None: it does not exist any more, or cannot be reached from this process's root. Raises:
    OSError.
    """
    try:
        data = _ask(mount_id)
    except OSError as error:
        if error.errno in {errno.ENOENT, errno.EPERM}:
            return None
        raise
    mount = _parse(data)
    return mount if str(mount.target) != "." else None


def _ask(mount_id: int) -> bytes:
    """Return a struct statmount and the strings behind it. Raises: OSError."""
    request = _REQUEST.pack(_REQUEST.size, 0, mount_id, _REQUESTED)
    for size in _SIZES:
        answer = ctypes.create_string_buffer(size)
        if _libc.syscall(_NR_STATMOUNT, request, answer, ctypes.c_size_t(size), 0) == 0:
            return answer.raw
        code = ctypes.get_errno()
        if code != errno.EOVERFLOW:
            break
    raise OSError(code, os.strerror(code), "statmount")


def _mask(data: bytes) -> int:
    """Return which fields the kernel has set."""
    return int(_STATMOUNT.unpack_from(data)[1])


def _parse(data: bytes) -> Mount:
    """Return the mount that a struct statmount describes."""
    (
        opts, mask, major, minor, sb_flags, fs_type, number, parent,
        attributes, root, point, subtype, source,
    ) = _STATMOUNT.unpack_from(data)  # fmt: skip

    kind = _text(data, fs_type) if mask & _FS_TYPE else ""
    if mask & _FS_SUBTYPE and (detail := _text(data, subtype)):
        kind = f"{kind}.{detail}"
    return Mount(
        id=number,
        parent=parent,
        device=os.makedev(major, minor),
        root=_text(data, root) if mask & _MNT_ROOT else "",
        target=Path(_text(data, point) if mask & _MNT_POINT else ""),
        fs_type=kind,
        source=_text(data, source) if mask & _SB_SOURCE else "",
        options=_options(attributes),
        super_options=_super_options(_text(data, opts) if mask & _MNT_OPTS else "", sb_flags),
    )


def _text(data: bytes, offset: int) -> str:
    """Return the string at an offset behind a struct statmount."""
    start = _STRINGS + offset
    return data[start : data.index(b"\0", start)].decode("utf-8", "surrogateescape")


@lru_cache
def _options(attributes: int) -> frozenset[str]:
    """Return the options of a mount in the words of mountinfo."""
    access = ["ro" if attributes & _RDONLY else "rw"]
    atime = [] if attributes & _ATIME else ["relatime"]
    return frozenset((*access, *atime, *_words(_ATTRIBUTES, attributes)))


@lru_cache
def _super_options(options: str, flags: int) -> frozenset[str]:
    """Return the options and the flags of a filesystem in the words of mountinfo."""
    access = "ro" if flags & _RDONLY else "rw"
    return split_options(options, (access, *_words(_SB_FLAGS, flags)))


def _words(words: dict[int, str], flags: int) -> Iterable[str]:
    return (word for flag, word in words.items() if flags & flag)
