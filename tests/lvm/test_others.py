"""Who else works with volume groups: guests, administrators, and disks that go away."""

from __future__ import annotations

import struct
import subprocess
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest

from driver.backends.lvm import opening
from driver.backends.lvm.backend import Lvm
from driver.backends.lvm.options import Options
from driver.backends.lvm.provisioning.thick import Thick
from driver.backends.lvm.provisioning.thin import Thin
from driver.backends.lvm.tags import lv_name
from driver.core.errors import Conflict, NoSpace, OutOfRange, PoolReadOnly, PoolUnavailable
from driver.core.model import MIB, VolumeOptions
from driver.core.ports.memory_records import MemoryRecords
from driver.core.ports.records import Records
from driver.linux.devices import dm
from driver.linux.devices.lvm import CONFIG
from driver.linux.host import LinuxHost
from driver.linux.mounts import mount_points
from tests.lvm.conftest import GIB, THIN_POOL, MakeGroup, lvm, named, said, volumes
from tests.lvm.pools import OWNER, a_volume, begins_with, create_volume, opened, write

DMSETUP = ("env", "DM_DISABLE_UDEV=1", "dmsetup")  # makes its nodes itself


def on(disk: Path | str, verb: str, *words: str) -> str:
    """A command that sees one disk only."""
    return said("lvm", verb, "--config", CONFIG, "--devices", str(disk), "--yes", *words)


def a_group_of_the_same_name(disk: str) -> None:
    """Another group called `cellar`, as another machine would make it: there /dev is empty."""
    folder, aside = Path("/dev/cellar"), Path("/dev/aside")
    if there := folder.exists():
        folder.rename(aside)
    try:
        on(disk, "vgcreate", "cellar", disk)
    finally:
        if there:
            aside.rename(folder)


def a_disk(location: Path, size: int = GIB) -> str:
    with location.open("wb") as file:
        file.truncate(size)
    return said("losetup", "--find", "--show", str(location))


def test_a_group_of_the_same_name_inside_a_volume_changes_nothing(make_group: MakeGroup) -> None:
    location = make_group("cellar", size=2 * GIB)
    with opened(location) as pool:
        before = pool.id
        volume = create_volume(pool, "guest", size=256 * MIB)
        device = pool.attach(volume, read_only=False)
        inside = said("losetup", "--find", "--show", str(device.path))  # as kubelet does it
        a_group_of_the_same_name(inside)
        on(inside, "lvcreate", "--size", "16m", "--activate", "n", "--name", "theirs", "cellar")
    try:
        with opened(location) as pool:
            assert pool.id == before
            assert [image.name for image in pool.images()] == ["guest"]
            create_volume(pool, "another")
        assert "theirs" not in said("dmsetup", "ls")
        assert on(inside, "lvs", "--noheadings", "-o", "lv_name").split() == ["theirs"]
    finally:
        said("losetup", "--detach", inside)
    with opened(location) as pool:
        pool.detach(volume.id)
        assert pool.id == before


def refused(location: str, options: Options | None = None, known: Records | None = None) -> str:
    with opened(location, options, known) as pool:
        with pytest.raises(PoolUnavailable) as caught:
            list(pool.images())
        return str(caught.value)


def uuid_on(disk: str) -> str:
    return on(disk, "vgs", "--noheadings", "-o", "vg_uuid").strip()


def test_a_group_that_is_missing_exported_or_doubled_is_no_pool(
    make_group: MakeGroup, tmp_path: Path
) -> None:
    assert "no volume group nowhere" in refused("nowhere")
    location = make_group("cellar", size=GIB)
    [disk] = named()
    assert "no thin pool" in refused(f"{location}/{THIN_POOL}")
    lvm("vgexport", location)
    assert "exported" in refused(location)
    lvm("vgimport", location)
    second = a_disk(tmp_path / "second")
    a_group_of_the_same_name(second)
    both = Options(devices=(disk, second))
    try:
        assert "2 volume groups" in refused(location, both)
        assert "2 volume groups" not in refused(location, replace(both, uuid=uuid_on(second)[::-1]))
        with opened(location, replace(both, uuid=uuid_on(disk))) as pool:
            create_volume(pool, "v")
            assert volumes_on(second) == []
    finally:
        on(second, "vgremove", "cellar")
        said("losetup", "--detach", second)
    with opened(location) as pool:
        assert [image.name for image in pool.images()] == ["v"]


def volumes_on(disk: str) -> list[str]:
    return on(disk, "lvs", "--noheadings", "-o", "lv_name").split()


def test_a_group_is_its_uuid_once_it_was_known(make_group: MakeGroup, tmp_path: Path) -> None:
    location = make_group("cellar", size=GIB)
    [disk] = named()
    known = MemoryRecords()
    with opened(location, known=known) as pool:
        before = pool.id
        create_volume(pool, "v")
    assert known.items()["lvm:cellar"]["group"] == uuid_on(disk)
    second = a_disk(tmp_path / "second")
    a_group_of_the_same_name(second)
    try:
        with opened(location, Options(devices=(disk, second)), known) as pool:
            assert pool.id == before  # told apart
            assert [image.name for image in pool.images()] == ["v"]
        options = Options(devices=(second,))
        assert "cellar pools init" in refused(location, options, known)
        assert "uuid=" in refused(location, replace(options, uuid=uuid_on(disk)))
        opening.initialise_pool("vg", location, options, OWNER, known)
        with pytest.raises(Conflict):
            opening.initialise_pool("vg", location, options, OWNER, known)
        with opened(location, options, known) as pool:
            assert pool.id != before
        with opened(location, Options(devices=(disk,), uuid=uuid_on(disk)), known) as pool:
            assert pool.id == before
        assert known.items()["lvm:cellar"]["group"] == uuid_on(disk)
    finally:
        on(second, "vgremove", "cellar")
        said("losetup", "--detach", second)


def test_a_thin_pool_that_was_made_anew_is_another_one(make_group: MakeGroup) -> None:
    location = make_group("cellar", size=2 * GIB, thin=128 * MIB)
    options, known = Options(devices=named()), MemoryRecords()
    with opened(location, options, known) as pool:
        before = pool.id
    lvm("lvremove", location)
    assert "no thin pool" in refused(location, options, known)
    lvm("lvcreate", "--type", "thin-pool", "--size", "128m", "--name", THIN_POOL, "cellar")
    assert "has another UUID" in refused(location, options, known)
    opening.initialise_pool("vg", location, options, OWNER, known)
    with opened(location, options, known) as pool:
        assert pool.id != before


def forge(disk: str, group: str) -> None:
    """What a tenant writes: a group with the name and the tags of the node's own."""
    a_group_of_the_same_name(disk)
    on(disk, "vgchange", "--addtag", "cellar.owner=cellar.test", group)


def a_partition_table(start: int, sectors: int) -> bytes:
    """With one partition: the form of MS-DOS."""
    entry = struct.pack("<B3xB3xII", 0, 0x83, start, sectors)
    return bytes(446) + entry + bytes(48) + b"\x55\xaa"


def guests_disks(pool: Lvm, tmp_path: Path, undo: ExitStack) -> Iterator[str]:
    """Every way in which what a tenant writes can turn up as a device of its own."""
    volume = create_volume(pool, "guest", size=256 * MIB)
    undo.callback(pool.delete, volume.id)
    device = pool.attach(volume, read_only=False)
    undo.callback(pool.detach, volume.id)
    yield str(device.path)
    inside = said("losetup", "--find", "--show", str(device.path))  # as kubelet does it
    undo.callback(said, "losetup", "--detach", inside)
    yield inside
    said("losetup", "--detach", inside)
    write(device.path, a_partition_table(start=2048, sectors=400_000))
    said("losetup", "--partscan", inside, str(device.path))
    yield f"{inside}p1"
    said(*DMSETUP, "create", "nested", "--table", f"0 200000 linear {inside} 2048")
    undo.callback(said, *DMSETUP, "remove", "nested")
    yield "/dev/mapper/nested"
    image = tmp_path / f"{volume.id}" / "disk.img"  # as in a pool of loop files
    image.parent.mkdir()
    file = a_disk(image, 256 * MIB)
    undo.callback(said, "losetup", "--detach", file)
    yield file
    other = a_disk(tmp_path / "somebody's.img", 256 * MIB)
    undo.callback(said, "losetup", "--detach", other)
    yield other


def test_what_a_tenant_wrote_is_never_looked_at(make_group: MakeGroup, tmp_path: Path) -> None:
    location = make_group("cellar", size=GIB)
    own = Options(devices=named())
    with ExitStack() as undo, opened(location, own) as pool:
        before = pool.id
        for disk in guests_disks(pool, tmp_path, undo):
            forge(disk, "cellar")
            try:
                uuid = uuid_on(disk)
                pool.close()
                with opened(location, own) as reopened:
                    assert reopened.id == before
                    assert reopened.capacity(reopened.allocation).largest > 256 * MIB
                patterns = ("/dev/loop*", "/dev/dm-*", "/dev/mapper/*", "/dev/*/*")
                assert "no volume group" in refused(location, Options(devices=patterns, uuid=uuid))
                by_mistake = Options(devices=(disk,), uuid=uuid)
                if "somebody" not in said("losetup", "--all", "--list"):
                    assert "no volume group" in refused(location, by_mistake)
            finally:
                on(disk, "vgremove", "cellar")
                on(disk, "pvremove", disk)


def test_a_copy_of_its_disk_is_not_its_disk(make_group: MakeGroup, tmp_path: Path) -> None:
    """With the very UUIDs: LVM would take the copy that was changed last."""
    location = make_group("cellar", size=256 * MIB)
    [disk] = named()
    with opened(location) as pool:
        create_volume(pool, "v")
    said("cp", "--sparse=always", disk, str(tmp_path / "copy"))
    copy = said("losetup", "--find", "--show", str(tmp_path / "copy"))
    try:
        on(copy, "vgchange", "--addtag", "theirs", "cellar")
        with opened(location, Options(devices=(disk,))) as pool:
            create_volume(pool, "w")
            assert {image.name for image in pool.images()} == {"v", "w"}
        assert "theirs" not in on(disk, "vgs", "--noheadings", "-o", "vg_tags")
    finally:
        said("losetup", "--detach", copy)


def test_a_group_that_lacks_a_disk_is_no_pool(make_group: MakeGroup, tmp_path: Path) -> None:
    location = make_group("cellar", size=GIB)
    second = a_disk(tmp_path / "second")
    lvm("vgextend", location, second)
    with opened(location, Options(devices=named(tmp_path / "second"))) as pool:
        create_volume(pool, "v")
        said("losetup", "--detach", second)
        with pytest.raises(PoolUnavailable, match="not whole"):
            list(pool.images())
        device = said("losetup", "--find", "--show", str(tmp_path / "second"))
        assert [image.name for image in pool.images()] == ["v"]
    lvm("vgreduce", location, device)
    lvm("pvremove", device)
    said("losetup", "--detach", device)


def test_a_group_that_an_administrator_extends_stays_available(
    make_group: MakeGroup, tmp_path: Path
) -> None:
    location = make_group("cellar", size=256 * MIB)
    second = a_disk(tmp_path / "second")
    with opened(location, Options(devices=named(second))) as pool:
        before = pool.capacity(pool.allocation).largest
        lvm("vgextend", location, second)
        assert pool.capacity(pool.allocation).largest > before + 900 * MIB
        lvm("vgreduce", location, second)
        assert pool.capacity(pool.allocation).largest == before
    lvm("pvremove", second)
    said("losetup", "--detach", second)


def test_a_name_that_stands_for_another_device_is_not_believed(
    make_group: MakeGroup, tmp_path: Path
) -> None:
    """The disk is let go of, and a volume of somebody gets the number of its loop device."""
    location = make_group("cellar", size=GIB)
    second = a_disk(tmp_path / "second", 256 * MIB)
    on(second, "vgcreate", "other", second)
    image = tmp_path / f"{'0' * 12}-{'1' * 32}" / "disk.img"
    image.parent.mkdir()
    with opened("other", Options(devices=(second,))) as pool:
        create_volume(pool, "v")
        lvm("vgchange", "--activate", "n", "other")
        said("cp", "--sparse=always", str(tmp_path / "second"), str(image))
        said("losetup", "--detach", second)
        said("losetup", second, str(image))
        on(second, "vgchange", "--addtag", "theirs", "other")
        with pytest.raises(PoolUnavailable, match="no volume group other"):
            list(pool.images())
    assert location and on(second, "pvremove", "--force", "--force", second) is not None
    said("losetup", "--detach", second)


def test_a_group_of_somebody_else_is_not_taken(make_group: MakeGroup) -> None:
    location = make_group("cellar", size=GIB)
    lvm("lvcreate", "--size", "16m", "--name", "theirs", location)
    assert "init" in refused(location)
    with opened(location, Options(init=True)) as pool:
        assert list(pool.images()) == []
        create_volume(pool, "v")
    assert "theirs" in volumes(location)
    lvm("vgchange", "--deltag", "cellar.owner=cellar.test", "--addtag", "cellar.owner=b", location)
    assert "belongs to the driver 'b'" in refused(location)


def test_a_second_process_does_not_get_the_pool(make_group: MakeGroup) -> None:
    location = make_group("cellar", size=GIB)
    with opened(location) as pool:
        assert pool.id
        assert "another process" in refused(location)


@pytest.mark.timeout(1800)
@pytest.mark.slow
@pytest.mark.parametrize("count", [8, 100])
def test_creates_beside_an_administrator_all_succeed(location: str, count: int) -> None:
    stop = threading.Event()
    errors: list[str] = []

    def administrate() -> None:
        group = location.partition("/")[0]
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

    with opened(location, Options(init=True)) as pool, ThreadPoolExecutor(4) as threads:
        admin = threads.submit(administrate)
        try:
            volume_names = [f"v{number}" for number in range(count)]
            list(threads.map(lambda name: create_volume(pool, name), volume_names))
        finally:
            stop.set()
        admin.result()
        assert len(list(pool.images())) == len(volume_names)
        for image in pool.images():
            pool.delete(image.id)
    assert errors == []
    lvm("vgck", location.partition("/")[0])
    assert volumes(location) == []


def test_a_thin_pool_that_fills_up_hangs_nobody_and_takes_nothing_new(
    make_group: MakeGroup,
) -> None:
    location = make_group("cellar", size=2 * GIB, thin=128 * MIB)
    with opened(location, Options(overcommit=4.0)) as pool:
        volume = create_volume(pool, "v", size=256 * MIB)
        device = pool.attach(volume, read_only=False)
        with pytest.raises(OSError):
            write(device.path, b"x" * volume.size)
        assert pool.capacity(pool.allocation).largest == 0
        assert [fault.kind for fault in pool.faults(None)] == ["ThinPoolNearlyFull"]
        with pytest.raises(NoSpace):
            create_volume(pool, "w", size=4 * MIB)
        lvm("lvextend", "--size", "+256m", location)
        write(device.path, b"x" * volume.size)
        assert pool.capacity(pool.allocation).largest > 0
        pool.detach(volume.id)
        pool.delete(volume.id)


def test_a_thin_pool_that_runs_full_while_a_volume_is_made_has_no_space(
    make_group: MakeGroup,
) -> None:
    location = make_group("cellar", size=2 * GIB, thin=128 * MIB)
    with opened(location, Options(overcommit=4.0)) as pool:
        volume = a_volume(pool, "v", 256 * MIB)
        with pytest.raises(NoSpace, match="full"):
            pool.create(volume, lambda to: write(to, b"x" * volume.size))
        assert volumes(location) == []
        create_volume(pool, "w")
        empty(pool)


def test_a_growth_that_an_administrator_was_quicker_than_is_out_of_range(
    location: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with opened(location) as pool:
        volume = create_volume(pool, "v")
        for kind in (Thick, Thin):  # what the books said a moment ago
            monkeypatch.setattr(kind, "_refuse_too_large", lambda *_, **__: None)
        if pool.shares(volume.id):  # LVM itself overcommits a thin pool
            pool.resize(volume, 16 * MIB)
        else:
            with pytest.raises(OutOfRange, match="are needed"):
                pool.resize(volume, 100 * GIB)
            with pytest.raises(NoSpace, match="are needed"):
                create_volume(pool, "w", size=100 * GIB)
            assert len(volumes(location)) == 1
        empty(pool)


def test_a_disk_that_dies_makes_the_pool_away_and_its_volumes_come_off(tmp_path: Path) -> None:
    """Below it lies a device whose table can be replaced by one that answers EIO."""
    disk_below = a_disk(tmp_path / "disk_below")
    sectors = GIB // 512
    said(*DMSETUP, "create", "ill", "--table", f"0 {sectors} linear {disk_below} 0")
    disk = "/dev/mapper/ill"
    try:
        on(disk, "vgcreate", "sick", disk)
        with opened("sick", Options(devices=(disk,))) as pool:
            volume, spare = create_volume(pool, "v", b"here"), create_volume(pool, "w")
            device = pool.attach(volume, read_only=False)
            switch(f"0 {sectors} error")
            for call in (
                lambda: list(pool.images()),
                lambda: pool.capacity(pool.allocation),
                lambda: create_volume(pool, "new"),
                lambda: pool.delete(spare.id),
                lambda: pool.resize(spare, 64 * MIB),
            ):
                with pytest.raises(PoolUnavailable):
                    call()
            assert pool.state().unavailable and pool.state().capacity.largest == 0
            assert [fault.severity for fault in pool.faults(volume.id)] == ["inaccessible"]
            assert mount_points.label(device.number) == str(volume.id)
            LinuxHost().release(str(volume.id), lambda _: None)
            assert dm.find(lv_name(volume.id)) is None
            switch(f"0 {sectors} linear {disk_below} 0")
            assert begins_with(pool, volume.id, b"here")
            empty(pool)
        on(disk, "vgremove", "sick")
    finally:
        said(*DMSETUP, "remove", "--force", "ill")
        said("losetup", "--detach", disk_below)


def switch(table: str) -> None:
    said(*DMSETUP, "suspend", "--noflush", "ill")
    said(*DMSETUP, "reload", "ill", "--table", table)
    said(*DMSETUP, "resume", "ill")


def test_a_thin_pool_that_would_hang_or_leak_says_so(make_group: MakeGroup) -> None:
    location = make_group("cellar", size=GIB, thin=128 * MIB)
    lvm("lvchange", "--errorwhenfull", "n", location)
    with opened(location) as pool:
        assert [fault.kind for fault in pool.faults(None)] == ["ThinPoolQueues"]
    lvm("lvchange", "--zero", "n", location)
    assert "lvchange --zero y" in refused(location)


def test_what_was_left_suspended_is_resumed(make_group: MakeGroup) -> None:
    location = make_group("cellar", size=GIB)
    with opened(location) as pool:
        volume = create_volume(pool, "v")
        device = pool.attach(volume, read_only=False)
        [lower] = [
            name for name in said("dmsetup", "ls").split() if name.startswith("cellar-cellar")
        ]
    for name in (str(device.path), lower):
        said("dmsetup", "suspend", "--noudevsync", name)
    with opened(location) as pool:
        write(device.path, b"x")
        pool.detach(volume.id)
        empty(pool)


def test_a_volume_is_not_active_after_a_reboot_until_it_is_attached(make_group: MakeGroup) -> None:
    location = make_group("cellar", size=GIB)
    with opened(location) as pool:
        volume = create_volume(pool, "v")
    lvm("vgchange", "--activate", "n", location)
    lvm("vgchange", "--activate", "ay", location)  # what a boot does
    assert "cellar-cellar" not in said("dmsetup", "ls")
    with opened(location) as pool:
        assert pool.attached(volume.id) is None
        write(pool.attach(volume, read_only=False).path, b"x")
        pool.detach(volume.id)
        empty(pool)


def empty(pool: Lvm) -> None:
    for image in pool.images():
        pool.delete(image.id)


@pytest.mark.parametrize("thin", [False, True], ids=["thick", "thin"])
def test_a_group_whose_disk_is_read_only_is_known_and_takes_nothing(
    make_group: MakeGroup, *, thin: bool
) -> None:
    location = make_group("cellar", size=2 * GIB, thin=GIB if thin else 0)
    with opened(location) as pool:
        volume, other = create_volume(pool, "v"), create_volume(pool, "w")
        device = pool.attach(volume, read_only=False)
        disks = lvm("pvs", "--noheadings", "-o", "pv_name", "--select", "vg_name=cellar").split()
        said("blockdev", "--setro", *disks)
        with pytest.raises(PoolReadOnly):
            pool.capacity(pool.allocation)
        for change in (
            lambda: create_volume(pool, "new"),
            lambda: pool.delete(other.id),
            lambda: pool.resize(other, 64 * MIB),
            lambda: pool.record(replace(other, options=VolumeOptions(mkfs_options=("-L", "x")))),
        ):
            with pytest.raises(PoolReadOnly):
                change()
        assert [fault.kind for fault in pool.faults(None)][-1] == "PoolReadOnly"
        state = pool.state()
        assert (state.id, state.volumes, bool(state.unavailable)) == (pool.id, 2, True)
        assert pool.attached(volume.id) == device
        pool.detach(volume.id)
    with opened(location) as reopened:
        assert {image.name for image in reopened.images()} == {"v", "w"}
        said("blockdev", "--setrw", *disks)
        assert reopened.capacity(reopened.allocation).largest > 0
        reopened.delete(other.id)
