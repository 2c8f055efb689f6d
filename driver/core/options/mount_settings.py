"""The mount options of each filesystem: their forms, and the setting that each changes. Pure
tables.

According to ext4(5), xfs(5) and btrfs(5), and to what the kernel's show_options prints.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from driver.core.model import FsType

_NUMBER: Final = re.compile(r"[0-9]{1,9}", re.ASCII)
_SIZE: Final = re.compile(r"([0-9]{1,9})([kmgKMG]?)", re.ASCII)
_UNITS: Final = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30}


@dataclass(frozen=True, slots=True)
class Setting:
    """One property of a mount that mount options set, such as whether access times are written.

    `words`: the value of the property that each option sets. `number`, `size`: whether `NAME=N`
    sets it, with N a number or a size in bytes. `absent`: the value if mountinfo shows no option
    for the property. `chosen`: the kernel may choose any value by itself. `reported`: whether
    mountinfo shows the value at all.
    """

    name: str
    words: Mapping[str, str] = field(default_factory=dict)
    number: bool = False  # takes `name=N`
    size: bool = False  # takes `name=N`, N in bytes or with a unit
    absent: str = ""
    chosen: bool = False
    reported: bool = True

    def value(self, option: str) -> str | None:
        """Return the value that the mount option `option` gives this property; None: the option
        sets another property, or is malformed.
        """
        if option in self.words:
            return self.words[option]
        name, equals, value = option.partition("=")
        if name != self.name or not equals:
            return None
        if self.number and _NUMBER.fullmatch(value):
            return str(int(value))
        if self.size and (match := _SIZE.fullmatch(value)):
            return str(int(match[1]) * _UNITS[match[2].lower()])
        return None


def _switch(on: str, off: str = "", *, default: bool = False, **more: bool) -> Setting:
    """Return a setting with the words `on` and `off`; `default`: it is on if mountinfo shows
    neither.
    """
    words = {on: "on", **({off: "off"} if off else {})}
    return Setting(on, words, absent="on" if default else "off", **more)


def _choice(name: str, values: str, *, absent: str, **more: bool) -> Setting:
    """Return a setting of the form `name=value`, with these values."""
    return Setting(name, {f"{name}={v}": v for v in values.split()}, absent=absent, **more)


def _unreported(words: str) -> Iterator[Setting]:
    """Return switches that mountinfo does not show, or shows in another form; they are never
    compared.
    """
    return (_switch(name, reported=False) for name in words.split())


def _levels() -> dict[str, str]:
    """Return the compression options of btrfs, each with the algorithm and level that it means."""
    values = {"compress": "zlib:3", "compress-force": "force-zlib:3"}
    for option, prefix in (("compress", ""), ("compress-force", "force-")):
        values |= {f"{option}={word}": "off" for word in ("no", "none")}
        values |= {f"{option}=lzo": f"{prefix}lzo"}
        for kind, usual, levels in (("zlib", 3, range(1, 10)), ("zstd", 3, range(-15, 16))):
            values |= {f"{option}={kind}:{n}": f"{prefix}{kind}:{n}" for n in levels if n}
            values |= {f"{option}={kind}": f"{prefix}{kind}:{usual}"}
    return values


_GROUP_ID: Final = Setting(
    "grpid",
    {"grpid": "on", "bsdgroups": "on", "nogrpid": "off", "sysvgroups": "off"},
    absent="off",
)
_BARRIER: Final = Setting("barrier", {"barrier": "on", "barrier=1": "on"}, absent="on")
SETTINGS: Final[dict[FsType, tuple[Setting, ...]]] = {
    FsType.EXT4: (
        _choice("data", "ordered journal", absent="ordered"),
        _choice("errors", "continue remount-ro", absent="continue"),
        Setting("commit", {"commit=0": "5"}, number=True, absent="5"),
        _BARRIER,
        _GROUP_ID,
        _switch("discard", "nodiscard"),
        _switch("acl", "noacl", default=True),
        _switch("user_xattr", "nouser_xattr", default=True),
        _switch("delalloc", "nodelalloc", default=True, chosen=True),  # data=journal has none
        _switch("auto_da_alloc", "noauto_da_alloc", default=True),
        _switch("block_validity", "noblock_validity", default=True),
        _switch("minixdf", "bsddf"),
        Setting("max_batch_time", number=True, absent="15000"),
        Setting("min_batch_time", number=True, absent="0"),
        Setting("inode_readahead_blks", number=True, absent="32"),
        Setting("max_dir_size_kb", number=True, absent="0"),
        Setting("stripe", number=True, absent="0", chosen=True),
        Setting("resuid", number=True, absent="0"),
        Setting("resgid", number=True, absent="0"),
        Setting("init_itable", {"init_itable": "10"}, number=True, reported=False),
        Setting("journal_ioprio", number=True, reported=False),
        Setting("mb_optimize_scan", number=True, reported=False),
        *_unreported("noinit_itable dioread_nolock dioread_lock nodioread_nolock journal_checksum"),
        *_unreported(
            "nojournal_checksum prefetch_block_bitmaps no_prefetch_block_bitmaps no_mbcache"
        ),
        *_unreported("quota noquota usrquota grpquota prjquota"),
    ),
    FsType.XFS: (
        Setting("inode64", {"inode64": "64", "inode32": "32"}, absent="64"),
        _GROUP_ID,
        _switch("discard", "nodiscard"),
        _switch("largeio", "nolargeio"),
        _switch("nouuid"),
        _switch("filestreams"),
        _switch("swalloc"),
        _switch("noalign"),
        _switch("wsync"),
        Setting("logbufs", number=True, absent="8"),
        Setting("logbsize", size=True, chosen=True),
        Setting("allocsize", size=True),
        Setting("sunit", number=True, absent="0", chosen=True),
        Setting("swidth", number=True, absent="0", chosen=True),
        *_unreported("attr2 ikeep noikeep lifetime nolifetime"),
        *_unreported("quota noquota usrquota uquota uqnoenforce qnoenforce grpquota gquota"),
        *_unreported("gqnoenforce prjquota pquota pqnoenforce"),
    ),
    FsType.BTRFS: (
        Setting("compress", _levels(), absent="off"),
        Setting("commit", {"commit=0": "30"}, number=True, absent="30"),
        Setting(
            "discard",
            {"discard": "sync", "discard=sync": "sync", "discard=async": "async"}
            | {"nodiscard": "off"},
            absent="off",
            chosen=True,
        ),
        _switch("barrier", default=True),
        _switch("acl", "noacl", default=True),
        _switch("autodefrag", "noautodefrag"),
        _switch("flushoncommit", "noflushoncommit"),
        _switch("notreelog", "treelog"),
        _switch("nodatacow", "datacow"),
        _switch("nodatasum", "datasum", chosen=True),  # nodatacow brings it along
        _switch("user_subvol_rm_allowed"),
        Setting("metadata_ratio", number=True, absent="0"),
        Setting("thread_pool", number=True, chosen=True),
        Setting("max_inline", size=True, chosen=True),
        *_unreported("ssd nossd ssd_spread nossd_spread space_cache space_cache=v1 space_cache=v2"),
        *_unreported("skip_balance"),
    ),
}
