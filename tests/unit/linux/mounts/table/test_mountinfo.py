"""mountinfo is parsed, and its layers told apart."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from driver.linux.mounts.table import mount_ids, mountinfo
from driver.linux.mounts.table.mount_entry import Mount
from driver.linux.mounts.table.mountinfo import MountinfoTable

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
    return [one.id for one in mountinfo.layers(text, topmost)]


def test_a_recorded_table_is_parsed() -> None:
    found = mountinfo.parse(RECORDED)
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
    assert mountinfo.parse(text) == tuple(one for one, _ in table)


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
    assert [one.id for one in mountinfo.layers(RECORDED, 29)] == [26, 29]


def test_a_mount_that_is_gone_again_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    """Between the look at the place and the reading of the table it went away."""
    looks = iter([4711, None])
    monkeypatch.setattr(mount_ids, "topmost", lambda *_, **__: next(looks))
    assert MountinfoTable().at(Path("/proc")) == ()


def test_a_place_that_never_rests_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mount_ids, "topmost", lambda *_, **__: 4_000_000_000)
    with pytest.raises(OSError, match="change all the time"):
        MountinfoTable().at(Path("/proc"))


def test_a_context_with_commas_is_one_option_of_a_filesystem() -> None:
    line = '36 1 7:0 / /m rw - ext4 /dev/loop0 rw,context="a:b:c:s0:c1,c2",discard'
    [found] = mountinfo.parse(line)
    assert found.super_options == {"rw", 'context="a:b:c:s0:c1,c2"', "discard"}
