"""Host: what an image or a device carries, and how it is made, renewed, checked and grown."""

from __future__ import annotations

from pathlib import Path

import pytest

from driver.core.devices import Extent
from driver.core.errors import CellarError, Refused
from driver.core.model import KIB, MIB, FsType
from tests.contract.backends_under_test import BackendUnderTest, whole
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
def under_test(host_under_test: BackendUnderTest) -> BackendUnderTest:
    return host_under_test


def other_than(fs: FsType) -> list[FsType]:
    return [other for other in FsType if other is not fs]


@pytest.mark.parametrize("fs", FsType)
def test_what_was_made_passes_the_check(under_test: BackendUnderTest, fs: FsType) -> None:
    device = under_test.pool.backend.attach(formatted(under_test, fs), read_only=False)
    assert under_test.pool.host.check(device, fs) == 0


@pytest.mark.parametrize("fs", FsType)
def test_the_check_says_how_much_of_a_longer_device_is_not_used(
    under_test: BackendUnderTest, fs: FsType
) -> None:
    backend, volume = under_test.pool.backend, formatted(under_test, fs)
    device = backend.attach(volume, read_only=False)
    backend.resize(volume, volume.size + 64 * MIB)
    assert under_test.pool.host.check(device, fs) == 64 * MIB


@pytest.mark.parametrize("fs", FsType)
def test_another_filesystem_is_refused_and_nothing_is_written(
    under_test: BackendUnderTest, fs: FsType
) -> None:
    volume = formatted(under_test, fs)
    device = under_test.pool.backend.attach(volume, read_only=False)
    before = under_test.read(device, 0, SUPERBLOCKS)
    for other in other_than(fs):
        with pytest.raises(Refused):
            under_test.pool.host.check(device, other)
    assert under_test.read(device, 0, SUPERBLOCKS) == before


@pytest.mark.parametrize("fs", FsType)
def test_a_blank_device_is_refused_and_stays_blank(
    under_test: BackendUnderTest, fs: FsType
) -> None:
    volume = create_volume(under_test)
    device = under_test.pool.backend.attach(volume, read_only=False)
    with pytest.raises(Refused):
        under_test.pool.host.check(device, fs)
    assert whole(under_test, volume) == bytes(SIZE)


@pytest.mark.parametrize("fs", FsType)
def test_a_filesystem_larger_than_its_device_is_refused(
    under_test: BackendUnderTest, fs: FsType
) -> None:
    volume = formatted(under_test, fs)
    with under_test.pool.backend.reading(volume.id) as path, path.open("rb") as file:
        head = file.read(128 * KIB)
    short = create_volume(under_test, "short")
    device = under_test.pool.backend.attach(short, read_only=False)
    under_test.write(device, 0, head)
    with pytest.raises(Refused):
        under_test.pool.host.check(device, fs)


@pytest.mark.parametrize("fs", FsType)
def test_two_volumes_never_have_the_same_uuid(under_test: BackendUnderTest, fs: FsType) -> None:
    backend = under_test.pool.backend
    devices = [
        backend.attach(formatted(under_test, fs, name), read_only=False)
        for name in ("one", "other")
    ]
    assert len({under_test.uuid(device.path) for device in devices} - {""}) == 2


@pytest.mark.parametrize("fs", FsType)
def test_a_renewed_copy_has_a_uuid_of_its_own_and_the_same_filesystem(
    under_test: BackendUnderTest, fs: FsType
) -> None:
    backend = under_test.pool.backend
    volume = formatted(under_test, fs)
    clone = cloned(under_test, volume)
    old, new = (backend.attach(volume, read_only=False) for volume in (volume, clone))
    assert under_test.uuid(old.path) != under_test.uuid(new.path) != ""
    under_test.pool.host.check(new, fs)


@pytest.mark.parametrize("fs", FsType)
def test_each_renewal_gives_another_uuid(under_test: BackendUnderTest, fs: FsType) -> None:
    uuids: set[str] = set()

    def prepare(path: Path) -> None:
        under_test.pool.host.mkfs(path, fs, block_size=4096, options=())
        for _ in range(3):
            uuids.add(under_test.uuid(path))
            under_test.pool.host.new_uuid(path, fs, block_size=4096)
        uuids.add(under_test.uuid(path))

    volume = a_volume(under_test.pool, fs=fs, size=320 * MIB, block_size=4096)
    under_test.pool.backend.create(volume, prepare)
    assert len(uuids - {""}) == 4


@pytest.mark.parametrize("fs", FsType)
def test_nothing_is_renewed_that_is_not_there(under_test: BackendUnderTest, fs: FsType) -> None:
    def prepare(path: Path) -> None:
        under_test.pool.host.new_uuid(path, fs, block_size=4096)

    volume = a_volume(under_test.pool, fs=fs, size=320 * MIB, block_size=4096)
    with pytest.raises(CellarError):
        under_test.pool.backend.create(volume, prepare)
    assert list(under_test.pool.backend.images()) == []


@pytest.mark.parametrize("fs", FsType)
def test_a_snapshot_is_not_renewed(under_test: BackendUnderTest, fs: FsType) -> None:
    volume = formatted(under_test, fs)
    device = under_test.pool.backend.attach(volume, read_only=False)
    snapshot = create_snapshot(under_test, volume)
    with under_test.pool.backend.reading(snapshot.id) as path:
        assert under_test.uuid(path) == under_test.uuid(device.path)


@pytest.mark.parametrize("fs", FsType)
def test_source_and_clones_mount_side_by_side(
    under_test: BackendUnderTest, targets: Path, fs: FsType
) -> None:
    backend, host = under_test.pool.backend, under_test.pool.host
    volume = formatted(under_test, fs)
    clones = [cloned(under_test, volume), cloned(under_test, volume, "more")]
    for number, image in enumerate([volume, *clones]):
        device = backend.attach(image, read_only=False)
        host.mount(device, targets / str(number), fs, [], read_only=False)
        under_test.write_file(targets / str(number), str(number).encode())
    assert [under_test.read_file(targets / name) for name in "012"] == [b"0", b"1", b"2"]


@pytest.mark.parametrize("fs", FsType)
def test_a_grown_filesystem_fills_its_device_and_keeps_its_files(
    under_test: BackendUnderTest, targets: Path, fs: FsType
) -> None:
    under_test.require_growing(fs)
    backend, host = under_test.pool.backend, under_test.pool.host
    volume = formatted(under_test, fs)
    device = backend.attach(volume, read_only=False)
    host.mount(device, targets / "v", fs, [], read_only=False)
    under_test.write_file(targets / "v", b"kept")
    before = host.usage(targets / "v").total
    backend.resize(volume, 2 * volume.size)
    host.grow(device, targets / "v", fs)
    assert host.usage(targets / "v").total >= before + volume.size * 9 // 10
    assert under_test.read_file(targets / "v") == b"kept"


@pytest.mark.parametrize("fs", FsType)
def test_a_filesystem_that_fills_its_device_is_content_to_grow(
    under_test: BackendUnderTest, targets: Path, fs: FsType
) -> None:
    under_test.require_growing(fs)
    volume = formatted(under_test, fs)
    device = under_test.pool.backend.attach(volume, read_only=False)
    under_test.pool.host.mount(device, targets / "v", fs, [], read_only=False)
    before = under_test.pool.host.usage(targets / "v").total
    under_test.pool.host.grow(device, targets / "v", fs)
    assert under_test.pool.host.usage(targets / "v").total == before


@pytest.mark.parametrize("fs", FsType)
def test_a_larger_restore_is_grown_once_it_is_mounted(
    under_test: BackendUnderTest, targets: Path, fs: FsType
) -> None:
    under_test.require_growing(fs)
    backend, host = under_test.pool.backend, under_test.pool.host
    volume = formatted(under_test, fs)
    restored = cloned(under_test, create_snapshot(under_test, volume), size=2 * volume.size)
    device = backend.attach(restored, read_only=False)
    host.check(device, fs)
    host.mount(device, targets / "v", fs, [], read_only=False)
    host.grow(device, targets / "v", fs)
    assert host.usage(targets / "v").total > volume.size


@pytest.mark.parametrize("fs", FsType)
def test_usage_adds_up(under_test: BackendUnderTest, targets: Path, fs: FsType) -> None:
    volume = formatted(under_test, fs)
    device = under_test.pool.backend.attach(volume, read_only=False)
    under_test.pool.host.mount(device, targets / "v", fs, [], read_only=False)
    usage = under_test.pool.host.usage(targets / "v")
    assert 0 < usage.total <= volume.size
    assert usage.used + usage.available <= usage.total
    # Nothing is kept for root; the kernel keeps 2 % of an ext4 for itself, at most 16 MiB.
    assert fs is not FsType.EXT4 or usage.total - usage.used - usage.available <= volume.size // 50
    assert usage.available > 0
    assert usage.inodes_used + usage.inodes_free == usage.inodes
    assert (usage.inodes == 0) is (fs is FsType.BTRFS)


@pytest.mark.parametrize("fs", FsType)
def test_a_healthy_device_has_no_faults(
    under_test: BackendUnderTest, targets: Path, fs: FsType
) -> None:
    device = under_test.pool.backend.attach(formatted(under_test, fs), read_only=False)
    assert list(under_test.pool.host.faults(device)) == []
    under_test.pool.host.mount(device, targets / "v", fs, [], read_only=False)
    assert list(under_test.pool.host.faults(device)) == []


def test_a_copy_takes_what_the_extents_name_and_leaves_holes(
    under_test: BackendUnderTest, tmp_path: Path
) -> None:
    source, to = tmp_path / "source", tmp_path / "to"
    source.write_bytes(b"x" * 4 * MIB)
    with to.open("wb") as file:
        file.truncate(4 * MIB)
    extents = [Extent(0, 4096), Extent(3 * MIB, 8192)]
    under_test.pool.host.copy(source, to, iter(extents), unseen)
    expected = bytearray(4 * MIB)
    expected[:4096], expected[3 * MIB : 3 * MIB + 8192] = b"x" * 4096, b"x" * 8192
    assert to.read_bytes() == bytes(expected)
    assert to.stat().st_blocks * 512 <= MIB


def test_a_copy_tells_how_far_it_is(under_test: BackendUnderTest, tmp_path: Path) -> None:
    source, to = tmp_path / "source", tmp_path / "to"
    source.write_bytes(b"x" * 12 * MIB)
    to.write_bytes(b"")
    lengths: list[int] = []
    under_test.pool.host.copy(
        source, to, iter([Extent(0, 4096), Extent(MIB, 11 * MIB)]), lengths.append
    )
    assert sum(lengths) == 4096 + 11 * MIB
    assert len(lengths) > 2


def test_a_copy_ends_when_whoever_watches_says_so(
    under_test: BackendUnderTest, tmp_path: Path
) -> None:
    class Enough(Exception):
        pass

    def stop(_: int) -> None:
        raise Enough

    source, to = tmp_path / "source", tmp_path / "to"
    source.write_bytes(b"x" * MIB)
    to.write_bytes(b"")
    with pytest.raises(Enough):
        under_test.pool.host.copy(source, to, iter([Extent(0, MIB)]), stop)


def test_a_copy_of_nothing_writes_nothing(under_test: BackendUnderTest, tmp_path: Path) -> None:
    source, to = tmp_path / "source", tmp_path / "to"
    source.write_bytes(b"x")
    to.write_bytes(b"")
    under_test.pool.host.copy(source, to, iter([]), unseen)
    assert to.read_bytes() == b""
