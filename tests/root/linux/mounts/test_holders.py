"""Who keeps a volume busy, with real devices and mount namespaces."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from driver.linux import files
from driver.linux.devices import loop, loop_attach
from driver.linux.mounts.holders import holders
from driver.linux.mounts.table.mount_entry import device_number
from driver.linux.mounts.table.mount_table import mounts

MIB = 1 << 20


@pytest.fixture
def device(pool_dir: Path) -> Path:
    """Of the pool, which stands for a volume here: mounted, and nobody uses it."""
    return next(Path(one.source) for one in mounts() if one.target == pool_dir)


@pytest.fixture
def raw(tmp_path: Path) -> Iterator[loop.Status]:
    files.create(tmp_path / "disk.img", MIB, nocow=False, extent_hint=0)
    status = loop_attach.attach(
        tmp_path / "disk.img", label="", block_size=512, read_only=False, discards=True
    )
    yield status
    loop.detach(status, bound=5)


def number_of(path: Path) -> int:
    return path.stat().st_rdev


def test_a_mount_that_nobody_uses_has_no_holders(device: Path, pool_dir: Path) -> None:
    assert holders(device, number_of(device)) == ()
    assert holders(pool_dir, number_of(device)) == ()


def test_a_file_that_is_open_on_it(device: Path, pool_dir: Path) -> None:
    (pool_dir / "file").write_bytes(b"x")
    with subprocess.Popen(["tail", "-f", pool_dir / "file"], stdout=subprocess.PIPE) as child:
        assert child.stdout and child.stdout.read(1) == b"x"
        assert holders(device, number_of(device)) == (f"tail (pid {child.pid})",)
        assert holders(pool_dir, 0) == (f"tail (pid {child.pid})",)
        child.kill()


def test_who_still_has_it_mounted_elsewhere(tmp_path: Path, pool_dir: Path, device: Path) -> None:
    """The mount is gone from here, and the device stays busy: a pod that was given a copy of it."""
    script = f"mount --make-private {pool_dir}; echo ready; exec sleep 60"
    with subprocess.Popen(
        ["unshare", "--mount", "--propagation", "slave", "sh", "-c", script],
        stdout=subprocess.PIPE,
    ) as child:
        assert child.stdout and child.stdout.readline() == b"ready\n"
        subprocess.run(["umount", pool_dir], check=True)
        try:
            [found] = holders(device, number_of(device))
            assert f"(pid {child.pid}), which has it mounted at {pool_dir}" in found
        finally:
            child.kill()
            child.wait()
            subprocess.run(["mount", device, pool_dir], check=True)


def test_a_raw_device_that_is_open(raw: loop.Status) -> None:
    with raw.path.open("rb") as node, subprocess.Popen(["sleep", "60"], stdin=node) as child:
        assert f"sleep (pid {child.pid})" in holders(raw.path, raw.number)
        child.kill()


def test_a_raw_device_under_another_name(raw: loop.Status, tmp_path: Path) -> None:
    """A pod has the device node at a path of its own."""
    (tmp_path / "node").touch()
    subprocess.run(["mount", "--bind", raw.path, tmp_path / "node"], check=True)
    try:
        with (tmp_path / "node").open("rb") as node:
            child = subprocess.Popen(["sleep", "60"], stdin=node)
        assert holders(raw.path, raw.number) == (f"sleep (pid {child.pid})",)
        child.kill()
        child.wait()
    finally:
        subprocess.run(["umount", tmp_path / "node"], check=True)


def test_a_device_on_top_of_it(raw: loop.Status) -> None:
    above = loop_attach.attach(raw.path, label="", block_size=512, read_only=False, discards=True)
    try:
        assert holders(raw.path, raw.number) == (f"{above.path.name} (on top of it)",)
    finally:
        loop.detach(above, bound=5)


def test_what_mountinfo_says_is_the_device(device: Path, pool_dir: Path) -> None:
    """What the search relies on, on btrfs too."""
    [mounted] = [one for one in mounts() if one.target == pool_dir]
    assert device_number(mounted) == number_of(device)
