"""What may be asked of a filesystem: smallest sizes, mkfs options, mount options. Pure tables."""

from __future__ import annotations

import re
import shlex
from typing import Final

from driver.core.errors import Invalid
from driver.core.model import LUKS_HEADER, MIB, Bytes, FsType

# Smallest volume of each kind. mkfs.xfs (since 5.19) refuses less than 300 MB; mkfs.btrfs wants
# about 110 MiB, but the kernel resizes none below 256 MiB; ext4 below 16 MiB has hardly room for
# its own journal.
SMALLEST: Final[dict[FsType | None, Bytes]] = {
    None: MIB,
    FsType.EXT4: 16 * MIB,
    FsType.XFS: 300 * MIB,
    FsType.BTRFS: 256 * MIB,
}


def smallest(fs: FsType | None, *, encrypted: bool) -> Bytes:
    """Of a whole volume."""
    return SMALLEST[fs] + (LUKS_HEADER if encrypted else 0)


_NUMBER: Final = r"[0-9]{1,12}[kmgKMG]?"
_WORD: Final = r"[a-z0-9^][a-z0-9_^-]{0,31}"


def _list(item: str) -> str:
    return rf"{item}(,{item})*"


def _pairs(names: str, value: str = _NUMBER) -> str:
    """`name=value,...` with the names given, separated by spaces."""
    return _list(rf"({names.replace(' ', '|')})={value}")


# Options that mkfs may be given by a StorageClass: the flag and the form of its one value. What
# names a device or a file, forces, or changes block sizes and discards is not here: the driver
# decides those.
_MKFS: Final[dict[FsType, dict[str, str]]] = {
    FsType.EXT4: {
        "-m": r"[0-9]{1,2}(\.[0-9]{1,2})?",
        "-i": _NUMBER,
        "-I": _NUMBER,
        "-N": _NUMBER,
        "-T": _WORD,
        "-O": _list(_WORD),
        "-E": _pairs("lazy_itable_init lazy_journal_init stride stripe_width packed_meta_blocks"),
        "-J": _pairs("size fast_commit_size"),
    },
    FsType.XFS: {
        "-i": _pairs("size maxpct attr projid32bit sparse nrext64 exchange"),
        "-n": _pairs("size ftype parent"),
        "-m": _pairs("crc finobt rmapbt reflink bigtime inobtcount", "[01]"),
        "-d": _pairs("agcount agsize su sw sunit swidth cowextsize extszinherit"),
        "-l": _pairs("size su sunit lazy-count version"),
    },
    FsType.BTRFS: {
        "-n": _NUMBER,
        "-m": r"single|dup",
        "-d": r"single|dup",
        "-O": _list(_WORD),
        "--csum": r"crc32c|xxhash|sha256|blake2",
    },
}

# Mount options that name another device or file, or are a different mount(2) call altogether.
_FORBIDDEN: Final = frozenset(
    (
        *("bind", "rbind", "remount", "move", "loop", "offset", "sizelimit", "encryption"),
        *("journal_path", "journal_dev", "logdev", "rtdev", "device", "helper"),
        *("shared", "slave", "private", "unbindable"),
        *("rshared", "rslave", "rprivate", "runbindable"),
    )
)
_PARTS: Final = re.compile(r'(?:[^,"]|"[^"]*")+|"')  # an SELinux context has commas in quotes
_PLAIN: Final = "A-Za-z0-9_.:=+/@%-"
_MOUNT: Final = re.compile(rf'(?=.{{1,255}}$)(?:[{_PLAIN}]|"[{_PLAIN},]*")+', re.ASCII)


def parse_mkfs_options(fs: FsType | None, text: str) -> tuple[str, ...]:
    """Words for mkfs out of one StorageClass value. Invalid names what is accepted."""
    try:
        words = shlex.split(text)
    except ValueError as error:
        raise Invalid(f"parameters[mkfsOptions]: {error}") from None
    if not words:
        return ()
    if fs is None:
        raise Invalid("parameters[mkfsOptions]: a raw block volume has no filesystem to make")
    allowed = _MKFS[fs]
    flags, values = words[::2], words[1::2]
    for flag, value in zip(flags, [*values, ""], strict=False):
        if flag not in allowed or not re.fullmatch(allowed[flag], value, re.ASCII):
            raise Invalid(
                f"parameters[mkfsOptions]: {flag} {value!r} is not accepted for {fs};"
                f" accepted are {', '.join(sorted(allowed))}, each with one value"
            )
    return tuple(words)


def check_mount_options(options: tuple[str, ...]) -> tuple[str, ...]:
    """The single options of all mount flags. Invalid names the one that is not accepted."""
    single = tuple(part for option in options for part in _PARTS.findall(option))
    for option in single:
        if not _MOUNT.fullmatch(option) or option.partition("=")[0] in _FORBIDDEN:
            # not its value: that may be somebody's secret
            raise Invalid(f"mount_flags: {option.partition('=')[0]!r} is not accepted")
    return single
