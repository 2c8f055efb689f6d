"""The accepted options of mkfs, and the smallest volume sizes. Pure tables."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from typing import Final, TypeAlias

from driver.core.errors import Invalid
from driver.core.model import LUKS_HEADER, MIB, Bytes, FsType

# Smallest volume of each kind. mkfs.xfs (since 5.19) refuses less than 300 MB; mkfs.btrfs wants
# about 110 MiB, but the kernel resizes none below 256 MiB; ext4 below 16 MiB has hardly space for
# its own journal.
SMALLEST: Final[dict[FsType | None, Bytes]] = {
    None: MIB,
    FsType.EXT4: 16 * MIB,
    FsType.XFS: 300 * MIB,
    FsType.BTRFS: 256 * MIB,
}


def smallest(fs: FsType | None, *, encrypted: bool) -> Bytes:
    """Return the smallest size of a volume with `fs` (None: raw block) in bytes, including the
    LUKS header if the volume is `encrypted`.
    """
    return SMALLEST[fs] + (LUKS_HEADER if encrypted else 0)


_NUMBER: Final = r"[0-9]{1,12}[kmgKMG]?"
_SWITCH: Final = "[01]"

# A value's form: a regular expression for all of it, or, for a list, one for each item by its name:
# `name=value`, or, with None, a feature that is named alone and may be turned off with ^.
_Form: TypeAlias = str | Mapping[str, str | None]


def _each(words: str, value: str | None = None) -> dict[str, str | None]:
    """Map each of the names to the same form."""
    return dict.fromkeys(words.split(), value)


# Options that mkfs may be given by a StorageClass. Each leaves a filesystem that is whole, fills
# the volume, and mounts. What is not here is refused; _WHY_NOT has the reasons.
_MKFS: Final[dict[FsType, dict[str, _Form]]] = {
    FsType.EXT4: {
        "-m": r"[0-9]{1,2}(\.[0-9]{1,2})?",
        "-i": _NUMBER,
        "-I": _NUMBER,
        "-N": _NUMBER,
        "-T": "default|small|big|huge|news|largefile|largefile4",
        "-O": _each(
            "has_journal ext_attr resize_inode dir_index filetype extent extents 64bit flex_bg"
            " uninit_bg metadata_csum metadata_csum_seed sparse_super sparse_super2 large_file"
            " huge_file dir_nlink extra_isize bigalloc large_dir inline_data ea_inode meta_bg"
            " project quota encrypt casefold verity fast_commit orphan_file stable_inodes"
        ),
        "-E": {
            **_each("stride stripe_width", _NUMBER),
            **_each("lazy_itable_init packed_meta_blocks", _SWITCH),
            "lazy_journal_init": "0",  # what lay there before would pass for a journal
        },
        "-J": _each("size fast_commit_size", _NUMBER),
    },
    FsType.XFS: {
        "-i": {
            **_each("size maxpct", _NUMBER),
            **_each("sparse nrext64 exchange", _SWITCH),
            "attr": "2",
            "projid32bit": "1",
        },
        "-n": {"size": _NUMBER, "ftype": "1", "parent": _SWITCH},
        "-m": {"crc": "1", **_each("finobt rmapbt reflink bigtime inobtcount", _SWITCH)},
        "-d": {
            **_each("agcount agsize su sw sunit swidth cowextsize", _NUMBER),
            "extszinherit": _NUMBER,
        },
        "-l": {**_each("size su sunit", _NUMBER), "lazy-count": "1", "version": "2"},
    },
    FsType.BTRFS: {
        "-n": _NUMBER,
        "-m": r"single|dup",
        "-d": r"single|dup",
        "-O": _each(
            "mixed-bg extref skinny-metadata no-holes free-space-tree block-group-tree"
            " bgt fst quota squota"
        ),
        "--csum": r"crc32c|xxhash|sha256|blake2",
    },
}
_WHY_NOT: Final = {
    **dict.fromkeys(("-b", "-s"), "the driver chooses the block size (parameter blockSize)"),
    **dict.fromkeys(("-n", "-N", "--list-all", "list-all"), "it would make no filesystem"),
    **dict.fromkeys(("-L", "-U", "--label", "--uuid"), "each copy gets a UUID of its own"),
    **dict.fromkeys(("-F", "-f", "-K", "-q", "-D", "--force"), "the driver decides this"),
    **dict.fromkeys(("-S", "-t", "-M", "-o", "-Z"), "a volume would not mount"),
    **dict.fromkeys(("-r", "--rootdir", "-p", "name", "file"), "it would read files of this node"),
    **dict.fromkeys(("device", "logdev", "rtdev"), "a volume is on one device"),
    "-d": "it would read files of this node",
    "-l": "it would read files of this node",
    "-C": "use -O bigalloc alone",
    "journal_dev": "it makes a journal and no filesystem",
    "mmp": "it waits at each mount for other nodes, and a volume has one",
    "shared_blocks": "it cannot be mounted for writing",
    "zoned": "no volume is a zoned device",
    "discard": "what a new volume holds is decided by its allocation",
    "lazy_journal_init=1": "what lay on the disk before would pass for a journal",
    "size": "a filesystem fills its volume",
    "resize": "a filesystem grows with its volume",
}


def parse_mkfs_options(fs: FsType | None, text: str) -> tuple[str, ...]:
    """Split the StorageClass parameter mkfsOptions into arguments for mkfs.

    `fs` None: raw block. Raises: Invalid, whose text names the first option or item that is not
    accepted, and why.
    """
    try:
        words = shlex.split(text)
    except ValueError as error:
        raise Invalid(f"parameters[mkfsOptions]: {error}") from None
    if not words:
        return ()
    if fs is None:
        raise Invalid("parameters[mkfsOptions]: a raw block volume has no filesystem to make")
    for flag, value in zip(words[::2], [*words[1::2], ""], strict=False):
        _require_mkfs(fs, flag, value)
    return tuple(words)


def _require_mkfs(fs: FsType, flag: str, value: str) -> None:
    """Raise Invalid if mkfs of `fs` may not be given this flag with this value."""
    if (form := _MKFS[fs].get(flag)) is None:
        accepted = f"accepted are {', '.join(sorted(_MKFS[fs]))}, each with one value"
        raise Invalid(_not_accepted(fs, flag, flag, accepted))
    if isinstance(form, str):
        if not re.fullmatch(form, value, re.ASCII):
            raise Invalid(_not_accepted(fs, f"{flag} {value!r}", "", f"its form is {form}"))
        return
    for item in value.split(","):
        if not _fits(item, form):
            name = item.partition("=")[0].removeprefix("^")
            accepted = f"accepted by {flag} are {', '.join(sorted(form))}"
            key = item if name in form else name
            raise Invalid(_not_accepted(fs, f"{flag} {item!r}", key, accepted))


def _fits(item: str, form: Mapping[str, str | None]) -> bool:
    """Return whether an item of a list has the form that its name requires."""
    name, equals, value = item.partition("=")
    if (pattern := form.get(name)) is not None:
        return bool(re.fullmatch(pattern, value, re.ASCII))
    return not equals and name.removeprefix("^") in form and form[name.removeprefix("^")] is None


def _not_accepted(fs: FsType, option: str, key: str, accepted: str) -> str:
    """Return the text for `option`, with the reason that `_WHY_NOT` has for `key`."""
    reason = f" ({_WHY_NOT[key]})" if key in _WHY_NOT else ""
    return f"parameters[mkfsOptions]: {option} is not accepted for {fs}{reason}; {accepted}"
