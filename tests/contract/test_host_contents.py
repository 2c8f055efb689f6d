"""Host: what an image or a device carries, and how it is made, renewed, checked and grown."""

from __future__ import annotations

from pathlib import Path

import pytest

from driver.core.devices import Extent
from driver.core.errors import CellarError, Refused
from driver.core.model import KIB, MIB, FsType
from tests.contract.grounds import Ground, whole
from tests.contract.images import (
    SIZE,
    a_volume,
    cloned,
    create_snapshot,
    create_volume,
    formatted,
    unseen,
)

SUPERBLOCKS = 65 * MIB  # the second one of btrfs lies at 64 MiB


@pytest.fixture
def ground(host_ground: Ground) -> Ground:
    return host_ground


def other_than(fs: FsType) -> list[FsType]:
    return [other for other in FsType if other is not fs]


@pytest.mark.parametrize("fs", FsType)
def test_what_was_made_passes_the_check(ground: Ground, fs: FsType) -> None:
    device = ground.pool.backend.attach(formatted(ground, fs), read_only=False)
    ground.pool.host.check(device, fs)


@pytest.mark.parametrize("fs", FsType)
def test_another_filesystem_is_refused_and_nothing_is_written(ground: Ground, fs: FsType) -> None:
    volume = formatted(ground, fs)
    device = ground.pool.backend.attach(volume, read_only=False)
    before = ground.read(device, 0, SUPERBLOCKS)
    for other in other_than(fs):
        with pytest.raises(Refused):
            ground.pool.host.check(device, other)
    assert ground.read(device, 0, SUPERBLOCKS) == before


@pytest.mark.parametrize("fs", FsType)
def test_a_blank_device_is_refused_and_stays_blank(ground: Ground, fs: FsType) -> None:
    volume = create_volume(ground)
    device = ground.pool.backend.attach(volume, read_only=False)
    with pytest.raises(Refused):
        ground.pool.host.check(device, fs)
    assert whole(ground, volume) == bytes(SIZE)


@pytest.mark.parametrize("fs", FsType)
def test_a_filesystem_larger_than_its_device_is_refused(ground: Ground, fs: FsType) -> None:
    volume = formatted(ground, fs)
    with ground.pool.backend.reading(volume.id) as path, path.open("rb") as file:
        head = file.read(128 * KIB)
    short = create_volume(ground, "short")
    device = ground.pool.backend.attach(short, read_only=False)
    ground.write(device, 0, head)
    with pytest.raises(Refused):
        ground.pool.host.check(device, fs)


@pytest.mark.parametrize("fs", FsType)
def test_two_volumes_never_have_the_same_uuid(ground: Ground, fs: FsType) -> None:
    backend = ground.pool.backend
    devices = [
        backend.attach(formatted(ground, fs, name), read_only=False) for name in ("one", "other")
    ]
    assert len({ground.uuid(device.path) for device in devices} - {""}) == 2


@pytest.mark.parametrize("fs", FsType)
def test_a_renewed_copy_has_a_uuid_of_its_own_and_the_same_filesystem(
    ground: Ground, fs: FsType
) -> None:
    backend = ground.pool.backend
    volume = formatted(ground, fs)
    clone = cloned(ground, volume)
    old, new = (backend.attach(volume, read_only=False) for volume in (volume, clone))
    assert ground.uuid(old.path) != ground.uuid(new.path) != ""
    ground.pool.host.check(new, fs)


@pytest.mark.parametrize("fs", FsType)
def test_each_renewal_gives_another_uuid(ground: Ground, fs: FsType) -> None:
    uuids: set[str] = set()

    def prepare(path: Path) -> None:
        ground.pool.host.mkfs(path, fs, block_size=4096, options=())
        for _ in range(3):
            uuids.add(ground.uuid(path))
            ground.pool.host.new_uuid(path, fs, block_size=4096)
        uuids.add(ground.uuid(path))

    volume = a_volume(ground.pool, fs=fs, size=320 * MIB, block_size=4096)
    ground.pool.backend.create(volume, prepare)
    assert len(uuids - {""}) == 4


@pytest.mark.parametrize("fs", FsType)
def test_nothing_is_renewed_that_is_not_there(ground: Ground, fs: FsType) -> None:
    def prepare(path: Path) -> None:
        ground.pool.host.new_uuid(path, fs, block_size=4096)

    volume = a_volume(ground.pool, fs=fs, size=320 * MIB, block_size=4096)
    with pytest.raises(CellarError):
        ground.pool.backend.create(volume, prepare)
    assert list(ground.pool.backend.images()) == []


@pytest.mark.parametrize("fs", FsType)
def test_a_snapshot_is_not_renewed(ground: Ground, fs: FsType) -> None:
    volume = formatted(ground, fs)
    device = ground.pool.backend.attach(volume, read_only=False)
    snapshot = create_snapshot(ground, volume)
    with ground.pool.backend.reading(snapshot.id) as path:
        assert ground.uuid(path) == ground.uuid(device.path)


@pytest.mark.parametrize("fs", FsType)
def test_source_and_clones_mount_side_by_side(ground: Ground, targets: Path, fs: FsType) -> None:
    backend, host = ground.pool.backend, ground.pool.host
    volume = formatted(ground, fs)
    clones = [cloned(ground, volume), cloned(ground, volume, "more")]
    for number, image in enumerate([volume, *clones]):
        device = backend.attach(image, read_only=False)
        host.mount(device, targets / str(number), fs, [], read_only=False)
        ground.write_file(targets / str(number), str(number).encode())
    assert [ground.read_file(targets / name) for name in "012"] == [b"0", b"1", b"2"]


@pytest.mark.parametrize("fs", FsType)
def test_a_grown_filesystem_fills_its_device_and_keeps_its_files(
    ground: Ground, targets: Path, fs: FsType
) -> None:
    ground.require_growing(fs)
    backend, host = ground.pool.backend, ground.pool.host
    volume = formatted(ground, fs)
    device = backend.attach(volume, read_only=False)
    host.mount(device, targets / "v", fs, [], read_only=False)
    ground.write_file(targets / "v", b"kept")
    before = host.usage(targets / "v").total
    backend.resize(volume, 2 * volume.size)
    host.grow(device, targets / "v", fs)
    assert host.usage(targets / "v").total >= before + volume.size * 9 // 10
    assert ground.read_file(targets / "v") == b"kept"


@pytest.mark.parametrize("fs", FsType)
def test_a_filesystem_that_fills_its_device_is_content_to_grow(
    ground: Ground, targets: Path, fs: FsType
) -> None:
    ground.require_growing(fs)
    volume = formatted(ground, fs)
    device = ground.pool.backend.attach(volume, read_only=False)
    ground.pool.host.mount(device, targets / "v", fs, [], read_only=False)
    before = ground.pool.host.usage(targets / "v").total
    ground.pool.host.grow(device, targets / "v", fs)
    assert ground.pool.host.usage(targets / "v").total == before


@pytest.mark.parametrize("fs", FsType)
def test_a_larger_restore_is_grown_once_it_is_mounted(
    ground: Ground, targets: Path, fs: FsType
) -> None:
    ground.require_growing(fs)
    backend, host = ground.pool.backend, ground.pool.host
    volume = formatted(ground, fs)
    restored = cloned(ground, create_snapshot(ground, volume), size=2 * volume.size)
    device = backend.attach(restored, read_only=False)
    host.check(device, fs)
    host.mount(device, targets / "v", fs, [], read_only=False)
    host.grow(device, targets / "v", fs)
    assert host.usage(targets / "v").total > volume.size


@pytest.mark.parametrize("fs", FsType)
def test_usage_adds_up(ground: Ground, targets: Path, fs: FsType) -> None:
    volume = formatted(ground, fs)
    device = ground.pool.backend.attach(volume, read_only=False)
    ground.pool.host.mount(device, targets / "v", fs, [], read_only=False)
    usage = ground.pool.host.usage(targets / "v")
    assert 0 < usage.total <= volume.size
    assert usage.used + usage.available <= usage.total
    # Nothing is kept for root; the kernel keeps 2 % of an ext4 for itself, at most 16 MiB.
    assert fs is not FsType.EXT4 or usage.total - usage.used - usage.available <= volume.size // 50
    assert usage.available > 0
    assert usage.inodes_used + usage.inodes_free == usage.inodes
    assert (usage.inodes == 0) is (fs is FsType.BTRFS)


@pytest.mark.parametrize("fs", FsType)
def test_a_healthy_device_has_no_faults(ground: Ground, targets: Path, fs: FsType) -> None:
    device = ground.pool.backend.attach(formatted(ground, fs), read_only=False)
    assert list(ground.pool.host.faults(device)) == []
    ground.pool.host.mount(device, targets / "v", fs, [], read_only=False)
    assert list(ground.pool.host.faults(device)) == []


def test_a_copy_takes_what_the_extents_name_and_leaves_holes(
    ground: Ground, tmp_path: Path
) -> None:
    source, to = tmp_path / "source", tmp_path / "to"
    source.write_bytes(b"x" * 4 * MIB)
    with to.open("wb") as file:
        file.truncate(4 * MIB)
    extents = [Extent(0, 4096), Extent(3 * MIB, 8192)]
    ground.pool.host.copy(source, to, iter(extents), unseen)
    expected = bytearray(4 * MIB)
    expected[:4096], expected[3 * MIB : 3 * MIB + 8192] = b"x" * 4096, b"x" * 8192
    assert to.read_bytes() == bytes(expected)
    assert to.stat().st_blocks * 512 <= MIB


def test_a_copy_tells_how_far_it_is(ground: Ground, tmp_path: Path) -> None:
    source, to = tmp_path / "source", tmp_path / "to"
    source.write_bytes(b"x" * 12 * MIB)
    to.write_bytes(b"")
    lengths: list[int] = []
    ground.pool.host.copy(
        source, to, iter([Extent(0, 4096), Extent(MIB, 11 * MIB)]), lengths.append
    )
    assert sum(lengths) == 4096 + 11 * MIB
    assert len(lengths) > 2


def test_a_copy_ends_when_whoever_watches_says_so(ground: Ground, tmp_path: Path) -> None:
    class Enough(Exception):
        pass

    def stop(_: int) -> None:
        raise Enough

    source, to = tmp_path / "source", tmp_path / "to"
    source.write_bytes(b"x" * MIB)
    to.write_bytes(b"")
    with pytest.raises(Enough):
        ground.pool.host.copy(source, to, iter([Extent(0, MIB)]), stop)


def test_a_copy_of_nothing_writes_nothing(ground: Ground, tmp_path: Path) -> None:
    source, to = tmp_path / "source", tmp_path / "to"
    source.write_bytes(b"x")
    to.write_bytes(b"")
    ground.pool.host.copy(source, to, iter([]), unseen)
    assert to.read_bytes() == b""
