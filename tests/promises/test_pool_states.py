"""A pool that cannot be used says so, loses nothing, and heals; see docs/architecture.md."""

from __future__ import annotations

import fcntl
import os
import shutil
import struct
from collections.abc import Callable
from pathlib import Path

import pytest

from csi_proto import csi_pb2 as pb
from tests.support.client import Csi, outcome
from tests.support.disks import MIB, Disk, run
from tests.support.node import Node
from tests.support.waiting import wait_until

FILESYSTEMS = ("ext4", "xfs", "btrfs")
GOINGDOWN = 0x8004587D  # _IOR('X', 125, __u32) of <xfs/xfs_fs.h>; ext4 has it too
every_filesystem = pytest.mark.parametrize("fs", FILESYSTEMS)


def storage_faults(csi: Csi) -> list[str]:
    answer = csi.node.NodeGetStorageHealth(pb.NodeGetStorageHealthRequest())
    return [str(answer)] if answer.ListFields() else []


def storing_calls(csi: Csi, volume: str, snapshot: str) -> dict[str, str]:
    take = pb.CreateSnapshotRequest(name="t", source_volume_id=volume)
    group = pb.CreateVolumeGroupSnapshotRequest(name="g", source_volume_ids=[volume])
    return {
        "create": outcome(lambda: csi.create("new")),
        "expand": outcome(lambda: csi.expand(volume, 96 * MIB)),
        "snapshot": outcome(lambda: csi.controller.CreateSnapshot(take, timeout=20)),
        "group": outcome(lambda: csi.group.CreateVolumeGroupSnapshot(group, timeout=20)),
        "delete snapshot": outcome(lambda: csi.delete_snapshot(snapshot)),
    }


def listed_as_ill(csi: Csi) -> dict[str, bool]:
    entries = csi.controller.ListVolumes(pb.ListVolumesRequest()).entries
    return {one.volume.volume_id: one.status.volume_condition.abnormal for one in entries}


def fill(disk: Disk) -> Path:
    """Somebody else takes all the room there is."""
    path = disk.where / "foreign"
    fd, at = os.open(path, os.O_CREAT | os.O_WRONLY), 0
    for step in (16 * MIB, MIB, 65536, 4096):
        try:
            while True:
                os.posix_fallocate(fd, at, step)
                at += step
        except OSError:
            continue
    os.close(fd)
    return path


@every_filesystem
@pytest.mark.parametrize("restarted", [False, True], ids=["running", "restarted"])
def test_a_pool_that_turned_read_only(node: Node, fs: str, *, restarted: bool) -> None:
    disk = node.disk(fs)
    csi = node.start(f"p=loopfile:{disk.where}")
    life, other = (node.life(csi, csi.create(name, size=64 * MIB).volume_id) for name in "vo")
    snapshot = csi.snapshot("s", life.volume_id).snapshot_id
    csi.attach(life.volume_id)
    life.up()
    data = life.write()
    life.down()
    if restarted:
        csi.driver.kill()
    run("mount", "-o", "remount,ro", disk.where)
    if restarted:
        csi.driver.start()
    assert csi.capacity().available_capacity == 0
    assert "read-only" in "".join(storage_faults(csi))
    assert listed_as_ill(csi) == {life.volume_id: True, other.volume_id: True}
    assert set(storing_calls(csi, life.volume_id, snapshot).values()) == {"UNAVAILABLE"}
    assert outcome(lambda: csi.delete(other.volume_id)) == "UNAVAILABLE"
    assert outcome(life.stage) == "UNAVAILABLE"
    csi.attach(other.volume_id)
    for one in (life, other):
        csi.detach(one.volume_id)
    run("mount", "-o", "remount,rw", disk.where)
    wait_until(lambda: csi.capacity().available_capacity > 0)
    assert storage_faults(csi) == []
    life.up()
    assert life.read() == data
    life.down()
    csi.delete(life.volume_id)
    csi.delete(other.volume_id)
    csi.delete_snapshot(snapshot)
    assert disk.entries() == [".cellar-pool.json"]


def test_what_is_mounted_comes_off_a_pool_that_turned_read_only_by_itself(node: Node) -> None:
    """As ext4 does it after an error of its disk, with images that are open for writing."""
    disk = node.disk("ext4")
    run("mount", "-o", "remount,errors=remount-ro", disk.where)
    csi = node.start(f"p=loopfile:{disk.where}")
    life = node.life(csi, csi.create("v", size=64 * MIB).volume_id)
    csi.attach(life.volume_id)
    life.up()
    data = life.write()
    [device] = {
        line.split(" - ")[1].split()[1].removeprefix("/dev/")
        for line in Path("/proc/self/mountinfo").read_text().splitlines()
        if line.split()[4] == str(disk.where)
    }
    Path("/sys/fs/ext4", device, "trigger_fs_error").write_text("a test")
    wait_until(lambda: csi.capacity().available_capacity == 0)
    assert "read-only" in "".join(storage_faults(csi))
    assert outcome(lambda: csi.create("w")) == "UNAVAILABLE"
    assert life.read() == data
    life.down()
    csi.detach(life.volume_id)
    assert node.mounts() == []
    assert not node.loops()


@pytest.mark.parametrize("fs", ["ext4", "xfs"])
def test_a_pool_whose_filesystem_shut_down(node: Node, fs: str) -> None:
    disk = node.disk(fs)
    csi = node.start(f"p=loopfile:{disk.where}")
    life = node.life(csi, csi.create("v", size=64 * MIB).volume_id)
    snapshot = csi.snapshot("s", life.volume_id).snapshot_id
    csi.attach(life.volume_id)
    fd = os.open(disk.where, os.O_RDONLY)
    fcntl.ioctl(fd, GOINGDOWN, struct.pack("=I", 1))  # after a flush of its log
    os.close(fd)
    calls = storing_calls(csi, life.volume_id, snapshot)
    assert set(calls.values()) == {"UNAVAILABLE"}, calls
    assert outcome(lambda: csi.delete(life.volume_id)) in {"UNAVAILABLE", "FAILED_PRECONDITION"}
    assert outcome(life.stage) == "UNAVAILABLE"
    assert csi.capacity().available_capacity == 0
    assert storage_faults(csi)
    assert csi.probe()
    csi.detach(life.volume_id)
    disk.pull()
    wait_until(lambda: outcome(lambda: csi.create("new")) == "UNAVAILABLE")
    disk.mount()
    wait_until(lambda: csi.capacity().available_capacity > 0)
    csi.delete(life.volume_id)
    csi.delete_snapshot(snapshot)


@every_filesystem
def test_a_full_pool_is_used_as_far_as_that_needs_no_room(node: Node, fs: str) -> None:
    disk = node.disk(fs)
    csi = node.start(f"p=loopfile:{disk.where}")
    life = node.life(csi, csi.create("v", size=64 * MIB).volume_id)
    other = csi.create("other", size=64 * MIB).volume_id
    fill(disk)
    csi.driver.kill()
    csi.driver.start()
    assert set(csi.volumes()) == {life.volume_id, other}
    assert csi.capacity().available_capacity == 0
    assert outcome(lambda: csi.create("new")) == "RESOURCE_EXHAUSTED"
    assert outcome(lambda: csi.expand(other, 400 * MIB)) == "OUT_OF_RANGE"
    csi.attach(life.volume_id)
    life.up()
    data = life.write()
    assert life.read() == data
    life.down()
    csi.detach(life.volume_id)
    assert "full" in "".join(storage_faults(csi)) or "MiB left" in "".join(storage_faults(csi))
    csi.delete(other)
    csi.delete(life.volume_id)
    assert not csi.volumes()


@every_filesystem
def test_what_was_unpublished_while_the_pool_was_away_is_unpublished(node: Node, fs: str) -> None:
    disk = node.disk(fs)
    csi = node.start(f"p=loopfile:{disk.where}")
    volume = csi.create("v").volume_id
    csi.attach(volume)
    disk.pull()
    csi.detach(volume)
    csi.driver.kill()
    disk.mount()
    csi.driver.start()
    csi.delete(volume)


@every_filesystem
def test_a_folder_that_somebody_removed_is_no_reason_to_keep_its_volume(
    node: Node, fs: str
) -> None:
    disk = node.disk(fs)
    csi = node.start(f"p=loopfile:{disk.where}")
    before = csi.capacity().available_capacity
    volume = csi.create("v", size=64 * MIB).volume_id
    shutil.rmtree(disk.where / volume)
    assert outcome(node.life(csi, volume).stage) == "DATA_LOSS"
    csi.delete(volume)
    csi.delete(volume)
    assert csi.create("v", size=64 * MIB).volume_id == volume
    csi.delete(volume)
    assert abs(csi.capacity().available_capacity - before) < 4 * MIB


@every_filesystem
def test_a_grave_that_could_not_be_cleared_is_cleared_later(node: Node, fs: str) -> None:
    disk = node.disk(fs)
    csi = node.start(f"p=loopfile:{disk.where}")
    volume = csi.create("v", size=64 * MIB).volume_id
    run("chattr", "+i", disk.where / volume / "disk.img")
    assert outcome(lambda: csi.delete(volume)) != "OK"
    [grave] = [one for one in disk.entries() if one.startswith(".del-")]
    csi.create("other")  # tries it again, in vain
    assert "cannot be removed" in "".join(storage_faults(csi))
    run("chattr", "-i", disk.where / grave / "disk.img")
    assert outcome(lambda: csi.delete(volume)) == "OK"
    csi.create("another")
    assert grave not in disk.entries()
    assert storage_faults(csi) == []


@every_filesystem
def test_the_sweep_takes_what_is_ours_and_nothing_else(node: Node, fs: str) -> None:
    disk = node.disk(fs)
    csi = node.start(f"p=loopfile:{disk.where}")
    volume = csi.create("v").volume_id
    csi.driver.kill()
    theirs = [".new-photos", ".del-old", f".new-{volume}x", ".probe-mine", "letter.tmp"]
    for name in theirs:
        (disk.where / name).mkdir()
        (disk.where / name / "keep").touch()
    link = disk.where / f".del-{volume}-0123456789abcdef"
    link.symlink_to(disk.where / volume)
    ours = [f".new-{volume}", ".probe-a1b2c3d4", f".cellar-pool.json.{volume[:12]}"]
    (disk.where / ours[0]).mkdir()
    for name in (*ours[1:], f"{volume}/volume.json.tmp", f"{volume}/attached.json.tmp"):
        (disk.where / name).touch()
    csi.driver.start()
    assert list(csi.volumes()) == [volume]
    entries = disk.entries()
    assert set(theirs) <= set(entries)
    assert not set(ours) & set(entries)
    assert sorted(os.listdir(disk.where / volume)) == ["disk.img", "volume.json"]
    assert (disk.where / volume / "disk.img").stat().st_size > 0


@every_filesystem
def test_two_pools_on_one_filesystem_promise_its_room_once(node: Node, fs: str) -> None:
    disk = node.disk(fs)
    wheres = [disk.where / name for name in "ab"]
    for where in wheres:
        where.mkdir()
    specs = [f"{where.name}=loopfile:{where},init=true" for where in wheres]
    csi = node.start(*specs)

    def room(pool: str) -> int:
        return int(csi.capacity(parameters={"pool": pool}).available_capacity)

    assert abs(room("a") - room("b")) < 4 * MIB
    before = room("b")
    life = node.life(csi, csi.create("v", size=96 * MIB, parameters={"pool": "a"}).volume_id)
    assert before - room("b") > 90 * MIB
    life.up()
    first = life.write("data", 48 * MIB)
    if fs != "ext4":  # a snapshot that shares its bytes may cost them once more
        owed = room("b")
        csi.snapshot("s", life.volume_id)
        assert owed - room("b") > 40 * MIB
    most = room("b")
    most -= most % 4096
    created = outcome(lambda: csi.create("more", size=most + MIB, parameters={"pool": "b"}))
    assert created == "RESOURCE_EXHAUSTED"
    csi.create("most", size=most - 8 * MIB, parameters={"pool": "b"})
    again = life.write("data", 48 * MIB)  # every byte of what the thick volume has
    assert life.read("data") == again != first
    life.down()


def test_descriptors_that_run_out_drop_nothing(node: Node) -> None:
    disk = node.disk("xfs")
    csi = node.start(f"p=loopfile:{disk.where}")
    volume = csi.create("v").volume_id
    pid = csi.driver.pid
    low = f"--nofile={len(os.listdir(f'/proc/{pid}/fd'))}"
    codes: set[str] = set()
    run("prlimit", f"--pid={pid}", f"{low}:")
    ways: list[Callable[[], object]] = [csi.capacity, lambda: csi.attach(volume)]
    for _ in range(5):
        codes |= {outcome(way) for way in ways}
    run("prlimit", f"--pid={pid}", "--nofile=1024:")
    assert codes <= {"OK", "UNAVAILABLE"}, codes
    assert "let go of" not in csi.driver.log.read_text()
    assert list(csi.volumes()) == [volume]
    csi.create("w")


def test_init_makes_no_pool_in_the_place_of_a_missing_disk(node: Node) -> None:
    disk = node.disk("ext4")
    csi = node.start(f"p=loopfile:{disk.where},init=true")
    volume = csi.create("v").volume_id
    for _ in range(2):
        disk.pull()
        assert outcome(lambda: csi.create("new")) == "UNAVAILABLE"
        csi.driver.kill()
        csi.driver.start()
        assert outcome(lambda: csi.create("new")) == "UNAVAILABLE"
        assert csi.capacity().available_capacity == 0
        assert os.listdir(disk.where) == []
        disk.mount()
        wait_until(lambda: list(csi.volumes()) == [volume])
    assert csi.create("v").volume_id == volume


@every_filesystem
def test_another_process_on_the_same_filesystem_is_warned_of(node: Node, fs: str) -> None:
    disk = node.disk(fs)
    wheres = [disk.where / name for name in "ab"]
    for where in wheres:
        where.mkdir()
    first, second = (node.start(f"p=loopfile:{where},init=true") for where in wheres)
    assert "both commit its free space" not in first.driver.log.read_text()
    warned = second.driver.log.read_text()
    assert f"process {first.driver.pid} has the pool {wheres[0]} " in warned
    assert "both commit its free space" in warned
