"""A pool that is not there is not a pool (promise 5)."""

from __future__ import annotations

import errno
import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from driver.backends.loopfile.pool import marker
from driver.backends.loopfile.pool.creation import MARKER
from driver.backends.loopfile.pool.directory import PoolDirectory
from driver.core.errors import Exhausted, PoolFailed, PoolUnavailable
from driver.core.ports.memory_records import MemoryRecords
from driver.core.ports.records import Records
from tests.root.conftest import MIB, MakePool

pytestmark = pytest.mark.root
OWNER = "cellar.test"


def nothing(_: Path) -> None:
    pass


def a_root(where: Path, *, init: bool = False, known: Records | None = None) -> PoolDirectory:
    return PoolDirectory(where, OWNER, init=init, adopted=nothing, known=known)


@pytest.fixture
def disk(make_pool: MakePool) -> Iterator[Path]:
    """A filesystem of its own, empty; whatever was mounted over it goes with the test."""
    where = make_pool("ext4", size=64 * MIB)
    yield where
    while not _is_lowest(where):
        subprocess.run(["umount", "-l", where], check=True)
    if not where.is_mount():
        subprocess.run(["mount", "-t", "tmpfs", "none", where], check=True)  # the end unmounts it


def _is_lowest(where: Path) -> bool:
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    return [line.split()[4] for line in lines].count(os.fspath(where)) < 2


def mount_another(make_pool: MakePool, where: Path) -> None:
    """Another empty disk over the one at `where`."""
    other = make_pool("ext4", size=64 * MIB)
    subprocess.run(["mount", "--bind", other, where], check=True)


def test_an_empty_directory_is_not_a_pool(tmp_path: Path) -> None:
    root = a_root(tmp_path)
    with pytest.raises(PoolUnavailable, match="pools init"), root.open():
        pass
    assert list(tmp_path.iterdir()) == []


def test_an_empty_disk_becomes_a_pool_by_itself(disk: Path) -> None:
    root = a_root(disk)
    assert json.loads((disk / MARKER).read_text() if root.id else "")["id"] == root.id
    root.close()


def test_a_disk_with_something_on_it_does_not(disk: Path) -> None:
    (disk / "photos").mkdir()
    with pytest.raises(PoolUnavailable), a_root(disk).open():
        pass
    assert {one.name for one in disk.iterdir()} == {"lost+found", "photos"}


def test_a_bind_mount_of_a_folder_does_not_pass_for_a_disk(disk: Path, tmp_path: Path) -> None:
    (disk / "folder").mkdir()
    seen = tmp_path / "seen"
    seen.mkdir()
    subprocess.run(["mount", "--bind", disk / "folder", seen], check=True)
    try:
        with pytest.raises(PoolUnavailable), a_root(seen).open():
            pass
        assert list(seen.iterdir()) == []
    finally:
        subprocess.run(["umount", seen], check=True)


def test_init_makes_a_pool_of_any_directory(tmp_path: Path) -> None:
    root = a_root(tmp_path, init=True)
    assert len(root.id) == 12
    root.close()


def test_the_id_stays_when_the_pool_is_opened_again(tmp_path: Path) -> None:
    first = a_root(tmp_path, init=True)
    pool_id = first.id
    first.close()
    second = a_root(tmp_path)
    assert second.id == pool_id
    second.close()


def test_a_marker_is_never_overwritten(tmp_path: Path) -> None:
    pool_id = marker.write(tmp_path, OWNER)
    with pytest.raises(FileExistsError):
        marker.write(tmp_path, "somebody.else")
    assert json.loads((tmp_path / MARKER).read_text())["id"] == pool_id
    assert [one.name for one in tmp_path.iterdir()] == [MARKER]


def test_a_second_opener_is_refused_until_the_first_leaves(tmp_path: Path) -> None:
    first, second = a_root(tmp_path, init=True), a_root(tmp_path)
    pool_id = first.id
    with pytest.raises(PoolUnavailable, match="another process"):
        _ = second.id
    first.close()
    assert second.id == pool_id
    second.close()


def test_the_pool_of_another_owner_is_refused(tmp_path: Path) -> None:
    marker.write(tmp_path, "somebody.else")
    with pytest.raises(PoolUnavailable, match=r"somebody\.else"):
        _ = a_root(tmp_path).id


@pytest.mark.parametrize(
    "text", ["", "{}", "[]", "null", '{"schema": 99, "id": "x", "owner": "y"}']
)
def test_a_damaged_or_newer_marker_is_refused_and_kept(tmp_path: Path, text: str) -> None:
    (tmp_path / MARKER).write_text(text)
    with pytest.raises(PoolUnavailable):
        _ = a_root(tmp_path, init=True).id
    assert (tmp_path / MARKER).read_text() == text


def test_a_pool_that_was_unmounted_is_gone_and_holds_nothing(disk: Path) -> None:
    root = a_root(disk)
    _ = root.id
    subprocess.run(["umount", "-l", disk], check=True)
    with pytest.raises(PoolUnavailable), root.open():
        pass
    assert list(disk.iterdir()) == []
    held = [
        os.readlink(f"/proc/self/fd/{fd}") for fd in os.listdir("/proc/self/fd") if _is_open(fd)
    ]
    assert not [one for one in held if MARKER in one]


def _is_open(fd: str) -> bool:
    return os.path.lexists(f"/proc/self/fd/{fd}")


def test_a_pool_mounted_over_is_seen_at_the_next_operation(disk: Path, make_pool: MakePool) -> None:
    root = a_root(disk)
    first = root.id
    mount_another(make_pool, disk)
    assert root.id != first
    root.close()
    subprocess.run(["umount", disk], check=True)


def test_an_operation_stays_on_its_filesystem_whatever_is_mounted_meanwhile(
    disk: Path, make_pool: MakePool
) -> None:
    root = a_root(disk)
    with root.open() as path:
        mount_another(make_pool, disk)
        (path / "made").touch()
    assert not (disk / "made").exists()
    subprocess.run(["umount", disk], check=True)
    assert (disk / "made").exists()
    root.close()


def test_after_a_failed_sync_the_pool_refuses_until_it_was_repeated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = a_root(tmp_path, init=True)
    _ = root.id
    calls: list[Path] = []

    def fails(path: Path) -> None:
        calls.append(path)
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as broken:
        broken.setattr("driver.linux.files.sync_directory", fails)
        with root.open() as path, pytest.raises(OSError, match="Input"):
            root.sync(path)
        with pytest.raises(PoolUnavailable, match="synced"), root.open():
            pass
    assert len(calls) == 2
    with root.open():
        pass
    root.close()


@pytest.mark.parametrize("fs", ["tmpfs", "ramfs", "overlay"])
def test_no_pool_is_born_by_itself_where_nobody_expects_one(tmp_path: Path, fs: str) -> None:
    where = tmp_path / "disk"
    where.mkdir()
    folders = {name: tmp_path / name for name in ("lower", "upper", "work")}
    for folder in folders.values():
        folder.mkdir()
    below = "lowerdir={lower},upperdir={upper},workdir={work}".format(**folders)
    how = ["-o", below] if fs == "overlay" else []
    subprocess.run(["mount", "-t", fs, *how, "none", where], check=True)
    try:
        with pytest.raises(PoolUnavailable, match="init=true"):
            _ = a_root(where).id
        assert list(where.iterdir()) == []
        known = MemoryRecords()
        known.write(os.fspath(where), {"pool": "0" * 12, "filesystem": "of before the reboot"})
        wanted = a_root(where, init=True, known=known)
        assert wanted.id
        wanted.close()
    finally:
        subprocess.run(["umount", where], check=True)


def test_a_marker_is_born_only_in_what_was_opened(
    disk: Path, make_pool: MakePool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The directory below is opened, and then its disk is mounted: it must not answer for it."""
    subprocess.run(["umount", "-l", disk], check=True)
    other, root, really = make_pool("ext4", size=64 * MIB), a_root(disk), os.listdir

    def mounted_meanwhile(path: object = ".") -> list[str]:
        found = really(path)  # type: ignore[call-overload]
        subprocess.run(["mount", "--bind", other, disk], check=True)
        return list(found)

    with monkeypatch.context() as slow:
        slow.setattr(os, "listdir", mounted_meanwhile)
        with pytest.raises(PoolUnavailable):
            _ = root.id
    subprocess.run(["umount", disk], check=True)
    assert really(disk) == []


def test_init_makes_no_new_pool_while_the_disk_of_the_known_one_is_missing(
    disk: Path,
) -> None:
    known = MemoryRecords()
    first = a_root(disk, init=True, known=known)
    pool_id = first.id
    first.close()
    subprocess.run(["umount", disk], check=True)
    with pytest.raises(PoolUnavailable, match=pool_id):
        _ = a_root(disk, init=True, known=known).id
    assert list(disk.iterdir()) == []


def test_init_makes_a_pool_anew_where_the_administrator_emptied_it(tmp_path: Path) -> None:
    known = MemoryRecords()
    first = a_root(tmp_path, init=True, known=known)
    pool_id = first.id
    (tmp_path / MARKER).unlink()
    with pytest.raises(PoolUnavailable, match="while the driver runs"):
        _ = first.id
    assert list(tmp_path.iterdir()) == []
    first.close()
    second = a_root(tmp_path, init=True, known=known)
    assert second.id != pool_id
    second.close()


def test_init_makes_a_pool_of_a_new_empty_disk_in_the_place_of_a_known_one(
    disk: Path, make_pool: MakePool
) -> None:
    known = MemoryRecords()
    first = a_root(disk, init=True, known=known)
    pool_id = first.id
    first.close()
    mount_another(make_pool, disk)
    second = a_root(disk, init=True, known=known)
    assert second.id != pool_id
    second.close()


def test_no_marker_is_born_over_volumes(tmp_path: Path) -> None:
    (tmp_path / f"{'0' * 12}-{'0' * 32}").mkdir()
    with pytest.raises(PoolUnavailable, match="has volumes"):
        _ = a_root(tmp_path, init=True).id


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (errno.EMFILE, Exhausted),
        (errno.ENFILE, Exhausted),
        (errno.ENOMEM, Exhausted),
        (errno.EIO, PoolFailed),
    ],
)
def test_an_open_that_fails_drops_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int, kind: type[Exception]
) -> None:
    events: list[str] = []
    root = PoolDirectory(
        tmp_path,
        OWNER,
        init=True,
        adopted=lambda _: events.append("adopted"),
        dropped=lambda: events.append("dropped"),
    )
    pool_id = root.id

    def fails(*_: object, **__: object) -> int:
        raise OSError(code, os.strerror(code))

    with monkeypatch.context() as broken:
        broken.setattr(os, "open", fails)
        with pytest.raises(kind), root.open():
            pass
    assert (root.id, events) == (pool_id, ["adopted"])
    root.close()


def test_a_pool_is_not_let_go_of_while_a_call_is_at_work_in_it(disk: Path) -> None:
    """Another process would sweep what it makes."""
    events: list[str] = []
    root = PoolDirectory(
        disk,
        OWNER,
        init=False,
        adopted=lambda _: events.append("adopted"),
        dropped=lambda: events.append("dropped"),
    )
    [device] = {
        line.split(" - ")[1].split()[1]
        for line in Path("/proc/self/mountinfo").read_text().splitlines()
        if line.split()[4] == os.fspath(disk)
    }
    with root.open():
        subprocess.run(["umount", "-l", disk], check=True)
        with pytest.raises(PoolUnavailable):
            _ = root.id
        subprocess.run(["mount", device, disk], check=True)
        with pytest.raises(PoolUnavailable, match="another process"):
            _ = a_root(disk).id
        assert root.id
        subprocess.run(["umount", "-l", disk], check=True)
        with pytest.raises(PoolUnavailable):
            _ = root.id
        assert events == ["adopted"]
    assert events == ["adopted", "dropped"]
    subprocess.run(["mount", device, disk], check=True)
    second = a_root(disk)
    assert second.id
    second.close()


def test_another_filesystem_is_not_adopted_while_a_call_is_at_work_in_the_first(
    disk: Path, make_pool: MakePool
) -> None:
    root = a_root(disk)
    first = root.id
    with root.open():
        mount_another(make_pool, disk)
        with pytest.raises(PoolUnavailable, match="still at work"):
            _ = root.id
    assert root.id != first
    root.close()
