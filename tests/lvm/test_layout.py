"""Thick volumes in stripes or mirrored: where they lie, and what room that leaves."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from driver.backends.lvm.backend import Lvm
from driver.backends.lvm.options import Options
from driver.backends.lvm.tags import lv_name
from driver.core.errors import Invalid, NoSpace, OutOfRange, PoolUnavailable
from driver.core.ids import ImageId
from driver.core.model import MIB, Allocation, Bytes, Volume
from tests.lvm.conftest import GIB, MakeGroup, lvm, volumes
from tests.lvm.pools import a_volume, begins_with, create_snapshot, create_volume, opened, write

KINDS = {"striped": Options(stripes=2), "mirrored": Options(mirrors=1)}
MORE = [112 * MIB, 64 * MIB]  # small: raid1 passes no zeroing on, so every byte is written


@pytest.fixture
def location(make_group: MakeGroup) -> str:
    return make_group("cellar", size=80 * MIB, more=MORE)


@pytest.fixture(params=KINDS)
def pool(request: pytest.FixtureRequest, location: str) -> Iterator[Lvm]:
    with opened(location, KINDS[request.param]) as pool:
        yield pool
        for image in list(pool.images()):
            if pool.attached(image.id):
                pool.detach(image.id)
            pool.delete(image.id)
    assert volumes(location) == []


def lies(image: ImageId) -> list[set[str]]:
    """The disks of each mirror; of a volume that has none, all its disks."""
    words = ("--all", "--noheadings", "-o", "lv_name,seg_pe_ranges", "cellar")
    name, disks_of = lv_name(image), dict[str, set[str]]()
    for line in lvm("lvs", *words).splitlines():
        lv, *ranges = line.split()
        disks = {extents.partition(":")[0] for extents in ranges}
        disks_of.setdefault(lv.strip("[]"), set()).update(disks)
    legs = [disks_of[lv] for lv in sorted(disks_of) if lv.startswith(f"{name}_rimage")]
    return legs or [disks_of[name]]


def free() -> list[Bytes]:
    """On each disk, the most first."""
    said = lvm("pvs", "--noheadings", "--nosuffix", "--units", "b", "-o", "pv_free").split()
    return sorted(map(int, said), reverse=True)


def largest(pool: Lvm) -> Bytes:
    return pool.capacity(Allocation.THICK).largest


def keeps_its_word(pool: Lvm) -> None:
    size = largest(pool)
    with pytest.raises(NoSpace):
        create_volume(pool, "too large", size=size + pool.granularity)
    volume = create_volume(pool, "largest", size=size)
    pool.delete(volume.id)
    assert largest(pool) == size


def check(volume: Volume, mirrored: bool) -> None:
    disks = lies(volume.id)
    if mirrored:
        assert [len(leg) for leg in disks] == [1, 1]
        assert disks[0] != disks[1]
    else:
        assert len(disks[0]) == 2


def grown(pool: Lvm, volume: Volume, size: Bytes) -> Volume:
    pool.resize(volume, size)
    return replace(volume, size=size)


def test_capacity_is_what_fits(pool: Lvm) -> None:
    """Also when the disks filled up unevenly, and what is free lies in pieces."""
    mirrored = pool.granularity == 4 * MIB
    second = free()[1]
    assert largest(pool) == (second - 4 * MIB if mirrored else second * 2)
    kept = [create_volume(pool, f"v{number}", size=8 * MIB) for number in range(4)]
    keeps_its_word(pool)
    for volume in kept[::2]:
        pool.delete(volume.id)
    keeps_its_word(pool)
    for volume in kept[1::2]:
        check(volume, mirrored)


def test_a_volume_grows_where_it_lies(pool: Lvm) -> None:
    mirrored = pool.granularity == 4 * MIB
    volume = create_volume(pool, "v", b"before", size=8 * MIB)
    before = lies(volume.id)
    create_volume(pool, "between", size=8 * MIB)
    for size in (16 * MIB, 32 * MIB):
        volume = grown(pool, volume, size)
        check(volume, mirrored)
        assert begins_with(pool, volume.id, b"before" + bytes(4096))
        with pool.reading(volume.id) as path, path.open("rb") as file:
            assert os.lseek(file.fileno(), 0, os.SEEK_END) == size
            file.seek(8 * MIB)
            assert not any(file.read())
    if mirrored:
        assert lies(volume.id) == before
    with pytest.raises(OutOfRange):
        pool.resize(volume, 2 * GIB)
    assert volumes("cellar") and largest(pool)


def test_each_mirror_has_every_byte(location: str) -> None:
    with opened(location, KINDS["mirrored"]) as pool:
        volume = create_volume(pool, "v", size=8 * MIB)
        device = pool.attach(volume, read_only=False)
        write(device.path, b"twice" * 1000)
        pool.detach(volume.id)
        for leg in (0, 1):
            path = Path(
                "/dev/mapper", f"cellar-{lv_name(volume.id).replace('-', '--')}_rimage_{leg}"
            )
            assert path.read_bytes()[:5000] == b"twice" * 1000
        pool.delete(volume.id)


def test_copies_are_laid_out_like_any_volume(pool: Lvm) -> None:
    volume = create_volume(pool, "v", b"copied", size=8 * MIB)
    pool.attach(volume, read_only=False)
    snapshot = create_snapshot(pool, volume, "s")
    restored = a_volume(pool, "r", 8 * MIB, source=snapshot.id)
    with pool.reading(snapshot.id) as path:
        data = path.read_bytes()
    pool.create(restored, lambda to: write(to, data))
    assert begins_with(pool, restored.id, b"copied")
    check(restored, pool.granularity == 4 * MIB)


def test_what_was_made_otherwise_grows_as_it_was_made(location: str) -> None:
    with opened(location) as pool:
        plain = create_volume(pool, "plain", b"plain", size=8 * MIB)
    with opened(location, KINDS["mirrored"]) as pool:
        mirrored = create_volume(pool, "mirrored", b"mirrored", size=8 * MIB)
        grown(pool, plain, 16 * MIB)
        assert len(lies(plain.id)[0]) == 1
    with opened(location) as pool:
        check(grown(pool, mirrored, 16 * MIB), True)
        for volume in (plain, mirrored):
            assert begins_with(pool, volume.id, volume.name.encode())
            pool.delete(volume.id)


def test_the_reserve_is_of_the_whole_group(location: str) -> None:
    with opened(location, replace(KINDS["mirrored"], reserve="120MiB")) as pool:
        each = (sum(free()) - 120 * MIB) // 2 - 4 * MIB
        assert largest(pool) == each - each % (4 * MIB)
        keeps_its_word(pool)


def test_a_group_with_too_few_disks_is_no_pool(make_group: MakeGroup) -> None:
    location = make_group("cellar", size=GIB)
    with (
        opened(location, KINDS["mirrored"]) as pool,
        pytest.raises(PoolUnavailable, match="2 are needed"),
    ):
        list(pool.images())


@pytest.mark.parametrize(
    ("location", "options"),
    [("cellar/pool0", KINDS["mirrored"]), ("cellar", Options(stripes=2, mirrors=1))],
)
def test_what_cannot_be_is_refused(location: str, options: Options) -> None:
    with pytest.raises(Invalid, match="mirrors"), opened(location, options):
        pass
