"""What may be asked of mkfs, and above all what may not."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from driver.core.errors import Invalid
from driver.core.model import MIB, FsType
from driver.core.options.mkfs_options import SMALLEST, parse_mkfs_options

TAKEN = [
    (FsType.EXT4, "-m 1"),
    (FsType.EXT4, "-m 0.5 -N 100000"),
    (FsType.EXT4, "-i 16384 -I 512 -T largefile"),
    (FsType.EXT4, "-O ^has_journal,metadata_csum"),
    (FsType.EXT4, "-E lazy_itable_init=0,stride=16"),
    (FsType.EXT4, "-J size=64M"),
    (FsType.XFS, "-i size=1024,maxpct=50"),
    (FsType.XFS, "-n size=8192 -m reflink=0,rmapbt=1"),
    (FsType.XFS, "-d agcount=4,su=64k,sw=2 -l size=64m"),
    (FsType.BTRFS, "-n 16k -m single -d dup -O no-holes --csum xxhash"),
    (FsType.BTRFS, "-O ^free-space-tree,mixed-bg"),
    (FsType.XFS, "-m crc=1 -n ftype=1 -i attr=2,projid32bit=1 -l lazy-count=1,version=2"),
]

REFUSED = [
    (FsType.EXT4, "-F"),
    (FsType.EXT4, "/dev/sda"),
    (FsType.EXT4, "-m"),
    (FsType.EXT4, "-m 1 -m"),
    (FsType.EXT4, "-b 1024"),  # the driver's decision
    (FsType.EXT4, "-U 00000000-0000-0000-0000-000000000000"),
    (FsType.EXT4, "-d /etc"),  # would copy the host's files into the volume
    (FsType.EXT4, "-J device=/dev/sda"),
    (FsType.EXT4, "-E discard"),
    (FsType.EXT4, "-E lazy_itable_init=0,discard"),
    (FsType.EXT4, "-l /etc/badblocks"),
    # what would make no filesystem, or none that mounts for writing, everywhere
    (FsType.EXT4, "-O journal_dev"),
    (FsType.EXT4, "-O metadata_csum,journal_dev"),
    (FsType.EXT4, "-O mmp"),
    (FsType.EXT4, "-O shared_blocks"),
    (FsType.EXT4, "-O none"),
    (FsType.EXT4, "-O no_such_feature"),
    (FsType.EXT4, "-O extent=1"),
    (FsType.EXT4, "-n"),
    (FsType.EXT4, "-S"),
    (FsType.EXT4, "-L data"),
    (FsType.EXT4, "-T hurd"),
    (FsType.EXT4, "-T hugefiles"),
    (FsType.EXT4, "-E lazy_journal_init=1"),
    (FsType.EXT4, "-E resize=4G"),
    (FsType.EXT4, "-E offset=4096"),
    (FsType.EXT4, "-J location=0"),
    (FsType.XFS, "-N"),
    (FsType.XFS, "-b size=1024"),
    (FsType.XFS, "-m crc=0"),
    (FsType.XFS, "-m uuid=00000000-0000-0000-0000-000000000001"),
    (FsType.XFS, "-n ftype=0"),
    (FsType.XFS, "-d size=100m"),
    (FsType.XFS, "-d rtinherit=1"),
    (FsType.XFS, "-l internal=0"),
    (FsType.XFS, "-L data"),
    (FsType.BTRFS, "-O list-all"),
    (FsType.BTRFS, "-O zoned"),
    (FsType.BTRFS, "-O raid-stripe-tree"),
    (FsType.BTRFS, "-b 100m"),
    (FsType.BTRFS, "-U 00000000-0000-0000-0000-000000000000"),
    (FsType.BTRFS, "-L data"),
    (FsType.BTRFS, "-M"),
    (FsType.EXT4, "-m1"),
    (FsType.EXT4, "-m ''"),
    (FsType.EXT4, "-m '1\n'"),
    (FsType.EXT4, "-m 1 --"),
    (FsType.EXT4, "-m '1 /dev/sda'"),
    (FsType.EXT4, "-m '٣'"),
    (FsType.EXT4, '-m "1'),  # quote without end
    (FsType.XFS, "-f"),
    (FsType.XFS, "-p /etc/passwd"),
    (FsType.XFS, "-d name=/etc/passwd"),
    (FsType.XFS, "-d file=1,name=/x"),
    (FsType.XFS, "-l logdev=/dev/sda"),
    (FsType.XFS, "-r rtdev=/dev/sda"),
    (FsType.XFS, "-s size=512"),
    (FsType.XFS, "-K"),
    (FsType.BTRFS, "-r /etc"),
    (FsType.BTRFS, "--rootdir /etc"),
    (FsType.BTRFS, "-f"),
    (FsType.BTRFS, "-d raid1"),
    (FsType.BTRFS, "-s 512"),
]


@pytest.mark.parametrize(("fs", "text"), TAKEN)
def test_tuning_options_are_taken_word_by_word(fs: FsType, text: str) -> None:
    assert parse_mkfs_options(fs, text) == tuple(text.split())


@pytest.mark.parametrize(("fs", "text"), REFUSED)
def test_options_that_reach_elsewhere_are_refused(fs: FsType, text: str) -> None:
    with pytest.raises(Invalid, match="mkfsOptions"):
        parse_mkfs_options(fs, text)


@pytest.mark.parametrize("text", ["", "  ", "\t\n"])
@pytest.mark.parametrize("fs", [None, *FsType])
def test_no_options_are_always_fine(fs: FsType | None, text: str) -> None:
    assert parse_mkfs_options(fs, text) == ()


def test_a_raw_block_volume_takes_no_mkfs_options() -> None:
    with pytest.raises(Invalid, match="raw block"):
        parse_mkfs_options(None, "-m 1")


def test_a_refusal_names_the_option_and_what_is_accepted() -> None:
    with pytest.raises(Invalid) as caught:
        parse_mkfs_options(FsType.EXT4, "-m 1 -Z x")
    assert "-Z" in str(caught.value) and "-m" in str(caught.value)


@pytest.mark.parametrize(
    ("fs", "text", "says"),
    [
        (FsType.EXT4, "-O dir_index,journal_dev", "-O 'journal_dev'.*makes a journal and no files"),
        (FsType.EXT4, "-b 1024", "-b is not accepted.*the driver chooses the block size"),
        (FsType.EXT4, "-E lazy_journal_init=1", "would pass for a journal"),
        (FsType.EXT4, "-m 200", "-m '200' is not accepted for ext4; its form is"),
        (FsType.XFS, "-l size=1m,logdev=/dev/sda", "'logdev=/dev/sda'.*is on one device"),
        (FsType.BTRFS, "-O list-all", "'list-all'.*would make no filesystem"),
    ],
)
def test_a_refusal_names_the_item_and_says_why(fs: FsType, text: str, says: str) -> None:
    with pytest.raises(Invalid, match=says):
        parse_mkfs_options(fs, text)


@given(st.sampled_from(FsType), st.text(max_size=80))
def test_whatever_mkfs_is_given_is_a_pair_of_flag_and_value(fs: FsType, text: str) -> None:
    try:
        words = parse_mkfs_options(fs, text)
    except Invalid:
        return
    flags, values = words[::2], words[1::2]
    assert len(flags) == len(values)
    assert all(flag.startswith("-") for flag in flags)
    assert not any(value.startswith(("-", "/")) or "/" in value for value in values)


@given(
    st.sampled_from(FsType),
    st.sampled_from(["-m", "-O", "-E", "-J", "-i", "-n", "-d", "-l", "--csum"]),
    st.text(st.characters(codec="utf-8"), max_size=40),
)
def test_no_value_brings_a_path_or_white_space_along(fs: FsType, flag: str, value: str) -> None:
    quoted = "'" + value.replace("'", "") + "'"
    try:
        words = parse_mkfs_options(fs, f"{flag} {quoted}")
    except Invalid:
        return
    assert not set("/ \t\n\0") & set("".join(words))


def test_every_kind_of_volume_has_a_smallest_size_in_whole_mebibytes() -> None:
    assert set(SMALLEST) == {None, *FsType}
    assert all(size >= MIB and size % MIB == 0 for size in SMALLEST.values())
