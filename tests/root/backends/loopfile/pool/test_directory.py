"""A pool that is not there is not a pool (promise 5)."""

from __future__ import annotations

import errno
import os
import subprocess
from pathlib import Path

import pytest

from driver.backends.loopfile.pool.creation import MARKER
from driver.backends.loopfile.pool.directory import PoolDirectory
from driver.core.errors import Exhausted, PoolFailed, PoolUnavailable
from tests.root.backends.loopfile.pool.conftest import (
    OWNER,
    a_root,
    mount_another,
)
from tests.root.conftest import MakePool
from tests.support.open_files import open_files

pytestmark = pytest.mark.root


def test_the_id_stays_when_the_pool_is_opened_again(tmp_path: Path) -> None:
    first = a_root(tmp_path, init=True)
    pool_id = first.id
    first.close()
    second = a_root(tmp_path)
    assert second.id == pool_id
    second.close()


def test_a_pool_that_was_unmounted_is_gone_and_holds_nothing(disk: Path) -> None:
    root = a_root(disk)
    _ = root.id
    subprocess.run(["umount", "-l", disk], check=True)
    with pytest.raises(PoolUnavailable), root.open():
        pass
    assert list(disk.iterdir()) == []
    assert open_files(MARKER) == []


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
        with pytest.raises(PoolUnavailable, match="still run on that"):
            _ = root.id
    assert root.id != first
    root.close()
