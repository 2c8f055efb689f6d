"""The contract of a mount table on real mounts, of which both implementations tell the same."""

from __future__ import annotations

import ctypes
import os
import stat
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from driver.core.model import FsType
from driver.linux.mounts import fsopen, mount
from driver.linux.mounts.table import mount_table, statmount_table
from driver.linux.mounts.table.mount_entry import Mount, device_number, node_number
from driver.linux.mounts.table.mount_table import MountTable
from driver.linux.mounts.table.mountinfo import MountinfoTable
from driver.linux.mounts.table.statmount_table import StatmountTable
from tests.root.linux.conftest import Attach, Volume
from tests.root.linux.mounts.table.conftest import needs_statmount

CLONE_NEWNS = 0x20000


@pytest.fixture
def bound(tmp_path: Path) -> Iterator[Path]:
    """Where a test may mount; everything there and below is unmounted at the end."""
    path = tmp_path / "bound"
    path.mkdir()
    yield path
    for each in sorted(mount_table.list_below(tmp_path), reverse=True):
        if each == path or path in each.parents or each.name.startswith("elsewhere"):
            subprocess.run(["umount", "--lazy", each], check=True)


def targets(mounts: tuple[Mount, ...]) -> list[Path]:
    return sorted(each.target for each in mounts)


def test_a_mounted_filesystem_is_told_with_its_options(
    table: MountTable, fs: FsType, attach: Attach
) -> None:
    volume = attach(fs, mounted=False)
    volume.target.mkdir()
    words = ["noatime", "nodev", "nosuid", "discard", "lazytime"]
    mount.mount(volume.status.path, volume.target, fs, words, read_only=True)
    [layer] = table.at(volume.target)
    assert layer == table.topmost_at(volume.target)
    assert (layer.fs_type, layer.root, layer.target) == (fs, "/", volume.target)
    assert Path(layer.source) == volume.status.path
    assert device_number(layer) == volume.status.number
    assert layer.options == {"ro", "noatime", "nodev", "nosuid"}
    assert {"ro", "discard", "lazytime"} <= layer.super_options
    listed = table.list_once()
    assert listed(volume.status.number) == table.device_mounts(volume.status.number)
    assert listed(1) == ()
    assert [device_number(each) for each in table.device_mounts(volume.status.number)] == [
        volume.status.number
    ]


@needs_statmount
def test_both_tell_the_same_of_each_filesystem(volume: Volume, bound: Path) -> None:
    mount.bind(volume.target, bound, read_only=True)
    for path in (volume.target, bound):
        one, other = MountinfoTable().topmost_at(path), StatmountTable().topmost_at(path)
        assert one
        assert other
        for name in ("target", "root", "device", "fs_type", "source", "options", "super_options"):
            assert getattr(one, name) == getattr(other, name)


def test_layers_come_from_the_lowest_to_the_topmost(
    table: MountTable, volume: Volume, attach: Attach
) -> None:
    upper = attach(FsType.EXT4, mounted=False)
    mount.mount(upper.status.path, volume.target, FsType.EXT4, [], read_only=False)
    try:
        layers = table.at(volume.target)
        numbers = [device_number(layer) for layer in layers]
        assert numbers == [volume.status.number, upper.status.number]
        assert table.topmost_at(volume.target) == layers[-1]
        assert targets(table.device_mounts(volume.status.number)) == [volume.target]
    finally:
        mount.unmount(volume.target)


def test_what_another_mount_hides_is_not_at_its_place(
    table: MountTable, volume: Volume, bound: Path
) -> None:
    inner = bound / "inner"
    inner.mkdir()
    mount.bind(volume.target, inner, read_only=False)
    mount.bind(volume.target, bound, read_only=False)
    assert table.at(inner) == ()
    assert [each for each in table.mounts() if each.target == inner]
    assert inner in targets(table.device_mounts(volume.status.number))
    mount.unmount(bound)
    assert len(table.at(inner)) == 1


@pytest.mark.parametrize(
    "name", ["with space", "back\\slash", "\\040", "hash#", "tab\tnew\nline", "ü\u2028", "\udcff"]
)
def test_any_name_is_found(table: MountTable, attach: Attach, bound: Path, name: str) -> None:
    volume, path = attach(FsType.EXT4), bound / name
    path.mkdir()
    (volume.target / name).mkdir()
    mount.bind(volume.target / name, path, read_only=True)
    [layer] = table.at(path)
    assert (layer.target, layer.root) == (path, f"/{name}")
    assert path in targets(table.mounts())
    mount.unmount(path)
    assert table.at(path) == ()
    assert path not in targets(table.device_mounts(volume.status.number))


def test_links_among_the_parents_are_followed_the_last_component_is_not(
    table: MountTable, volume: Volume, tmp_path: Path
) -> None:
    (tmp_path / "link").symlink_to(tmp_path)
    (tmp_path / "last").symlink_to(volume.target)
    assert len(table.at(tmp_path / "link" / volume.target.name)) == 1
    assert table.at(tmp_path / "last") == ()


def test_a_path_of_any_length_is_told(table: MountTable, volume: Volume, bound: Path) -> None:
    """Longer than the buffer of a first try, and than PATH_MAX: made from its inner end."""
    subprocess.run(["mount", "-t", "tmpfs", "none", bound], check=True)
    folder = os.open(bound, os.O_RDONLY)
    try:
        for _ in range(20):
            os.mkdir("d" * 250, dir_fd=folder)
            inner = os.open("d" * 250, os.O_RDONLY, dir_fd=folder)
            os.close(folder)
            folder = inner
        mount.bind(volume.target, Path(f"/proc/self/fd/{folder}"), read_only=False)
        [deep] = [
            one for one in table.device_mounts(volume.status.number) if bound in one.target.parents
        ]
        assert len(os.fspath(deep.target)) > 5000
        assert deep in table.mounts()
    finally:
        os.close(folder)
    subprocess.run(["umount", "--lazy", bound], check=True)
    assert targets(table.device_mounts(volume.status.number)) == [volume.target]


def test_a_part_of_a_filesystem_is_told_by_its_root(
    table: MountTable, volume: Volume, bound: Path
) -> None:
    folder = volume.target / "folder"
    folder.mkdir()
    mount.bind(folder, bound, read_only=False)
    [layer] = table.at(bound)
    assert layer.root == "/folder"
    assert device_number(layer) == volume.status.number
    folder.rmdir()
    [layer] = table.at(bound)
    assert layer.root == "/folder//deleted"


def test_a_moved_mount_is_where_it_is_now(table: MountTable, volume: Volume, bound: Path) -> None:
    for name in ("one", "other"):
        (bound / name).mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "none", bound], check=True)
    subprocess.run(["mount", "--make-private", bound], check=True)
    for name in ("one", "other"):
        (bound / name).mkdir()
    mount.bind(volume.target, bound / "one", read_only=False)
    assert bound / "one" in targets(table.device_mounts(volume.status.number))
    subprocess.run(["mount", "--move", bound / "one", bound / "other"], check=True)
    (bound / "other").parent.joinpath("one").rmdir()
    assert targets(table.device_mounts(volume.status.number)) == sorted(
        [volume.target, bound / "other"]
    )
    assert table.at(bound / "one") == ()
    assert len(table.at(bound / "other")) == 1


def test_what_was_unmounted_lazily_is_nowhere(
    table: MountTable, volume: Volume, bound: Path
) -> None:
    mount.bind(volume.target, bound, read_only=False)
    assert len(table.device_mounts(volume.status.number)) == 2
    fd = os.open(bound, os.O_RDONLY)
    try:
        assert table.find_by_descriptor(fd) == table.topmost_at(bound)
        subprocess.run(["umount", "--lazy", bound], check=True)
        assert table.find_by_descriptor(fd) is None
        assert table.at(bound) == ()
        assert targets(table.device_mounts(volume.status.number)) == [volume.target]
    finally:
        os.close(fd)


def test_a_detached_mount_is_nowhere_until_it_is_moved_in(
    table: MountTable, volume: Volume, bound: Path
) -> None:
    """Its id is older than that of a mount that was made and seen in between."""
    root = fsopen.mount_detached("tmpfs")
    tree = fsopen._call(fsopen._NR_OPEN_TREE, -100, volume.target, 1)
    try:
        assert table.find_by_descriptor(root) is None
        assert table.find_by_descriptor(tree) is None
        between = bound.parent / "elsewhere-between"
        between.mkdir()
        mount.bind(volume.target, between, read_only=False)
        assert targets(table.device_mounts(volume.status.number)) == sorted(
            [volume.target, between]
        )
        fsopen._call(fsopen._NR_MOVE_MOUNT, tree, "", -100, bound, 4)
        assert targets(table.device_mounts(volume.status.number)) == sorted(
            [volume.target, between, bound]
        )
        mount.unmount(between)
    finally:
        os.close(tree)
        os.close(root)


def test_a_bound_node_is_told_by_the_number_of_its_device(
    table: MountTable, fs: FsType, attach: Attach, bound: Path
) -> None:
    volume = attach(fs, mounted=False)
    target = bound / "node"
    target.touch()
    assert volume.status.number not in table.node_numbers()
    mount.bind(volume.status.path, target, read_only=False)
    [shown] = table.device_mounts(volume.status.number)
    assert shown.target == target
    assert (volume.status.number, shown) in table.node_mounts()
    assert volume.status.number in table.node_numbers()
    mount.unmount(target)
    assert table.device_mounts(volume.status.number) == ()
    assert volume.status.number not in table.node_numbers()
    assert volume.status.number not in {number for number, _ in table.node_mounts()}


def test_a_node_on_a_tmpfs_is_told_also_when_another_mount_hides_it(
    table: MountTable, attach: Attach, bound: Path
) -> None:
    """As the /dev of a container; the mount on top must not answer for it."""
    volume, other = attach(FsType.EXT4, mounted=False), attach(FsType.EXT4)
    subprocess.run(["mount", "-t", "tmpfs", "none", bound], check=True)
    node, target = bound / "node", bound / "target"
    os.mknod(node, stat.S_IFBLK | 0o600, volume.status.number)
    target.touch()
    (other.target / "file").touch()
    mount.bind(node, target, read_only=False)
    mount.bind(other.target / "file", target, read_only=False)
    assert target in targets(table.device_mounts(other.status.number))
    table.node_numbers()
    mount.unmount(target)
    assert volume.status.number in table.node_numbers()
    assert target in targets(table.device_mounts(volume.status.number))
    mount.unmount(target)


def test_a_file_on_a_tmpfs_is_no_node(table: MountTable, bound: Path) -> None:
    subprocess.run(["mount", "-t", "tmpfs", "none", bound], check=True)
    (bound / "file").touch()
    (bound / "target").touch()
    mount.bind(bound / "file", bound / "target", read_only=False)
    assert bound / "target" not in {each.target for _, each in table.node_mounts()}
    [layer] = table.at(bound / "target")
    assert (layer.root, node_number(layer), device_number(layer)) == ("/file", 0, 0)
    mount.unmount(bound / "target")


def test_what_cannot_be_reached_from_the_root_is_not_told(
    table: MountTable, volume: Volume, bound: Path
) -> None:
    """As in a container, whose root is a mount below that of its machine."""
    mount.bind(volume.target, bound, read_only=False)
    found = dict[str, object]()

    def look() -> None:
        libc = ctypes.CDLL(None)
        libc.unshare(CLONE_NEWNS)  # with a root of this thread's own
        libc.mount(None, b"/", None, 1 << 18 | 1 << 14, None)  # MS_PRIVATE, MS_REC
        (bound / "proc").mkdir()
        libc.mount(b"/proc", os.fsencode(bound / "proc"), b"", 1 << 12, None)  # MS_BIND
        os.chroot(bound)
        found["root"] = table.topmost_at(Path("/"))
        found["targets"] = targets(table.mounts())

    thread = threading.Thread(target=look)
    thread.start()
    thread.join()
    assert found["targets"] == [Path("/"), Path("/proc")]
    root = found["root"]
    assert isinstance(root, Mount)
    assert root.fs_type == volume.fs


def test_another_namespace_has_mounts_of_its_own(
    table: MountTable, volume: Volume, bound: Path
) -> None:
    found = list[list[Path]]()

    def look() -> None:
        libc = ctypes.CDLL(None)
        libc.unshare(CLONE_NEWNS)
        libc.mount(None, b"/", None, 1 << 18 | 1 << 14, None)  # MS_PRIVATE, MS_REC
        mount.bind(volume.target, bound, read_only=False)
        found.append(targets(table.device_mounts(volume.status.number)))

    thread = threading.Thread(target=look)
    thread.start()
    thread.join()
    assert found == [sorted([volume.target, bound])]
    assert targets(table.device_mounts(volume.status.number)) == [volume.target]


@pytest.mark.parametrize("recent", [0, 3, 256])
def test_many_mounts_that_come_and_go_are_searched_in_no_time(
    table: MountTable,
    attach: Attach,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    recent: int,
) -> None:
    monkeypatch.setattr(statmount_table, "_RECENT", recent)
    monkeypatch.setattr(statmount_table, "_GONE", recent)
    volume, number = attach(FsType.EXT4), 0
    shown = [volume.target]
    try:
        for turn in range(12):
            for _ in range(10):
                shown.append(tmp_path / f"place-{number}")
                shown[-1].mkdir()
                mount.bind(volume.target, shown[-1], read_only=False)
                number += 1
            assert all(len(table.at(path)) == 1 for path in shown)
            assert targets(table.device_mounts(volume.status.number)) == sorted(shown)
            for index in (1, len(shown) // 2, -1 - turn % 2):
                mount.unmount(shown.pop(index))
            assert targets(table.device_mounts(volume.status.number)) == sorted(shown)
    finally:
        for path in shown[1:]:
            mount.unmount(path)
    assert targets(table.device_mounts(volume.status.number)) == [volume.target]
