"""mountinfo is parsed, and its layers told apart."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from driver.core.options import mount_options
from driver.linux.mounts import mount
from driver.linux.mounts.mount import Mount

RECORDED = r"""22 27 0:21 / /proc rw,relatime - proc proc rw
24 27 0:6 / /dev rw,relatime - devtmpfs devtmpfs rw,size=12331664k,nr_inodes=3082916,mode=755
26 24 0:24 / /dev/pts rw,relatime - devpts devpts rw,mode=600,ptmxmode=000
27 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw,discard
29 26 0:26 / /dev/pts rw,relatime - devpts devpts rw,mode=600,ptmxmode=000
42 27 7:0 / /srv/a\040b\134c\011d ro,nosuid,nodev,relatime shared:7 master:2 - xfs /dev/loop0 rw,inode64,noquota
45 27 0:39 /sub /mnt rw,relatime - btrfs /dev/loop3 rw,space_cache=v2,subvolid=256,subvol=/sub
46 27 0:6 /loop5 /srv/block rw,relatime - devtmpfs devtmpfs rw,size=12331664k
47 27 0:50 / /run/user rw - fuse.sshfs me@there:/my\040files rw,user_id=0
48 27 0:51 / /empty rw - tmpfs  rw
"""

# Whatever may stand in a path, undecodable bytes included
NAMES = (
    st.binary(min_size=1, max_size=12)
    .map(os.fsdecode)
    .filter(lambda name: name not in {".", ".."} and not set("/\0") & set(name))
)
PATHS = st.lists(NAMES, max_size=4).map(lambda names: Path("/", *names))
WORDS = st.frozensets(st.sampled_from(["rw", "ro", "nosuid", "noatime", "a=b"]), min_size=1)
MOUNTS = st.builds(
    Mount,
    id=st.integers(1, 9999),
    parent=st.integers(1, 9999),
    device=st.builds(os.makedev, st.integers(0, 511), st.integers(0, 255)),
    root=PATHS.map(str),
    target=PATHS,
    fs_type=st.sampled_from(["ext4", "xfs", "btrfs", "tmpfs", "fuse.sshfs"]),
    source=PATHS.map(str),
    options=WORDS,
    super_options=WORDS,
)


def rendered(one: Mount, *optional: str) -> str:
    """As fs/proc_namespace.c writes it."""

    def escaped(path: object, special: str = " \t\n\\") -> str:
        return "".join(f"\\{ord(c):03o}" if c in special else c for c in str(path))

    head = [
        str(one.id),
        str(one.parent),
        f"{os.major(one.device)}:{os.minor(one.device)}",
        escaped(one.root),
        escaped(one.target),
        ",".join(one.options),
        *optional,
    ]
    tail = [one.fs_type, escaped(one.source, " \t\n\\#"), ",".join(one.super_options)]
    return " ".join([*head, "-", *tail])


def at(number: int, parent: int, target: str) -> Mount:
    return Mount(
        id=number,
        parent=parent,
        device=os.makedev(7, number),
        root="/",
        target=Path(target),
        fs_type="ext4",
        source="/dev/x",
        options=frozenset({"rw"}),
        super_options=frozenset({"rw"}),
    )


def ids(mounts: list[Mount], topmost: int) -> list[int]:
    text = "\n".join(rendered(one) for one in mounts)
    return [one.id for one in mount.layers(text, topmost)]


def test_a_recorded_table_is_parsed() -> None:
    found = mount.parse_mountinfo(RECORDED)
    assert len(found) == 10
    assert found[5] == Mount(
        id=42,
        parent=27,
        device=os.makedev(7, 0),
        root="/",
        target=Path("/srv/a b\\c\td"),
        fs_type="xfs",
        source="/dev/loop0",
        options=frozenset({"ro", "nosuid", "nodev", "relatime"}),
        super_options=frozenset({"rw", "inode64", "noquota"}),
    )
    assert (found[6].root, found[7].root) == ("/sub", "/loop5")
    assert found[8].source == "me@there:/my files"
    assert found[9].source == ""


@given(st.lists(st.tuples(MOUNTS, st.sampled_from([(), ("shared:3",), ("shared:3", "master:1")]))))
def test_what_the_kernel_writes_is_read_back(table: list[tuple[Mount, tuple[str, ...]]]) -> None:
    text = "".join(rendered(one, *optional) + "\n" for one, optional in table)
    assert mount.parse_mountinfo(text) == tuple(one for one, _ in table)


@given(PATHS)
def test_a_mount_is_found_whatever_its_target(target: Path) -> None:
    table = [at(1, 0, "/"), at(2, 1, str(target / "deeper")), at(13, 1, str(target))]
    assert ids(table, 13)[-1] == 13
    assert ids(table, 3) == []


def test_layers_come_from_the_lowest_to_the_topmost() -> None:
    table = [at(27, 1, "/"), at(9, 31, "/m"), at(31, 30, "/m"), at(30, 27, "/m")]
    assert ids(table, 9) == [30, 31, 9]
    assert ids(table, 31) == [30, 31]


def test_a_mount_on_another_place_is_no_layer() -> None:
    table = [at(27, 1, "/"), at(30, 27, "/m"), at(31, 30, "/m/n"), at(32, 27, "/m")]
    assert ids(table, 31) == [31]
    assert ids(table, 30) == [30]


def test_a_root_that_is_its_own_parent_ends_the_walk() -> None:
    table = [at(1, 1, "/"), at(30, 1, "/m")]
    assert ids(table, 30) == [30]
    assert ids(table, 1) == [1]


def test_a_table_without_a_root_is_walked_too() -> None:
    """In a chroot below no mount point of its own the root's line is missing."""
    assert ids([at(30, 27, "/m"), at(31, 30, "/m/n")], 31) == [31]


def test_an_id_is_found_as_a_whole() -> None:
    assert ids([at(127, 1, "/a"), at(27, 12, "/b"), at(12, 1, "/c")], 27) == [27]
    assert ids([at(127, 1, "/a")], 27) == []


def test_stacked_recorded_mounts_are_found() -> None:
    assert [one.id for one in mount.layers(RECORDED, 29)] == [26, 29]


def test_what_is_no_mount_point_has_no_layers(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for place in (tmp_path, tmp_path / "file", tmp_path / "missing", tmp_path / "file" / "below"):
        assert mount.at(place) == ()
        assert not mount.is_mount_point(place)


def test_a_mount_that_is_gone_again_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    """Between the look at the place and the reading of the table it went away."""
    looks = iter([4711, None])
    monkeypatch.setattr(mount, "_topmost", lambda _: next(looks))
    assert mount.at(Path("/proc")) == ()


def test_a_place_that_never_rests_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mount, "_topmost", lambda _: 4_000_000_000)
    with pytest.raises(OSError, match="change all the time"):
        mount.at(Path("/proc"))


@pytest.mark.parametrize(
    ("options", "flags", "data"),
    [
        ([], 0, ()),
        (["noatime", "discard", "nodev"], mount.MS_NOATIME | mount.MS_NODEV, ("discard",)),
        (["rw", "ro"], mount.MS_RDONLY, ()),
        (["noatime", "relatime"], mount.MS_RELATIME, ()),
        (["commit=30", "x-a=b", "data=ordered"], 0, ("commit=30", "data=ordered")),
    ],
)
def test_words_become_flags_or_data(options: list[str], flags: int, data: tuple[str, ...]) -> None:
    assert mount.split_options(options) == (flags, data)


@pytest.mark.parametrize("has", [True, False])
def test_a_context_is_left_out_where_the_kernel_has_no_selinux(
    has: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mount, "_has_selinux", lambda: has)
    context = 'context="a:b:c:s0:c1,c2"'
    assert mount.split_options(["noatime", context]) == (
        mount.MS_NOATIME,
        (context,) if has else (),
    )


def test_a_context_with_commas_is_one_option_of_a_filesystem() -> None:
    line = '36 1 7:0 / /m rw - ext4 /dev/loop0 rw,context="a:b:c:s0:c1,c2",discard'
    [found] = mount.parse_mountinfo(line)
    assert found.super_options == {"rw", 'context="a:b:c:s0:c1,c2"', "discard"}


@given(st.sampled_from(sorted(mount_options._WORDS)))
def test_every_word_has_its_flag(word: str) -> None:
    assert mount.split_options([word])[1] == ()


def test_the_own_table_can_be_read() -> None:
    found = mount.mounts()
    assert mount.at(Path("/proc"))[-1].fs_type == "proc"
    assert mount.is_mount_point(Path("/proc")) and mount.is_mount_point(Path("/"))
    assert any(one.target == Path("/proc") for one in found)


def test_a_number_is_known_by_name_or_by_node(tmp_path: Path) -> None:
    assert mount.number_of(Path("/dev/null")) == 0  # no block device
    assert mount.number_of(tmp_path) == 0
    assert mount.number_of(tmp_path / "missing") == 0
    for known in list(Path("/sys/class/block").iterdir())[:3]:
        major, minor = (known / "dev").read_text().split(":")
        assert mount.number_of(Path("/dev", known.name)) == os.makedev(int(major), int(minor))


def test_an_anonymous_device_is_no_block_device() -> None:
    tmpfs = mount.parse_mountinfo(RECORDED)[0]
    assert mount.shown_device(tmpfs) == 0
