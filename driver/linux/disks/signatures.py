"""The places on a disk where known formats have their signatures, headers and backups.

The table is used only to name what lies on a disk: libblkid knows most primary headers, but not
what an incomplete wipe leaves, such as the backups at the end. Whether a disk is blank never
depends on it.

From the formats' own headers: GPT (UEFI 5.3), md (linux/raid/md_p.h), LVM2 (label.h), LUKS2
(on-disk format specification 1.1), ZFS (on-disk specification, chapter 1), btrfs (btrfs_tree.h),
DRBD (drbd_int.h), bluestore (bluestore_types.h), DDF and Intel's (dmraid).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

from driver.core.model import GIB, KIB, MIB, Bytes

_EDGE: Final = 8 * MIB  # at the beginning: LUKS2's second header lies up to 4 MiB
_TAIL: Final = 2 * MIB
_PAGE: Final = 64 * KIB

Offsets: TypeAlias = Callable[[Bytes], Sequence[Bytes]]


@dataclass(frozen=True, slots=True)
class _Signature:
    """A format's magic bytes, and at which offsets of a disk of `size` bytes they lie."""

    name: str
    magic: bytes
    offsets: Offsets


@dataclass(frozen=True, slots=True)
class Span:
    """A contiguous part of a disk: its offset and its length, in bytes."""

    start: Bytes
    length: Bytes


def signature_spans(size: Bytes) -> tuple[Span, ...]:
    """Return the parts of a disk of `size` bytes where signatures, headers and backups may lie, in
    order.

    They are the first 8 MiB, the last 2 MiB, the mirrors of btrfs at 64 MiB and 256 GiB, the first
    backup of ext4 at 128 MiB, and the starts of the four groups that mkfs.xfs makes.
    """
    quarter = -(-size // (4 * 4 * KIB)) * 4 * KIB
    starts = sorted({64 * MIB, 128 * MIB, 256 * GIB, quarter, 2 * quarter, 3 * quarter})
    end = max(0, size - _TAIL) // _PAGE * _PAGE
    spans = [Span(0, min(size, _EDGE))]
    spans += [Span(start, _PAGE) for start in starts if _EDGE <= start <= end - _PAGE]
    if end >= _EDGE:
        spans.append(Span(end, size - end))
    elif size > _EDGE:
        spans.append(Span(_EDGE, size - _EDGE))
    return tuple(spans)


def name_signature(read: Callable[[Bytes, Bytes], bytes], size: Bytes) -> str:
    """Return a text with the first known signature on a disk and its offset; "": there is no known
    signature.

    `read(start, length)` returns the bytes of the disk, which has `size` bytes.
    """
    for signature in SIGNATURES:
        for at in signature.offsets(size):
            inside = 0 <= at <= size - len(signature.magic)
            if inside and read(at, len(signature.magic)) == signature.magic:
                return f"{signature.name} at byte {at}"
    return _name_drbd(read, size)


def describe_bytes(chunk: bytes, at: Bytes) -> str:
    """Return a text, for people, about the first bytes of `chunk` that are not zeros.

    `at`: the offset of `chunk` on its disk.
    """
    start = len(chunk) - len(chunk.lstrip(b"\0"))
    data = chunk[start : start + 128]
    for magic, depth, name in _ANYWHERE:
        if data[depth:].startswith(magic):
            return f"{name} at byte {at + start}"
    line = data.partition(b"\0")[0]
    is_text = len(line) >= 4 and all(32 <= byte < 127 or byte in b"\t\r\n" for byte in line)
    return f"{'text' if is_text else 'data of an unknown kind'} at byte {at + start}"


def _at(*offsets: Bytes) -> Offsets:
    """Return a function that returns these offsets; negative ones count from the end."""
    return lambda size: [at if at >= 0 else size + at for at in offsets]


def _md_0_90(size: Bytes) -> Sequence[Bytes]:
    return [(size & ~(64 * KIB - 1)) - 64 * KIB]


def _md_1_0(size: Bytes) -> Sequence[Bytes]:
    return [((size // 512 - 16) & ~7) * 512]


def _uberblocks(size: Bytes) -> Sequence[Bytes]:
    """Return where ZFS may have an uberblock: in four labels of 256 KiB, in steps of 1 KiB."""
    end = size & ~(256 * KIB - 1)
    labels = (0, 256 * KIB, end - 512 * KIB, end - 256 * KIB)
    return [label + at for label in labels for at in range(128 * KIB, 256 * KIB, KIB)]


def _name_drbd(read: Callable[[Bytes, Bytes], bytes], size: Bytes) -> str:
    """Return that DRBD's metadata lie in the last 4 KiB; "" if they do not."""
    if size < 4 * KIB:
        return ""
    block = read(size - 4 * KIB, 4 * KIB)
    is_drbd = any(block[at : at + 4] in _DRBD for at in (52, 60))
    return f"DRBD at byte {size - 4 * KIB}" if is_drbd else ""


_DRBD: Final = (b"\x83\x74\x02\x6b", b"\x83\x74\x02\x6d", b"\x83\x74\x02\x6e")
_MD: Final = b"\xfc\x4e\x2b\xa9"
_LUKS_SECOND: Final = tuple(16 * KIB << step for step in range(9))  # 16 KiB to 4 MiB
_PAGES: Final = (4 * KIB, 8 * KIB, 16 * KIB, 32 * KIB, 64 * KIB)  # sizes of a page
_BCACHE: Final = b"\xc6\x85\x73\xf6\x4e\x1a\x45\xca\x82\x65\xf5\x7f\x48\xba\x6d\x81"
_BCACHEFS: Final = b"\xc6\x85\x73\xf6\x66\xce\x90\xa9\xd9\x6a\x60\xcf\x80\x3d\xf7\xef"
_UBERBLOCKS: Final = (b"\x0c\xb1\xba\0\0\0\0\0", b"\0\0\0\0\0\xba\xb1\x0c")

SIGNATURES: Final = (
    _Signature("LVM (a physical volume)", b"LABELONE", _at(0, 512, 1024, 1536)),
    _Signature("LUKS (encrypted data)", b"LUKS\xba\xbe", _at(0)),
    _Signature("the second header of LUKS2", b"SKUL\xba\xbe", _at(*_LUKS_SECOND)),
    _Signature("BitLocker", b"-FVE-FS-", _at(3)),
    _Signature("Ceph bluestore", b"bluestore block device", _at(0)),
    _Signature("md RAID 1.1", _MD, _at(0)),
    _Signature("md RAID 1.2", _MD, _at(4 * KIB)),
    _Signature("md RAID 1.0", _MD, _md_1_0),
    _Signature("md RAID 0.90", _MD, _md_0_90),
    _Signature("Intel RAID", b"Intel Raid ISM Cfg", _at(-1024)),
    _Signature("DDF RAID", b"\xde\x11\xde\x11", _at(-512)),
    *(_Signature("a ZFS label", magic, _uberblocks) for magic in _UBERBLOCKS),
    _Signature("bcache", _BCACHE, _at(4 * KIB + 24)),
    _Signature("bcachefs", _BCACHEFS, _at(4 * KIB + 24)),
    _Signature("VMFS", b"\x0d\xd0\x01\xc0", _at(MIB)),
    _Signature("Stratis", b"!Stra0tis\x86\xff\x02", _at(516, 4612)),
    _Signature("VDO", b"dmvdo001", _at(0)),
    _Signature("dm-integrity", b"integrt\0", _at(0)),
    _Signature("xfs", b"XFSB", _at(0)),
    _Signature("btrfs", b"_BHRfS_M", _at(64 * KIB + 64)),
    _Signature("a mirror of a btrfs superblock", b"_BHRfS_M", _at(64 * MIB + 64, 256 * GIB + 64)),
    _Signature("ext2, ext3 or ext4", b"\x53\xef", _at(1024 + 56)),
    _Signature("f2fs", b"\x10\x20\xf5\xf2", _at(1024)),
    _Signature("NTFS", b"NTFS    ", _at(3)),
    _Signature("exFAT", b"EXFAT   ", _at(3)),
    _Signature("NTFS (its backup boot sector)", b"NTFS    ", _at(3 - 512, 3 - 4096)),
    _Signature("FAT", b"FAT", _at(54, 82)),
    _Signature("ISO 9660", b"CD001", _at(32 * KIB + 1)),
    _Signature("UDF", b"BEA01", _at(32 * KIB + 1)),
    _Signature("swap", b"SWAPSPACE2", lambda _: [page - 10 for page in _PAGES]),
    _Signature("a suspended machine", b"S1SUSPEND", lambda _: [page - 10 for page in _PAGES]),
    _Signature("a GPT partition table", b"EFI PART", _at(512, 4096)),
    _Signature("the backup of a GPT partition table", b"EFI PART", _at(-512, -4096)),
    _Signature("Windows' dynamic disk", b"PRIVHEAD", _at(6 * 512, -512, -(MIB - 512))),
    _Signature("an MBR or boot sector", b"\x55\xaa", _at(510)),
)

# Structures that may begin anywhere: copies, or the beginning of another disk's image. With how
# far behind the beginning the magic bytes lie.
_ANYWHERE: Final = (
    (b"XFSB", 0, "a copy of an xfs superblock"),
    (b"_BHRfS_M", 64, "a copy of a btrfs superblock"),
    (b"LABELONE", 0, "a label of LVM"),
    (b"EFI PART", 0, "a GPT header"),
    (b"LUKS\xba\xbe", 0, "a LUKS header"),
    (b"SKUL\xba\xbe", 0, "a second LUKS2 header"),
    (_MD, 0, "an md superblock"),
)
