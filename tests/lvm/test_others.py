"""Who else works with volume groups: guests, administrators, and disks that go away."""

from __future__ import annotations

import subprocess
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from driver.backends.lvm import Lvm
from driver.backends.lvmkind import Options
from driver.core.errors import NoSpace, PoolAway
from driver.core.model import MIB
from driver.linux.lvm import CONFIG
from tests.lvm.conftest import GIB, THIN_POOL, MakeGroup, lvm, said, volumes
from tests.lvm.pools import made, opened, write


def on(disk: Path | str, verb: str, *words: str) -> str:
    """A command that sees one disk only."""
    return said("lvm", verb, "--config", CONFIG, "--devices", str(disk), "--yes", *words)


def a_twin(disk: str) -> None:
    """Another group called `cellar`, as another machine would make it: there /dev is empty."""
    folder, aside = Path("/dev/cellar"), Path("/dev/aside")
    if there := folder.exists():
        folder.rename(aside)
    on(disk, "vgcreate", "cellar", disk)
    if there:
        aside.rename(folder)


def a_disk(where: Path, size: int = GIB) -> str:
    with where.open("wb") as file:
        file.truncate(size)
    return said("losetup", "--find", "--show", str(where))


def test_a_group_of_the_same_name_inside_a_volume_changes_nothing(make_group: MakeGroup) -> None:
    where = make_group("cellar", size=2 * GIB)
    with opened(where) as pool:
        before = pool.id
        volume = made(pool, "guest", size=256 * MIB)
        device = pool.attach(volume, read_only=False)
        inside = said("losetup", "--find", "--show", str(device.path))  # as kubelet does it
        a_twin(inside)
        on(inside, "lvcreate", "--size", "16m", "--activate", "n", "--name", "theirs", "cellar")
    try:
        with opened(where) as pool:
            assert pool.id == before
            assert [image.name for image in pool.images()] == ["guest"]
            made(pool, "another")
        assert "theirs" not in said("dmsetup", "ls")
        assert on(inside, "lvs", "--noheadings", "-o", "lv_name").split() == ["theirs"]
    finally:
        said("losetup", "--detach", inside)
    with opened(where) as pool:
        pool.detach(volume.id)
        assert pool.id == before


def refused(where: str) -> str:
    with opened(where) as pool:
        with pytest.raises(PoolAway) as caught:
            list(pool.images())
        return str(caught.value)


def test_a_group_that_is_missing_exported_or_doubled_is_no_pool(
    make_group: MakeGroup, tmp_path: Path
) -> None:
    assert "no volume group nowhere" in refused("nowhere")
    where = make_group("cellar", size=GIB)
    assert "no thin pool" in refused(f"{where}/{THIN_POOL}")
    lvm("vgexport", where)
    assert "exported" in refused(where)
    lvm("vgimport", where)
    twin = a_disk(tmp_path / "twin")
    a_twin(twin)
    try:
        assert "2 volume groups" in refused(where)
    finally:
        on(twin, "vgremove", "cellar")
        said("losetup", "--detach", twin)
    with opened(where) as pool:
        made(pool, "v")


def test_a_group_that_lacks_a_disk_is_no_pool(make_group: MakeGroup, tmp_path: Path) -> None:
    where = make_group("cellar", size=GIB)
    second = a_disk(tmp_path / "second")
    lvm("vgextend", where, second)
    with opened(where) as pool:
        made(pool, "v")
        said("losetup", "--detach", second)
        with pytest.raises(PoolAway, match="not whole"):
            list(pool.images())
        again = said("losetup", "--find", "--show", str(tmp_path / "second"))
        assert [image.name for image in pool.images()] == ["v"]
    lvm("vgreduce", where, again)
    lvm("pvremove", again)
    said("losetup", "--detach", again)


def test_a_group_of_somebody_else_is_not_taken(make_group: MakeGroup) -> None:
    where = make_group("cellar", size=GIB)
    lvm("lvcreate", "--size", "16m", "--name", "theirs", where)
    assert "init" in refused(where)
    with opened(where, Options(init=True)) as pool:
        assert list(pool.images()) == []
        made(pool, "v")
    assert "theirs" in volumes(where)
    lvm("vgchange", "--deltag", "cellar.owner=cellar.test", "--addtag", "cellar.owner=b", where)
    assert "belongs to 'b'" in refused(where)


def test_a_second_process_does_not_get_the_pool(make_group: MakeGroup) -> None:
    where = make_group("cellar", size=GIB)
    with opened(where) as pool:
        assert pool.id
        assert "another process" in refused(where)


@pytest.mark.timeout(1800)
@pytest.mark.slow
@pytest.mark.parametrize("count", [8, 100])
def test_creates_beside_an_administrator_all_succeed(where: str, count: int) -> None:
    stop = threading.Event()
    errors: list[str] = []

    def administrate() -> None:
        group = where.partition("/")[0]
        while not stop.is_set():
            for words in (
                ("vgs",),
                ("lvcreate", "--size", "8m", "--name", "theirs", group),
                ("lvremove", f"{group}/theirs"),
            ):
                command = ["lvm", words[0], "--config", CONFIG, "--yes", *words[1:]]
                done = subprocess.run(command, capture_output=True, text=True, check=False)
                if done.returncode:
                    errors.append(done.stderr)

    with opened(where, Options(init=True)) as pool, ThreadPoolExecutor(4) as threads:
        admin = threads.submit(administrate)
        try:
            names = [f"v{number}" for number in range(count)]
            list(threads.map(lambda name: made(pool, name), names))
        finally:
            stop.set()
        admin.result()
        assert len(list(pool.images())) == len(names)
        for image in pool.images():
            pool.delete(image.id)
    assert errors == []
    lvm("vgck", where.partition("/")[0])
    assert volumes(where) == []


def test_a_thin_pool_that_fills_up_hangs_nobody_and_takes_nothing_new(
    make_group: MakeGroup,
) -> None:
    where = make_group("cellar", size=2 * GIB, thin=128 * MIB)
    with opened(where, Options(overcommit=4.0)) as pool:
        volume = made(pool, "v", size=256 * MIB)
        device = pool.attach(volume, read_only=False)
        with pytest.raises(OSError):
            write(device.path, b"x" * volume.size)
        assert pool.capacity(pool.allocation).largest == 0
        assert [fault.kind for fault in pool.faults(None)] == ["ThinPoolNearlyFull"]
        with pytest.raises(NoSpace):
            made(pool, "w", size=4 * MIB)
        lvm("lvextend", "--size", "+256m", where)
        write(device.path, b"x" * volume.size)
        assert pool.capacity(pool.allocation).largest > 0
        pool.detach(volume.id)
        pool.delete(volume.id)


def test_a_thin_pool_that_would_hang_or_leak_says_so(make_group: MakeGroup) -> None:
    where = make_group("cellar", size=GIB, thin=128 * MIB)
    lvm("lvchange", "--errorwhenfull", "n", where)
    with opened(where) as pool:
        assert [fault.kind for fault in pool.faults(None)] == ["ThinPoolQueues"]
    lvm("lvchange", "--zero", "n", where)
    assert "lvchange --zero y" in refused(where)


def test_what_was_left_suspended_is_resumed(make_group: MakeGroup) -> None:
    where = make_group("cellar", size=GIB)
    with opened(where) as pool:
        volume = made(pool, "v")
        device = pool.attach(volume, read_only=False)
        [below] = [one for one in said("dmsetup", "ls").split() if one.startswith("cellar-cellar")]
    for one in (str(device.path), below):
        said("dmsetup", "suspend", "--noudevsync", one)
    with opened(where) as pool:
        write(device.path, b"x")
        pool.detach(volume.id)
        empty(pool)


def test_a_volume_is_not_active_after_a_reboot_until_it_is_attached(make_group: MakeGroup) -> None:
    where = make_group("cellar", size=GIB)
    with opened(where) as pool:
        volume = made(pool, "v")
    lvm("vgchange", "--activate", "n", where)
    lvm("vgchange", "--activate", "ay", where)  # what a boot does
    assert "cellar-cellar" not in said("dmsetup", "ls")
    with opened(where) as pool:
        assert pool.attached(volume.id) is None
        write(pool.attach(volume, read_only=False).path, b"x")
        pool.detach(volume.id)
        empty(pool)


def empty(pool: Lvm) -> None:
    for image in pool.images():
        pool.delete(image.id)
