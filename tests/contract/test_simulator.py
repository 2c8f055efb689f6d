"""The simulator alone: what its contract with real pools does not say."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from driver.backends.memory.backend import memory
from driver.backends.memory.host import MemoryHost
from driver.backends.memory.options import Options
from driver.core.devices import Device
from driver.core.errors import NotFound, Refused
from driver.core.faults import Fault, FaultKind
from driver.core.model import GIB, MIB, Allocation, FsType
from driver.core.ports.pool import Pool
from tests.contract.backends_under_test import MemoryUnderTest
from tests.contract.images import (
    a_volume,
    cloned,
    create_snapshot,
    create_volume,
    formatted,
    nothing,
)
from tests.support.failing_backend import FailingBackend


@pytest.fixture
def under_test() -> MemoryUnderTest:
    return MemoryUnderTest(8 * GIB)


def simulated(pool: Pool) -> tuple[FailingBackend, MemoryHost]:
    assert isinstance(pool.backend, FailingBackend)
    assert isinstance(pool.host, MemoryHost)
    return pool.backend, pool.host


def test_a_thousand_volumes_are_made_and_listed_in_no_time() -> None:
    pool = memory("sim", 1000 * GIB, Options(allocation=Allocation.SPARSE))
    start = time.monotonic()
    for number in range(1000):
        pool.backend.create(a_volume(pool, f"v{number}", size=GIB), nothing)
    assert len(list(pool.backend.images())) == 1000
    assert time.monotonic() - start < 5.0


def test_a_pool_is_as_large_as_it_was_said_to_be() -> None:
    pool = memory("sim", 10 * GIB)
    assert pool.backend.allocation is Allocation.THICK
    assert pool.backend.capacity(Allocation.THICK).largest == 10 * GIB


@pytest.mark.parametrize("reserve", ["10%", "1GiB"])
def test_the_reserve_is_never_given_out(reserve: str) -> None:
    pool = memory("sim", 10 * GIB, Options(reserve=reserve))
    assert pool.backend.capacity(Allocation.THICK).largest == 9 * GIB


@pytest.mark.parametrize("ratio", [1.1, 1.5, 2.0, 3.3, 10])
def test_no_ratio_is_lost_in_rounding(ratio: float) -> None:
    pool = memory("sim", 10 * GIB, Options(overcommit=ratio))
    size = pool.backend.capacity(Allocation.SPARSE).largest
    pool.backend.create(a_volume(pool, size=size, allocation=Allocation.SPARSE), nothing)
    assert pool.backend.capacity(Allocation.SPARSE).largest == 0
    assert size == int(10 * GIB * round(ratio * 10)) // 10 // 4096 * 4096


def test_a_snapshot_costs_what_its_source_may_overwrite(under_test: MemoryUnderTest) -> None:
    volume = create_volume(under_test, size=GIB, allocation=Allocation.THICK)
    device = under_test.pool.backend.attach(volume, read_only=False)
    under_test.write(device, 0, b"x" * MIB)
    before = under_test.pool.backend.capacity(Allocation.THICK).largest
    create_snapshot(under_test, volume)
    assert before - under_test.pool.backend.capacity(Allocation.THICK).largest == MIB


def test_faults_can_be_made_to_appear_and_to_go(under_test: MemoryUnderTest) -> None:
    volume = create_volume(under_test)
    backend, host = simulated(under_test.pool)
    device = backend.attach(volume, read_only=False)
    fault = Fault(FaultKind.FILESYSTEM_ERRORS, "sector 7 cannot be read")
    for image_id in (volume.id, None):
        backend.set_faults(image_id, fault)
        assert list(backend.faults(image_id)) == [fault]
        backend.set_faults(image_id)
        assert list(backend.faults(image_id)) == []
    host.set_faults(device, fault)
    assert list(host.faults(device)) == [fault]


def test_pools_of_one_machine_know_of_each_others_places(tmp_path: Path) -> None:
    host = MemoryHost()
    backends_under_test = [MemoryUnderTest(GIB, host=host) for _ in range(2)]
    devices = []
    for number, under_test in enumerate(backends_under_test):
        volume = formatted(under_test, FsType.EXT4, size=32 * MIB)
        devices.append(under_test.pool.backend.attach(volume, read_only=False))
        host.mount(devices[-1], tmp_path / str(number), FsType.EXT4, [], read_only=False)
    for number, device in enumerate(devices):
        mount = backends_under_test[1 - number].pool.host.mounted_at(tmp_path / str(number))
        assert mount and mount.number == device.number


@pytest.mark.parametrize("fs", [FsType.XFS, FsType.BTRFS])
def test_a_copy_that_was_not_renewed_is_not_mounted_beside_its_source(
    under_test: MemoryUnderTest, tmp_path: Path, fs: FsType
) -> None:
    volume = formatted(under_test, fs)
    copy = a_volume(under_test.pool, "copy", fs=fs, size=volume.size, source=volume.id)
    under_test.pool.backend.create(copy, nothing)
    backend, host = under_test.pool.backend, under_test.pool.host
    for copied in (volume, cloned(under_test, volume, fs=fs)):
        device = backend.attach(copied, read_only=False)
        host.mount(device, tmp_path / copied.name, fs, [], read_only=False)
    with pytest.raises(Refused):
        host.mount(backend.attach(copy, read_only=False), tmp_path / "t", fs, [], read_only=False)


def test_a_device_ends_where_it_ends(under_test: MemoryUnderTest) -> None:
    device = under_test.pool.backend.attach(create_volume(under_test, size=MIB), read_only=False)
    assert under_test.read(device, MIB - 2, 10) == bytes(2)
    with pytest.raises(OSError, match="ends"):
        under_test.write(device, MIB - 2, b"xyz")


def test_a_filesystem_that_was_overwritten_is_gone(under_test: MemoryUnderTest) -> None:
    volume = formatted(under_test, FsType.EXT4)
    device = under_test.pool.backend.attach(volume, read_only=False)
    under_test.write(device, 20, b"?" * 100)
    assert under_test.uuid(device.path) == ""
    with pytest.raises(Refused):
        under_test.pool.host.check(device, FsType.EXT4)


def test_a_device_that_was_never_attached_is_not_found(under_test: MemoryUnderTest) -> None:
    stranger = Device(Path("/dev/memory/stranger"), 1, read_only=False)
    with pytest.raises(NotFound):
        under_test.pool.host.size(stranger)
    with pytest.raises(NotFound):
        under_test.read(stranger, 0, 1)


def test_only_what_is_mounted_grows(under_test: MemoryUnderTest, tmp_path: Path) -> None:
    device = under_test.pool.backend.attach(formatted(under_test, FsType.EXT4), read_only=False)
    with pytest.raises(Refused):
        under_test.pool.host.grow(device, tmp_path, FsType.EXT4)
