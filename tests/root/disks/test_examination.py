"""Disks that are not blank: each is refused, with what is on it, and not a byte of it changes."""

from __future__ import annotations

import re
import struct
import subprocess
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest

from driver.core.errors import Refused
from driver.core.model import GIB, KIB, MIB
from driver.disks.examination import examine
from driver.disks.judgement import Consent
from driver.linux.disks import usage
from driver.linux.disks.block_devices import list_devices, read_device
from tests.support.blank_disks import SIZE, BlankDisk, MakeDisk

Trap = Callable[[BlankDisk], None]
MD = b"\xfc\x4e\x2b\xa9"
UBERBLOCK = b"\x0c\xb1\xba\0\0\0\0\0"
LABEL = b"LABELONE" + struct.pack("<QII", 0, 0, 32) + b"LVM2 001"
SECTOR = 512


def raw(*parts: tuple[int, bytes]) -> Trap:
    """Bytes at offsets; negative ones count from the end."""
    return lambda disk: disk.write(*parts)


def by(*words: str) -> Trap:
    return lambda disk: _run(*words, str(disk.path))


def _run(*words: str) -> None:
    subprocess.run(words, check=True, capture_output=True)


def gpt(at: int, other: int, size: int) -> bytes:
    """A GPT header for the sector `at` with its checksum right, so that libblkid believes it."""
    entries = zlib.crc32(bytes(128 * 128))
    last = size // SECTOR - 34
    head = struct.pack(
        "<8sIIIIQQQQ16sQIII",
        *(b"EFI PART", 0x10000, 92, 0, 0, at, other, 34, last, b"\x11" * 16),
        *(2 if at == 1 else last + 1, 128, 128, entries),
    )
    return head[:16] + struct.pack("<I", zlib.crc32(head)) + head[20:]


def protective_mbr(size: int) -> bytes:
    entry = struct.pack("<B3sB3sII", 0, b"\0\2\0", 0xEE, b"\xff" * 3, 1, size // SECTOR - 1)
    return bytes(446) + entry + bytes(48) + b"\x55\xaa"


def whole_gpt(disk: BlankDisk) -> None:
    last = disk.size // SECTOR - 1
    disk.write(
        (0, protective_mbr(disk.size)),
        (SECTOR, gpt(1, last, disk.size)),
        (last * SECTOR, gpt(last, 1, disk.size)),
    )


def backup_gpt(disk: BlankDisk) -> None:
    last = disk.size // SECTOR - 1
    disk.write((last * SECTOR, gpt(last, 1, disk.size)))


def wiped(*mkfs: str) -> Trap:
    """A filesystem whose signatures wipefs took away: all else of it is there."""

    def make(disk: BlankDisk) -> None:
        _run(*mkfs, str(disk.path))
        _run("wipefs", "--all", str(disk.path))

    return make


def second_superblock_of_xfs(disk: BlankDisk) -> None:
    _run("mkfs.xfs", "-q", str(disk.path))
    _run("dd", "if=/dev/zero", f"of={disk.path}", "bs=4M", "count=2", "conv=fsync")
    quarter = disk.size // 4
    _run("dd", "if=/dev/zero", f"of={disk.path}", "bs=1M", f"seek={2 * quarter // MIB}", "count=1")


TRAPS: dict[str, tuple[Trap, str]] = {
    # filesystems, by their own tools
    "ext4": (by("mkfs.ext4", "-q", "-L", "home"), r"ext4 \(filesystem\) with the label 'home'"),
    "xfs": (by("mkfs.xfs", "-q"), r"xfs \(filesystem\)"),
    "btrfs": (by("mkfs.btrfs", "-q"), r"btrfs \(filesystem\)"),
    "minix": (by("mkfs.minix"), r"minix \(filesystem\)"),
    "bfs": (by("mkfs.bfs"), "bfs"),
    "swap": (by("mkswap"), r"swap \(other\)"),
    "swap of 64 KiB pages": (by("mkswap", "--pagesize", "65536"), "swap"),
    # partition tables
    "MBR": (raw((510, b"\x55\xaa")), "boot sector|partition table"),
    "MBR with a partition": (raw((0, protective_mbr(SIZE))), "partition table"),
    "GPT": (whole_gpt, r"partition table \(gpt\)"),
    "GPT's first header only": (raw((SECTOR, b"EFI PART")), "GPT"),
    "GPT's backup only": (backup_gpt, "(?i)gpt"),
    "GPT's backup, sectors of 4 KiB": (raw((-4096, b"EFI PART")), "backup of a GPT"),
    "Windows' dynamic disk": (raw((6 * SECTOR, b"PRIVHEAD")), "dynamic disk"),
    # LVM, RAID, encryption
    "LVM in sector 0": (raw((0, LABEL)), "LVM"),
    "LVM in sector 1": (raw((512, LABEL)), "LVM"),
    "LVM in sector 2": (raw((1024, LABEL)), "LVM"),
    "LVM in sector 3": (raw((1536, LABEL)), "LVM"),
    "md 0.90": (raw(((SIZE & ~(64 * KIB - 1)) - 64 * KIB, MD)), "0.90|linux_raid"),
    "md 1.0": (raw((((SIZE // 512 - 16) & ~7) * 512, MD + b"\1\0\0\0")), "1.0|linux_raid"),
    "md 1.1": (raw((0, MD + b"\1\0\0\0")), "1.1|linux_raid"),
    "md 1.2": (raw((4096, MD + b"\1\0\0\0")), "1.2|linux_raid"),
    "Intel RAID": (raw((-1024, b"Intel Raid ISM Cfg Sig. 1.2.02")), "Intel|isw"),
    "DDF RAID": (raw((-512, b"\xde\x11\xde\x11")), "DDF|ddf"),
    "LUKS": (raw((0, b"LUKS\xba\xbe\0\1")), "LUKS"),
    "LUKS2's second header": (
        raw((16 * KIB, b"SKUL\xba\xbe\0\2")),
        "second header of LUKS2|crypto_LUKS",
    ),
    "LUKS2's last second header": (
        raw((4 * MIB, b"SKUL\xba\xbe\0\2")),
        "second header of LUKS2|crypto_LUKS",
    ),
    "BitLocker": (raw((0, b"\xeb\x58\x90-FVE-FS-")), "BitLocker|boot sector"),
    "bcache": (raw((4120, bytes.fromhex("c68573f64e1a45ca8265f57f48ba6d81"))), "bcache"),
    "VDO": (raw((0, b"dmvdo001")), "VDO|vdo"),
    "dm-integrity": (raw((0, b"integrt\0\1")), "integrity"),
    "Stratis": (raw((516, b"!Stra0tis\x86\xff\x02^\x41rh")), "(?i)stratis"),
    # storage systems
    "ZFS, label 0": (raw((128 * KIB, UBERBLOCK)), "ZFS"),
    "ZFS, label 1": (raw((384 * KIB + 8 * KIB, UBERBLOCK)), "ZFS"),
    "ZFS, label 2": (raw((-512 * KIB + 128 * KIB, UBERBLOCK)), "ZFS"),
    "ZFS, label 3": (raw((-KIB, UBERBLOCK)), "ZFS"),
    "ZFS of the other byte order": (raw((-256 * KIB + 192 * KIB, UBERBLOCK[::-1])), "ZFS"),
    "Ceph bluestore": (raw((0, b"bluestore block device\n" + b"a" * 36)), "(?i)bluestore"),
    "DRBD 8.4": (raw((-4096 + 60, b"\x83\x74\x02\x6d")), "(?i)drbd"),
    "DRBD 9": (raw((-4096 + 52, b"\x83\x74\x02\x6e")), "(?i)drbd"),
    "VMFS": (raw((MIB, b"\x0d\xd0\x01\xc0")), "(?i)vmfs"),
    # other systems
    "NTFS": (raw((0, b"\xeb\x52\x90NTFS    ")), "NTFS"),
    "NTFS' backup boot sector": (raw((-512 + 3, b"NTFS    ")), "NTFS"),
    "exFAT": (raw((3, b"EXFAT   ")), "(?i)exfat"),
    "FAT": (raw((54, b"FAT16   "), (510, b"\x55\xaa")), "FAT|boot sector|partition table"),
    "ISO 9660": (raw((32 * KIB + 1, b"CD001\1")), "ISO 9660|iso9660"),
    "UDF": (raw((32 * KIB + 1, b"BEA01\1")), "UDF|udf"),
    "f2fs": (raw((1024, b"\x10\x20\xf5\xf2")), "f2fs"),
    # what a wipe has left
    "ext4's backup superblock": (raw((128 * MIB + 56, b"\x53\xef")), "at byte 134217784"),
    "xfs without its head": (second_superblock_of_xfs, "a copy of an xfs superblock"),
    "btrfs' mirror": (raw((64 * MIB + 64, b"_BHRfS_M")), "mirror of a btrfs superblock"),
    "ext4 after wipefs": (wiped("mkfs.ext4", "-q"), "data of an unknown kind"),
    "xfs after wipefs": (wiped("mkfs.xfs", "-q"), "data of an unknown kind|copy of an xfs"),
    "the first byte": (raw((0, b"\1")), "at byte 0;"),
    "the last byte": (raw((-1, b"\1")), f"at byte {SIZE - 1}"),
    "text at the beginning": (raw((0, b"hello\n")), "text at byte 0"),
    "two signatures": (raw((0, LABEL), (0x10040, b"_BHRfS_M")), "LVM|contradict|btrfs"),
}
# What only a reading of all of the disk finds.
HIDDEN: dict[str, tuple[Trap, str]] = {
    "1 MiB of text in the middle": (raw((211 * MIB, b"lorem " * 174763)), "text at byte 221249536"),
    "one byte somewhere": (raw((SIZE * 37 // 100 + 1, b"\x80")), "data of an unknown kind"),
    "a group of xfs elsewhere": (raw((177 * MIB, b"XFSB")), "a copy of an xfs superblock"),
    "a label of LVM elsewhere": (raw((333 * MIB, LABEL)), "a label of LVM"),
}


@pytest.mark.parametrize("name", [*TRAPS, *HIDDEN])
def test_a_disk_with_anything_on_it_is_refused_and_unchanged(name: str, disk: BlankDisk) -> None:
    trap, sentence = (TRAPS | HIDDEN)[name]
    trap(disk)
    before = disk.digest()
    now = usage.read_usage(list_devices())
    listed = examine(read_device(disk.path), now, Consent(named=True))
    assert listed.may_become_pool is (name in HIDDEN), listed.refusal
    if name in TRAPS:  # a sentence of `create` ends with what was not done
        assert re.search(sentence, f"{listed.refusal};"), listed.refusal
    with pytest.raises(Refused, match=sentence) as refused:
        disk.create()
    assert "nothing was written to it" in str(refused.value)
    assert disk.path.name in str(refused.value)
    assert disk.digest() == before


def test_the_mirror_of_btrfs_at_256_gib_is_found(make_disk: MakeDisk) -> None:
    disk = make_disk(size=257 * GIB)
    disk.write((256 * GIB + 64, b"_BHRfS_M"))
    with pytest.raises(Refused, match="mirror of a btrfs superblock at byte 274877907008"):
        disk.create()


def test_a_blank_disk_is_no_trap(disk: BlankDisk) -> None:
    now = usage.read_usage(list_devices())
    examination = examine(read_device(disk.path), now, Consent(named=True))
    assert examination.may_become_pool, examination.refusal
    assert "disk" in examination.content
    assert Path(disk.path).exists()
