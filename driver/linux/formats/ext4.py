"""ext4: options of mkfs, new UUIDs, repair, growth."""

from __future__ import annotations

import os
import stat
import struct
from contextlib import suppress
from pathlib import Path
from typing import Final

from driver.core.errors import Refused
from driver.core.model import Bytes
from driver.linux import bounded_calls, command
from driver.linux.devices import block
from driver.linux.formats import ext4_uuid, sparse_space, superblock

EXT4_IOC_RESIZE_FS: Final = 0x40086610  # _IOW('f', 16, __u64): the new number of blocks

# All by name, so that no mke2fs.conf adds what an older kernel cannot mount (orphan_file needs
# 5.15). metadata_csum_seed: a new UUID does not change every checksum (kernel 4.4).
_FEATURES: Final = (
    "none,has_journal,ext_attr,resize_inode,dir_index,filetype,extent,64bit,flex_bg,"
    "metadata_csum,metadata_csum_seed,sparse_super,large_file,huge_file,dir_nlink,extra_isize"
)
_BLOCK: Final = 4096
_CAP_SYS_RESOURCE: Final = 24  # <linux/capability.h>
_REPAIR_TIMEOUT: Final = 3600.0  # seconds; e2fsck reads the whole metadata
_QUICK_TIMEOUT: Final = 300.0  # seconds


def flags(path: Path, block_size: Bytes) -> dict[str, str]:  # noqa: ARG001 - blocks are 4096
    """Return the options and their values that this program passes to mke2fs for the image or
    device `path`. `block_size` is ignored: the filesystem has blocks of 4096 bytes.

    mke2fs may leave the journal without zeros only in an image, which was never written to, and not
    on a device. No block is reserved for root (`-m 0`), so that pods get all of the volume.
    """
    lazy_journal = int(stat.S_ISREG(path.stat().st_mode))
    extended = f"nodiscard,lazy_itable_init=1,lazy_journal_init={lazy_journal},root_owner=0:0"
    return {"-b": "4096", "-m": "0", "-O": _FEATURES, "-E": extended}


def new_uuid(path: Path, block_size: Bytes) -> None:  # noqa: ARG001 - no device is needed
    """Give an ext4 a new UUID. `block_size` is ignored: no loop device is needed.

    The journal is replayed first, because a later replay would restore the old UUID. If this
    program does not know the layout, tune2fs gives the UUID. Raises: OSError, CommandError.
    """
    before = superblock.read(path)
    if before and not before.clean:
        command.run(["e2fsck", "-p", "-E", "journal_only", path], timeout=_QUICK_TIMEOUT, ok=(0, 1))
    try:
        ext4_uuid.new_uuid(path)
    except superblock.UnfamiliarError:
        _run_tune2fs(path)


def _run_tune2fs(path: Path) -> None:
    """Give it a new UUID by tune2fs.

    It forgets the checksums of an orphan file where they depend on the UUID. So the seed of all
    checksums is kept beside the UUID first (metadata_csum_seed, kernel 4.4): it is the old
    UUID's, and no checksum has to change.
    """
    if ext4_uuid.wants_seed(path):
        _tune(["-O", "metadata_csum_seed"], path)
    _tune(["-U", "random"], path)


def _tune(change: list[str], path: Path) -> None:
    """Run tune2fs; if it fails, once more after a full check, which some changes need.

    Raises: CommandError.
    """
    try:
        command.run(["tune2fs", *change, path], timeout=_QUICK_TIMEOUT)
    except command.CommandError:  # some changes want a checked filesystem
        command.run(["e2fsck", "-f", "-p", path], timeout=_REPAIR_TIMEOUT, ok=(0, 1))
        command.run(["tune2fs", *change, path], timeout=_REPAIR_TIMEOUT)


def repair(device: Path) -> None:
    """Repair what e2fsck repairs without asking; no-op if the filesystem is mounted or the device
    read-only.

    Raises: Refused, if damage is left about which a person must decide; OSError.
    """
    if not _is_free(device):
        return
    try:
        command.run(["e2fsck", "-p", device], timeout=_REPAIR_TIMEOUT, ok=(0, 1, 2))
    except command.CommandError as error:
        raise Refused(
            f"ext4 on {device} is damaged beyond what is safe to repair unattended;"
            f" run `e2fsck {device}` yourself while it is not mounted: {error}"
        ) from error


def grow(fd: int, device: Path) -> bool:
    """Grow the filesystem mounted at `fd` to the size of `device`; no-op if it has that size.

    `fd`: a descriptor of its root directory. Always returns False, because nothing has to be
    written out: the change is in the journal. Raises: Refused, if the kernel does not permit it;
    Unusable, if free space is lacking below the device; StillRunning, if the kernel is still
    growing it after 10 seconds; OSError.
    """
    block_size = os.fstatvfs(fd).f_bsize
    blocks = block.size(device) // block_size
    if (has := _blocks(device, block_size)) >= blocks:
        return False
    sparse_space.require(device, (blocks - has) * block_size)
    try:
        request = struct.pack("Q", blocks)
        bounded_calls.ioctl(fd, EXT4_IOC_RESIZE_FS, request, f"growing ext4 on {device}")
    except PermissionError:
        raise Refused(
            f"the kernel does not grow ext4 on {device}: either it is marked damaged (unmount it,"
            " and run e2fsck), or this process has no CAP_SYS_RESOURCE"
        ) from None
    return False


def growable_bytes(device: Path, target: Path) -> Bytes:  # noqa: ARG001 - the superblock says it
    """Return by how many bytes the filesystem on `device` can grow to fill it.

    0 if the rest of the device is too small for another block group. Raises: OSError.
    """
    found_superblock = superblock.read(device)
    rest = block.size(device) - found_superblock.size if found_superblock else 0
    return rest if rest > superblock.ext4_smallest_group(device) else 0


def _blocks(device: Path, block_size: Bytes) -> int:
    """Return the size in blocks that the superblock has; 0: no filesystem is known there.

    A mounted ext4 keeps its superblock in the page cache of its device: it is current, and read
    without the disk. Raises: OSError.
    """
    found_superblock = superblock.read(device)
    return found_superblock.size // block_size if found_superblock else 0


def grow_unmounted(device: Path, rest: Bytes) -> None:
    """Grow an unmounted ext4, if the kernel does not let this process grow a mounted one; else a
    no-op.

    `rest`: bytes of the device beyond the filesystem. Growing an unmounted ext4 needs an e2fsck
    first.

    Raises: Unusable, CommandError, if the filesystem does not grow: then it is unchanged, since all
    blocks that resize2fs overwrites are kept in memory until it has ended.
    """
    if rest < _BLOCK or _may_grow_mounted() or not _is_free(device):
        return
    sparse_space.require(device, rest)
    command.run(["e2fsck", "-f", "-p", device], timeout=_REPAIR_TIMEOUT, ok=(0, 1))
    undo_file = os.memfd_create("undo", os.MFD_CLOEXEC)
    try:
        _resize(device, f"/proc/{os.getpid()}/fd/{undo_file}")
    finally:
        os.close(undo_file)


def _resize(device: Path, undo: str) -> None:
    """Run resize2fs with an undo file; apply that if it fails. Raises: CommandError."""
    try:
        command.run(["resize2fs", "-z", undo, device], timeout=_REPAIR_TIMEOUT)
    except command.CommandError:
        with suppress(command.CommandError):  # it ended before it had written anything
            command.run(["e2undo", undo, device], timeout=_REPAIR_TIMEOUT)
        raise


def _may_grow_mounted() -> bool:
    """Return whether this process has CAP_SYS_RESOURCE.

    EXT4_IOC_RESIZE_FS needs it, and some sandboxes take it from root too.
    """
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith("CapEff:"):
            return bool(int(line.split()[1], 16) >> _CAP_SYS_RESOURCE & 1)
    return True


def _is_free(device: Path) -> bool:
    """Return whether it is writable, and mounted in no mount namespace. Raises: OSError."""
    return not block.is_held(device) and not block.is_read_only(device)
