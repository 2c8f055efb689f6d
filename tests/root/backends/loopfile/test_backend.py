"""What only loop files can suffer: files that go, records that rot, space that is shared."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from threading import current_thread
from time import monotonic, sleep

import pytest

from driver.backends.loopfile import backend as loopfile
from driver.backends.loopfile import state
from driver.backends.loopfile.images import layout
from driver.backends.loopfile.options import Options
from driver.core.errors import Conflict, Damaged, NoSpace, NotFound, PoolUnavailable, Refused
from driver.core.ids import SnapshotId, VolumeId, snapshot_key, volume_key
from driver.core.model import GIB, MIB, Allocation, Bytes, Snapshot, Volume
from driver.linux import fiemap, files
from driver.linux.devices import loop
from driver.linux.mounts.freeze import Freezer
from tests.root.conftest import MakePool

pytestmark = pytest.mark.root


@pytest.fixture(scope="module")
def freezer() -> Iterator[Freezer]:
    one = Freezer()
    yield one
    one.close()


@pytest.fixture
def pool(pool_dir: Path, freezer: Freezer) -> Iterator[loopfile.Loopfile]:
    one = open_pool(pool_dir, freezer)
    yield one
    one.close()


def open_pool(where: Path, freezer: Freezer, **options: object) -> loopfile.Loopfile:
    chosen = replace(Options(init=True), **options)  # type: ignore[arg-type]
    return loopfile.open_pool("p", where, chosen, freezer, "cellar.test")


def a_volume(
    pool: loopfile.Loopfile, name: str = "v", size: Bytes = 8 * MIB, **more: object
) -> Volume:
    fields: dict[str, object] = {
        "id": VolumeId(pool.id, volume_key(name)),
        "name": name,
        "size": size,
        "fs": None,
        "allocation": Allocation.THICK,
        "block_size": 4096,
        "incarnation": "0" * 16,
    }
    return Volume(**{**fields, **more})  # type: ignore[arg-type]


def a_snapshot(pool: loopfile.Loopfile, of: Volume, name: str = "s") -> Snapshot:
    return Snapshot(
        id=SnapshotId(pool.id, snapshot_key(name)),
        name=name,
        size=of.size,
        source=of.id,
        created=0.0,
        fs=of.fs,
        allocation=of.allocation,
        block_size=of.block_size,
        incarnation="1" * 16,
    )


def nothing(_: Path) -> None:
    pass


def write_all(image: Path) -> None:
    fd = os.open(image, os.O_WRONLY)
    os.pwrite(fd, os.urandom(os.fstat(fd).st_size), 0)
    os.fsync(fd)
    os.close(fd)


def image_of(where: Path, volume: Volume | Snapshot) -> Path:
    return where / str(volume.id) / layout.DISK


def test_a_thick_volume_is_allocated(pool: loopfile.Loopfile, pool_dir: Path) -> None:
    volume = a_volume(pool)
    pool.create(volume, nothing)
    assert image_of(pool_dir, volume).stat().st_blocks * 512 >= volume.size


def test_a_missing_image_is_a_fault_and_is_never_made_again(
    pool: loopfile.Loopfile, pool_dir: Path
) -> None:
    volume = a_volume(pool)
    pool.create(volume, nothing)
    image_of(pool_dir, volume).unlink()
    assert [one.kind for one in pool.faults(volume.id)] == ["BackingFileGone"]
    with pytest.raises(Damaged):
        pool.attach(volume, read_only=False)
    assert not image_of(pool_dir, volume).exists()
    pool.delete(volume.id)


def test_an_image_shorter_than_recorded_is_a_fault_and_is_not_attached(
    pool: loopfile.Loopfile, pool_dir: Path
) -> None:
    volume = a_volume(pool)
    pool.create(volume, nothing)
    os.truncate(image_of(pool_dir, volume), MIB)
    assert [one.kind for one in pool.faults(volume.id)] == ["BackingFileShort"]
    with pytest.raises(Damaged):
        pool.attach(volume, read_only=False)
    assert image_of(pool_dir, volume).stat().st_size == MIB


def test_a_device_whose_image_was_unlinked_can_still_be_detached(
    pool: loopfile.Loopfile, pool_dir: Path
) -> None:
    volume = a_volume(pool)
    pool.create(volume, nothing)
    device = pool.attach(volume, read_only=False)
    image_of(pool_dir, volume).unlink()
    found = pool.attached(volume.id)
    assert found == device
    pool.detach(volume.id)
    assert pool.attached(volume.id) is None


def test_a_damaged_record_is_left_alone_and_its_name_is_taken(
    pool: loopfile.Loopfile, pool_dir: Path, freezer: Freezer
) -> None:
    volume = a_volume(pool)
    pool.create(volume, nothing)
    (pool_dir / str(volume.id) / layout.RECORD).write_text("{")
    pool.close()
    again = open_pool(pool_dir, freezer)
    with pytest.raises(Damaged):
        again.find(volume.id)
    assert [one.kind for one in again.faults(None)] == ["RecordDamaged"]
    with pytest.raises(Conflict):
        again.create(volume, nothing)
    assert image_of(pool_dir, volume).stat().st_size == volume.size
    again.close()


def test_what_a_crash_left_is_swept_when_the_pool_is_opened(
    pool: loopfile.Loopfile, pool_dir: Path, freezer: Freezer
) -> None:
    volume = a_volume(pool)
    pool.create(volume, nothing)
    pool.close()
    for name in (f".new-{volume.id}", f".del-{volume.id}-1"):
        (pool_dir / name).mkdir()
        (pool_dir / name / layout.DISK).write_bytes(b"x")
    again = open_pool(pool_dir, freezer)
    assert sorted(one.name for one in pool_dir.iterdir() if one.name.startswith(".new")) == []
    assert sorted(one.name for one in pool_dir.iterdir() if one.name.startswith(".del")) == []
    assert again.find(volume.id) == volume
    again.close()


def test_a_sweep_does_not_follow_links(
    pool: loopfile.Loopfile, pool_dir: Path, freezer: Freezer, tmp_path: Path
) -> None:
    precious = tmp_path / "precious"
    precious.mkdir()
    (precious / "file").touch()
    pool.close()
    (pool_dir / ".new-link").mkdir()
    (pool_dir / ".new-link" / "out").symlink_to(precious)
    again = open_pool(pool_dir, freezer)
    _ = again.id
    assert (precious / "file").exists()
    again.close()


def test_growth_that_does_not_fit_leaves_size_and_space_as_they_were(
    pool: loopfile.Loopfile, pool_dir: Path
) -> None:
    volume = a_volume(pool)
    pool.create(volume, nothing)
    before = image_of(pool_dir, volume).stat()
    with pytest.raises(Exception, match="cannot grow"):
        pool.resize(volume, 1 << 42)
    after = image_of(pool_dir, volume).stat()
    assert (after.st_size, after.st_blocks) == (before.st_size, before.st_blocks)


def test_a_record_of_an_earlier_life_is_refused(pool: loopfile.Loopfile) -> None:
    volume = a_volume(pool)
    pool.create(volume, nothing)
    with pytest.raises(NotFound):
        pool.record(replace(volume, incarnation="f" * 16))


def test_a_held_device_is_refused_with_the_names_of_its_holders(pool: loopfile.Loopfile) -> None:
    volume = a_volume(pool)
    pool.create(volume, nothing)
    device = pool.attach(volume, read_only=False)
    fd = os.open(device.path, os.O_RDONLY)
    try:
        with pytest.raises(Refused, match=str(os.getpid())):
            pool.detach(volume.id)
    finally:
        os.close(fd)
    pool.detach(volume.id)
    assert pool.attached(volume.id) is None


def test_capacity_falls_by_what_overwriting_may_cost_and_comes_back(
    pool: loopfile.Loopfile, pool_dir: Path
) -> None:
    volume = a_volume(pool, size=64 * MIB)
    pool.create(volume, write_all)
    if not pool.shares(volume.id):
        pytest.skip("this filesystem has no reflink: a snapshot is a copy")
    before = pool.capacity(Allocation.THICK).largest
    snapshot = a_snapshot(pool, volume)
    pool.create(snapshot, nothing)
    after = pool.capacity(Allocation.THICK).largest
    assert before - after >= 64 * MIB
    assert before - after < 80 * MIB
    pool.delete(snapshot.id)
    assert abs(pool.capacity(Allocation.THICK).largest - before) < 4 * MIB


def test_the_largest_thick_volume_can_be_made_and_overwritten(
    pool: loopfile.Loopfile, pool_dir: Path
) -> None:
    pool.create(a_volume(pool, "first", size=32 * MIB), write_all)
    largest = pool.capacity(Allocation.THICK).largest
    with pytest.raises(NoSpace):
        pool.create(a_volume(pool, "more", size=largest + 4096), nothing)
    most = a_volume(pool, "most", size=largest)
    pool.create(most, nothing)
    assert image_of(pool_dir, most).stat().st_blocks * 512 >= largest
    assert pool.capacity(Allocation.THICK).largest < 4 * MIB


def test_a_sparse_pool_promises_overcommit_times_its_room(pool_dir: Path, freezer: Freezer) -> None:
    pool = open_pool(pool_dir, freezer, allocation=Allocation.SPARSE, overcommit=2.0)
    thick = pool.capacity(Allocation.THICK).largest
    sparse = pool.capacity(Allocation.SPARSE).largest
    assert abs(sparse - 2 * thick) <= 8192
    volume = a_volume(pool, size=sparse, allocation=Allocation.SPARSE)
    pool.create(volume, nothing)
    assert pool.capacity(Allocation.SPARSE).largest < 4 * MIB
    pool.close()


def test_a_reserve_is_kept_free(pool_dir: Path, freezer: Freezer) -> None:
    plain = open_pool(pool_dir, freezer)
    free = plain.capacity(Allocation.THICK).largest
    plain.close()
    reserved = open_pool(pool_dir, freezer, reserve="50%")
    found = os.statvfs(pool_dir)
    half = found.f_blocks * found.f_frsize // 2
    assert abs(free - half - reserved.capacity(Allocation.THICK).largest) < MIB
    assert half < GIB
    reserved.close()


def test_an_image_is_not_ill_at_any_instant_of_its_deletion(
    pool: loopfile.Loopfile, monkeypatch: pytest.MonkeyPatch
) -> None:
    volume = a_volume(pool)
    pool.create(volume, nothing)
    seen: dict[str, list[str]] = {}

    def look(point: str) -> None:
        seen[point] = [one.kind for one in pool.faults(volume.id)]

    monkeypatch.setattr(layout, "reach", look)
    monkeypatch.setattr(loopfile, "reach", look)
    pool.delete(volume.id)
    assert set(seen) == {"delete.renamed", "delete.synced", "delete.unlinked"}
    assert not any(seen.values())


def test_an_image_is_whole_though_its_disk_came_off_and_on_while_it_was_made(
    pool: loopfile.Loopfile, pool_dir: Path
) -> None:
    [device] = {
        line.split(" - ")[1].split()[1]
        for line in Path("/proc/self/mountinfo").read_text().splitlines()
        if line.split()[4] == os.fspath(pool_dir)
    }
    volume, other = a_volume(pool, size=64 * MIB), a_volume(pool, "other", size=64 * MIB)
    pool.create(other, nothing)
    before = pool.capacity(Allocation.THICK).largest

    def came_off(image: Path) -> None:
        write_all(image)
        subprocess.run(["umount", "--lazy", pool_dir], check=True)
        with pytest.raises(PoolUnavailable):
            _ = pool.id
        subprocess.run(["mount", device, pool_dir], check=True)
        assert pool.find(other.id) == other
        assert before - pool.capacity(Allocation.THICK).largest >= volume.size

    pool.create(volume, came_off)
    found = image_of(pool_dir, volume).stat()
    assert (found.st_size, found.st_blocks * 512 >= volume.size) == (volume.size, True)
    assert set(pool.images()) == {volume, other}


def test_pools_on_two_filesystems_share_no_room(make_pool: MakePool, freezer: Freezer) -> None:
    where = make_pool("ext4", size=256 * MIB)
    shared = state.Shared()
    options = Options(init=True)
    one, two = (
        loopfile.Loopfile("p", path, options, freezer, "cellar.test", shared=shared)
        for path in (where, make_pool("ext4", size=256 * MIB))
    )
    before = two.capacity(Allocation.THICK).largest
    one.create(a_volume(one, size=128 * MIB), nothing)
    assert two.capacity(Allocation.THICK).largest == before
    one.close()
    two.close()


def scatter(image: Path, size: Bytes) -> None:
    """Every second block is written: as many extents as it can have."""
    fd = os.open(image, os.O_WRONLY)
    for at in range(0, size, 8192):
        os.pwrite(fd, b"x" * 4096, at)
    os.fsync(fd)
    os.close(fd)


def test_what_is_shared_is_measured_beside_the_calls(
    pool: loopfile.Loopfile, pool_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In no call and no report; of what is deleted nothing is kept."""
    volume = a_volume(pool, allocation=Allocation.SPARSE)
    pool.create(volume, nothing)
    if not pool.shares(volume.id):
        pytest.skip("the pool does not share bytes")
    scatter(image_of(pool_dir, volume), volume.size)
    snapshot = a_snapshot(pool, volume)
    pool.create(snapshot, nothing)
    asked: set[str] = set()

    def shared(path: Path, start: Bytes) -> tuple[Bytes, Bytes | None]:
        asked.add(current_thread().name)
        return real(path, start)

    real = fiemap.shared
    monkeypatch.setattr(fiemap, "shared", shared)
    before = pool.capacity(Allocation.THICK).largest
    write_all(image_of(pool_dir, volume))  # nothing is shared any more
    pool._accounts._measured.clear()
    until(lambda: pool.state().capacity is not None and not pool._ledger.sharing())
    assert asked == {"measurer"}
    pool.delete(snapshot.id)
    pool.capacity(Allocation.THICK)
    assert pool._accounts._measured == {}
    assert before > 0


def test_a_report_makes_no_filesystem_commit(
    pool: loopfile.Loopfile, monkeypatch: pytest.MonkeyPatch
) -> None:
    pool.create(a_volume(pool), nothing)
    pool.state()
    until(lambda: not pool._accounts._is_behind())
    commits: list[Path] = []
    monkeypatch.setattr(files, "commit", commits.append)
    told = [pool.state().capacity.largest for _ in range(20)]
    assert commits == []
    monkeypatch.undo()
    assert abs(told[-1] - pool.capacity(pool.allocation).largest) <= MIB
    pool.delete(a_volume(pool).id)
    until(lambda: pool.state().capacity.largest > told[-1])


def until(true: Callable[[], bool]) -> None:
    end = monotonic() + 30
    while not true():
        assert monotonic() < end
        sleep(0.01)


def test_the_devices_of_an_earlier_process_are_found_with_one_look_at_each(
    pool_dir: Path, freezer: Freezer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not by a search among all devices for each image, which takes seconds among a thousand."""
    earlier = open_pool(pool_dir, freezer)
    volumes = [a_volume(earlier, name) for name in ("a", "b", "c")]
    for volume in volumes:
        earlier.create(volume, nothing)
    devices = [earlier.attach(volume, read_only=False) for volume in volumes[:2]]
    earlier.close()
    searched: list[object] = []
    monkeypatch.setattr(loop, "find", lambda *image: searched.append(image))
    pool = open_pool(pool_dir, freezer)
    assert [pool.attached(volume.id) for volume in volumes] == [*devices, None]
    assert searched == []
    monkeypatch.undo()
    for volume in volumes:
        pool.detach(volume.id)
    pool.close()


def test_what_an_attached_image_occupies_is_asked_again(pool: loopfile.Loopfile) -> None:
    """Nobody writes to one that is not attached, so that nobody has to ask."""
    volume = a_volume(pool, allocation=Allocation.SPARSE)
    pool.create(volume, nothing)
    device = pool.attach(volume, read_only=False)
    before = pool.capacity(Allocation.SPARSE).largest
    fd = os.open(device.path, os.O_WRONLY)
    os.write(fd, b"\x5a" * (4 * MIB))
    os.fsync(fd)
    os.close(fd)
    assert abs(pool.capacity(Allocation.SPARSE).largest - before) < MIB
    pool.detach(volume.id)
    assert abs(pool.capacity(Allocation.SPARSE).largest - before) < MIB
