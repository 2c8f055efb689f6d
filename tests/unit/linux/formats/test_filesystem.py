"""What mkfs is called with."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from driver.core.errors import Invalid, Refused
from driver.core.model import FsType
from driver.core.options.mkfs_options import parse_mkfs_options
from driver.linux.formats import filesystem

FLAGS = st.sampled_from(["-b", "-O", "-E", "-m"])
PAIRS = st.lists(st.sampled_from(["a=1", "a=2", "b=1", "^c", "c"]), min_size=1).map(",".join)


def test_a_flag_of_both_stands_once() -> None:
    ours = {"-b": "4096", "-O": "none,extent", "-E": "nodiscard,lazy_itable_init=1"}
    theirs = ["-m", "0", "-O", "^extent,quota", "-E", "lazy_itable_init=0"]
    assert filesystem.merge_flags(ours, theirs) == [
        *("-b", "4096"),
        *("-O", "none,extent,^extent,quota"),
        *("-E", "nodiscard,lazy_itable_init=0"),
        *("-m", "0"),
    ]


@given(st.dictionaries(FLAGS, PAIRS), st.lists(st.tuples(FLAGS, PAIRS)))
def test_no_flag_stands_twice_and_theirs_come_last(
    ours: dict[str, str], theirs: list[tuple[str, str]]
) -> None:
    words = filesystem.merge_flags(ours, [word for pair in theirs for word in pair])
    flags = words[::2]
    assert len(flags) == len(set(flags))
    assert set(flags) == {*ours, *(flag for flag, _ in theirs)}
    last = dict(theirs)
    for flag, value in zip(flags, words[1::2], strict=True):
        assert value.endswith(last.get(flag, ours.get(flag, "")))


def test_all_filesystems_have_their_programs() -> None:
    assert set(filesystem.PROGRAMS) == set(FsType)
    assert all(filesystem.PROGRAMS.values())


def test_the_driver_keeps_what_it_decides() -> None:
    """Neither discards nor block sizes can be had by a StorageClass."""
    for fs, text in [
        (FsType.EXT4, "-E discard=1"),
        (FsType.EXT4, "-b 1024"),
        (FsType.XFS, "-s size=512"),
        (FsType.BTRFS, "-s 16384"),
    ]:
        with pytest.raises(Invalid):
            parse_mkfs_options(fs, text)


def test_an_image_of_another_kind_gets_no_new_uuid(tmp_path: Path) -> None:
    image = tmp_path / "image"
    image.write_bytes(bytes(1 << 20))
    for fs in FsType:
        with pytest.raises(Refused, match="no filesystem"):
            filesystem.new_uuid(image, fs, block_size=4096)
    assert image.read_bytes() == bytes(1 << 20)


def test_abandoning_what_is_not_there_is_content(tmp_path: Path) -> None:
    filesystem.release_leftovers(tmp_path / "missing")
