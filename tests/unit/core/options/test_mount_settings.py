"""The options that a filesystem takes: each has one meaning, and mountinfo's form is understood."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from driver.core.model import FsType
from driver.core.options.mount_settings import SETTINGS, Setting


def setting(fs: FsType, name: str) -> Setting:
    [found] = [setting for setting in SETTINGS[fs] if setting.name == name]
    return found


@pytest.mark.parametrize("fs", FsType)
def test_no_option_belongs_to_two_settings(fs: FsType) -> None:
    words = Counter(word for each in SETTINGS[fs] for word in each.words)
    words.update(f"{each.name}=" for each in SETTINGS[fs] if each.number or each.size)
    assert [word for word, count in words.items() if count > 1] == []


@pytest.mark.parametrize("fs", FsType)
def test_what_a_mount_shows_by_not_showing_it_can_also_be_asked_for(fs: FsType) -> None:
    """Else a repeated stage that names the default would differ from what is mounted."""
    for each in SETTINGS[fs]:
        if each.reported and each.absent and not each.number:
            on_request = set(each.words.values())
            is_switch_without_off = each.absent == "off" and on_request == {"on"}
            assert each.absent in on_request or is_switch_without_off, each.name


@given(st.integers(0, 999_999), st.sampled_from(["", "k", "K", "m", "M", "g", "G"]))
def test_a_size_is_the_same_in_any_unit(number: int, unit: str) -> None:
    factor = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30}[unit.lower()]
    assert setting(FsType.XFS, "logbsize").value(f"logbsize={number}{unit}") == str(number * factor)


@pytest.mark.parametrize(
    ("fs", "name", "option", "value"),
    [
        (FsType.EXT4, "commit", "commit=0", "5"),  # ext4(5): 0 means the default
        (FsType.EXT4, "commit", "commit=05", "5"),
        (FsType.EXT4, "commit", "commit=-1", None),
        (FsType.EXT4, "commit", "commit=1k", None),
        (FsType.EXT4, "commit", "commit=\u0661", None),  # int() takes it, the kernel does not
        (FsType.EXT4, "stripe", "stride=16", None),
        (FsType.EXT4, "acl", "acl=on", None),
        (FsType.BTRFS, "commit", "commit=0", "30"),
        (FsType.BTRFS, "compress", "compress", "zlib:3"),
        (FsType.BTRFS, "compress", "compress=zstd", "zstd:3"),
        (FsType.BTRFS, "compress", "compress=zstd:-15", "zstd:-15"),
        (FsType.BTRFS, "compress", "compress=zstd:0", None),
        (FsType.BTRFS, "compress", "compress=zlib:10", None),
        (FsType.BTRFS, "compress", "compress-force=lzo", "force-lzo"),
        (FsType.BTRFS, "compress", "compress-force=no", "off"),
        (FsType.BTRFS, "discard", "discard", "sync"),
        (FsType.XFS, "inode64", "inode32", "32"),
    ],
)
def test_an_option_has_the_value_that_the_manual_page_says(
    fs: FsType, name: str, option: str, value: str | None
) -> None:
    assert setting(fs, name).value(option) == value
