"""A pool that is not there is not a pool (promise 5)."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from driver.backends.poolroot import MARKER, PoolRoot, write_marker
from driver.core.errors import PoolAway

pytestmark = pytest.mark.root
OWNER = "cellar.test"


def nothing(_: Path) -> None:
    pass


def a_root(where: Path, *, init: bool = False) -> PoolRoot:
    return PoolRoot(where, OWNER, init=init, adopted=nothing)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A filesystem of its own, empty; unmounted lazily so that a failed test leaves nothing."""
    where = tmp_path / "disk"
    where.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16m", "none", where], check=True)
    yield where
    while subprocess.run(["umount", "-l", where], check=False, capture_output=True).returncode == 0:
        pass


def test_an_empty_directory_is_not_a_pool(tmp_path: Path) -> None:
    root = a_root(tmp_path)
    with pytest.raises(PoolAway, match="pools init"), root.open():
        pass
    assert list(tmp_path.iterdir()) == []


def test_an_empty_disk_becomes_a_pool_by_itself(disk: Path) -> None:
    root = a_root(disk)
    assert json.loads((disk / MARKER).read_text() if root.id else "")["id"] == root.id
    root.close()


def test_a_disk_with_something_on_it_does_not(disk: Path) -> None:
    (disk / "photos").mkdir()
    with pytest.raises(PoolAway), a_root(disk).open():
        pass
    assert [one.name for one in disk.iterdir()] == ["photos"]


def test_a_bind_mount_of_a_folder_does_not_pass_for_a_disk(disk: Path, tmp_path: Path) -> None:
    (disk / "folder").mkdir()
    seen = tmp_path / "seen"
    seen.mkdir()
    subprocess.run(["mount", "--bind", disk / "folder", seen], check=True)
    try:
        with pytest.raises(PoolAway), a_root(seen).open():
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
    pool_id = write_marker(tmp_path, OWNER)
    with pytest.raises(FileExistsError):
        write_marker(tmp_path, "somebody.else")
    assert json.loads((tmp_path / MARKER).read_text())["id"] == pool_id
    assert [one.name for one in tmp_path.iterdir()] == [MARKER]


def test_a_second_opener_is_refused_until_the_first_leaves(tmp_path: Path) -> None:
    first, second = a_root(tmp_path, init=True), a_root(tmp_path)
    pool_id = first.id
    with pytest.raises(PoolAway, match="another process"):
        _ = second.id
    first.close()
    assert second.id == pool_id
    second.close()


def test_the_pool_of_another_owner_is_refused(tmp_path: Path) -> None:
    write_marker(tmp_path, "somebody.else")
    with pytest.raises(PoolAway, match=r"somebody\.else"):
        _ = a_root(tmp_path).id


@pytest.mark.parametrize(
    "text", ["", "{}", "[]", "null", '{"schema": 99, "id": "x", "owner": "y"}']
)
def test_a_damaged_or_newer_marker_is_refused_and_kept(tmp_path: Path, text: str) -> None:
    (tmp_path / MARKER).write_text(text)
    with pytest.raises(PoolAway):
        _ = a_root(tmp_path, init=True).id
    assert (tmp_path / MARKER).read_text() == text


def test_a_pool_that_was_unmounted_is_gone_and_holds_nothing(disk: Path) -> None:
    root = a_root(disk)
    _ = root.id
    subprocess.run(["umount", "-l", disk], check=True)
    with pytest.raises(PoolAway), root.open():
        pass
    assert list(disk.iterdir()) == []
    held = [
        os.readlink(f"/proc/self/fd/{fd}") for fd in os.listdir("/proc/self/fd") if _is_open(fd)
    ]
    assert not [one for one in held if MARKER in one]


def _is_open(fd: str) -> bool:
    return os.path.lexists(f"/proc/self/fd/{fd}")


def test_a_pool_mounted_over_is_seen_at_the_next_operation(disk: Path) -> None:
    root = a_root(disk)
    first = root.id
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16m", "none", disk], check=True)
    assert root.id != first
    subprocess.run(["umount", disk], check=False)
    root.close()


def test_an_operation_stays_on_its_filesystem_whatever_is_mounted_meanwhile(disk: Path) -> None:
    root = a_root(disk)
    with root.open() as path:
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16m", "none", disk], check=True)
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
        with pytest.raises(PoolAway, match="synced"), root.open():
            pass
    assert len(calls) == 2
    with root.open():
        pass
    root.close()
