"""What a pool's filesystem must be to grow; that it does is tested in tests/promises."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from driver.core.devices import MountPoint
from driver.core.errors import Refused
from driver.core.model import FsType
from driver.linux.disks import pool_growth
from driver.linux.formats import filesystem
from driver.linux.mounts import mount_points


class FakeFreezer:
    """A freezer that notes what was frozen."""

    frozen_targets: list[Path]

    def __init__(self) -> None:
        FakeFreezer.frozen_targets = []

    def close(self) -> None:
        pass

    @contextmanager
    def frozen(self, targets: Sequence[Path], bound: float) -> Iterator[None]:
        assert bound > 0
        self.frozen_targets.extend(targets)
        yield


def mounted(monkeypatch: pytest.MonkeyPatch, path: Path, fs_type: str) -> None:
    found = MountPoint(
        target=path,
        number=path.stat().st_dev,
        node=False,
        root="/",
        read_only=False,
        options=frozenset(),
        fs_type=fs_type,
    )
    monkeypatch.setattr(mount_points, "mounted_at", lambda _: found)
    monkeypatch.setattr(mount_points, "device_path", lambda _: Path("/dev/sdx"))


def test_a_directory_does_not_grow(tmp_path: Path) -> None:
    with pytest.raises(Refused, match="not the root of a filesystem"):
        pool_growth.grow_filesystem(tmp_path)


def test_a_filesystem_that_we_do_not_know_is_left_to_its_tools(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mounted(monkeypatch, tmp_path, "zfs")
    with pytest.raises(Refused, match="only its own tools"):
        pool_growth.grow_filesystem(tmp_path)


@pytest.mark.parametrize("grew", [True, False])
def test_what_grew_is_written_out_by_a_freeze(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, grew: bool
) -> None:
    mounted(monkeypatch, tmp_path, "xfs")
    monkeypatch.setattr(pool_growth, "Freezer", FakeFreezer)
    FakeFreezer.frozen_targets = []

    def grow(device: Path, target: Path, fs: FsType) -> bool:
        assert (device, target, fs) == (Path("/dev/sdx"), tmp_path, FsType.XFS)
        return grew

    monkeypatch.setattr(filesystem, "grow", grow)
    before, after = pool_growth.grow_filesystem(tmp_path)
    assert before == after > 0
    assert FakeFreezer.frozen_targets == ([tmp_path] if grew else [])
