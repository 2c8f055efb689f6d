"""Promise 5: a pool that is not there is not a pool, and it has one master."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from csi_proto import csi_pb2 as pb
from tests.support.client import Csi, of_snapshot, of_volume, outcome, refused
from tests.support.disks import MIB
from tests.support.node import Life, Node
from tests.support.waiting import wait_until

FILESYSTEMS = ("ext4", "xfs", "btrfs")
AWAY = ("UNAVAILABLE", "FAILED_PRECONDITION", "RESOURCE_EXHAUSTED", "NOT_FOUND")


def _cellar(*words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "driver", *words]
    root = Path(__file__).parents[2]
    return subprocess.run(
        command, cwd=root, capture_output=True, text=True, timeout=30, check=False
    )


def _tree(path: Path) -> list[str]:
    return sorted(str(one.relative_to(path)) for one in path.rglob("*"))


@pytest.mark.parametrize("fs", FILESYSTEMS)
def test_an_unmounted_pool_refuses_everything_and_nothing_is_created_in_its_directory(
    node: Node, fs: str
) -> None:
    disk = node.disk(fs)
    csi = node.start(f"p=loopfile:{disk.where}")
    life = node.life(csi, csi.create("v").volume_id)
    life.up()
    data = life.write()
    life.down()
    snapshot = csi.snapshot("s", life.volume_id).snapshot_id
    disk.pull()
    assert os.listdir(disk.where) == []
    for code in _every_call(csi, life, snapshot):
        assert code == "UNAVAILABLE"
    assert csi.capacity().available_capacity == 0
    assert csi.capacity(parameters={"pool": "p"}).available_capacity == 0
    assert csi.probe()
    assert _tree(disk.where) == []
    wait_until(lambda: not node.loops())
    disk.mount()
    wait_until(lambda: outcome(lambda: csi.create("v")) == "OK")
    life.up()
    assert life.read() == data
    life.down()
    assert csi.capacity().available_capacity > 0
    assert csi.driver.stop() == 0
    assert _tree(disk.where)


def _every_call(csi: Csi, life: Life, snapshot: str) -> list[str]:
    """The status of each call that needs the pool."""
    volume = life.volume_id
    group = pb.CreateVolumeGroupSnapshotRequest(name="g", source_volume_ids=[volume])
    modify = pb.ControllerModifyVolumeRequest(
        volume_id=volume, mutable_parameters={"readIops": "0"}
    )
    take = pb.CreateSnapshotRequest(name="t", source_volume_id=volume)
    return [
        outcome(lambda: csi.create("new")),
        outcome(lambda: csi.create("new", parameters={"pool": "p"})),
        outcome(lambda: csi.create("restored", source=of_snapshot(snapshot))),
        outcome(lambda: csi.create("cloned", source=of_volume(volume))),
        outcome(lambda: csi.delete(volume)),
        outcome(lambda: csi.attach(volume)),
        outcome(lambda: csi.expand(volume, 64 * MIB)),
        outcome(lambda: csi.controller.ControllerModifyVolume(modify, timeout=10)),
        outcome(lambda: csi.controller.CreateSnapshot(take, timeout=10)),
        outcome(lambda: csi.delete_snapshot(snapshot)),
        outcome(lambda: csi.group.CreateVolumeGroupSnapshot(group, timeout=10)),
        outcome(life.stage),
    ]


def test_unpublish_and_unstage_work_while_the_pool_is_away(node: Node) -> None:
    disk = node.disk("xfs")
    csi = node.start(f"p=loopfile:{disk.where}")
    life = node.life(csi, csi.create("v").volume_id)
    life.up()
    data = life.write()
    disk.pull()
    assert life.read() == data, "a pod keeps what it has"
    life.down()
    assert node.mounts() == []
    wait_until(lambda: not node.loops())
    assert _tree(disk.where) == []
    disk.mount()
    wait_until(lambda: outcome(life.stage) == "OK")
    life.publish()
    assert life.read() == data
    life.down()


def test_a_restarted_driver_takes_down_what_is_up_while_its_pool_is_away(node: Node) -> None:
    disk = node.disk("xfs")
    csi = node.start(f"p=loopfile:{disk.where}")
    life = node.life(csi, csi.create("v").volume_id)
    life.up()
    csi.driver.kill()
    disk.pull()
    csi.driver.start()
    assert csi.capacity().available_capacity == 0
    life.down()
    assert node.mounts() == []
    wait_until(lambda: not node.loops())


def test_one_pool_that_is_away_does_not_stop_another(node: Node) -> None:
    gone, there = node.disk("ext4"), node.disk("xfs")
    csi = node.start(f"gone=loopfile:{gone.where}", f"there=loopfile:{there.where}")
    lost = csi.create("lost", parameters={"pool": "gone"}).volume_id
    gone.pull()
    assert outcome(lambda: csi.delete(lost)) == "UNAVAILABLE"
    volume = csi.create("new").volume_id
    assert (there.where / volume).exists()
    with refused("UNAVAILABLE", "RESOURCE_EXHAUSTED"):
        csi.create("other", parameters={"pool": "gone"})
    csi.delete(volume)
    gone.mount()
    wait_until(lambda: outcome(lambda: csi.delete(lost)) == "OK")


def test_a_plain_directory_does_not_become_a_pool_by_itself(node: Node) -> None:
    where = node.base / "plain"
    where.mkdir()
    csi = node.start(f"p=loopfile:{where}")
    assert csi.capacity().available_capacity == 0
    assert outcome(lambda: csi.create("v")) in AWAY
    assert _tree(where) == []


def test_a_bind_mount_of_a_folder_does_not_pass_for_a_disk(node: Node) -> None:
    folder, where = node.base / "folder", node.base / "bound"
    for one in (folder, where):
        one.mkdir()
    subprocess.run(["mount", "--bind", folder, where], check=True)
    csi = node.start(f"p=loopfile:{where}")
    assert outcome(lambda: csi.create("v")) in AWAY
    assert _tree(folder) == []


def test_a_disk_with_something_on_it_does_not_become_a_pool_by_itself(node: Node) -> None:
    disk = node.disk("ext4")
    (disk.where / "photos").mkdir()
    csi = node.start(f"p=loopfile:{disk.where}")
    assert outcome(lambda: csi.create("v")) in AWAY
    assert disk.entries() == ["photos"]


def test_a_directory_that_is_not_there_is_not_made(node: Node) -> None:
    csi = node.start(f"p=loopfile:{node.base / 'never'}")
    assert outcome(lambda: csi.create("v")) in AWAY
    assert not (node.base / "never").exists()


def test_a_plain_directory_becomes_a_pool_by_the_users_word(node: Node) -> None:
    where = node.base / "plain"
    where.mkdir()
    spec = f"p=loopfile:{where}"
    done = _cellar("pools", "init", "p", "--pool", spec)
    assert done.returncode == 0, done.stderr
    csi = node.start(spec)
    csi.create("v", parameters={"allocation": "sparse"})
    other = node.base / "other"
    other.mkdir()
    second = node.start(f"q=loopfile:{other},init=true")
    second.create("v", parameters={"allocation": "sparse"})


@pytest.mark.parametrize("fs", FILESYSTEMS)
def test_a_second_process_on_the_same_pool_refuses(node: Node, fs: str) -> None:
    disk = node.disk(fs)
    first = node.start(f"p=loopfile:{disk.where}")
    volume = first.create("v").volume_id
    half = disk.where / ".new-0123456789ab-0123456789abcdef0123456789abcdef"
    half.mkdir()  # as the first one makes while it creates
    second = node.launch(f"p=loopfile:{disk.where}")
    try:
        second.driver.connect()
    except AssertionError:
        assert not second.driver.running
        assert second.driver.wait() > 0
    else:
        assert outcome(lambda: second.create("mine")) == "UNAVAILABLE"
        assert outcome(lambda: second.delete(volume)) == "UNAVAILABLE"
        assert second.capacity().available_capacity == 0
    assert half.exists(), "a sweep without the lock"
    assert list(first.volumes()) == [volume]
    first.create("w")


def test_a_second_process_takes_over_when_the_first_one_dies(node: Node) -> None:
    disk = node.disk("xfs")
    first = node.start(f"p=loopfile:{disk.where}")
    volume = first.create("v").volume_id
    second = node.start(f"p=loopfile:{disk.where}")
    first.driver.kill()
    wait_until(lambda: outcome(lambda: second.delete(volume)) == "OK")


def test_a_pool_of_another_driver_is_refused(node: Node) -> None:
    disk = node.disk("xfs")
    csi = node.start(f"p=loopfile:{disk.where}")
    csi.create("v")
    csi.driver.stop()
    [marker] = [one for one in disk.entries() if one.startswith(".cellar-pool")]
    record = json.loads((disk.where / marker).read_text())
    record["owner"] = "other.csi.internal"
    (disk.where / marker).write_text(json.dumps(record))
    before = _tree(disk.where)
    csi.driver.start()
    assert outcome(lambda: csi.create("w")) in AWAY
    assert csi.capacity().available_capacity == 0
    assert _tree(disk.where) == before


def test_a_pool_keeps_its_volumes_wherever_its_disk_is_plugged_in(node: Node) -> None:
    disk = node.disk("btrfs")
    csi = node.start(f"p=loopfile:{disk.where}")
    life = node.life(csi, csi.create("v").volume_id)
    life.up()
    data = life.write()
    life.down()
    csi.driver.stop()
    disk.unmount()
    disk.where = node.base / "elsewhere"
    disk.mount()
    moved = node.start(f"renamed=loopfile:{disk.where}")
    again = node.life(moved, life.volume_id)
    again.up()
    assert again.read() == data
    again.down()


def test_a_pool_that_appears_after_the_start_is_used(node: Node) -> None:
    disk = node.disk("ext4")
    disk.unmount()
    csi = node.start(f"p=loopfile:{disk.where}")
    assert outcome(lambda: csi.create("v")) == "UNAVAILABLE"
    disk.mount()
    wait_until(lambda: outcome(lambda: csi.create("v")) == "OK")


def test_a_damaged_record_makes_one_volume_unusable_and_no_other(node: Node) -> None:
    disk = node.disk("xfs")
    csi = node.start(f"p=loopfile:{disk.where}")
    bad, good = csi.create("bad").volume_id, csi.create("good").volume_id
    csi.driver.stop()
    (disk.where / bad / "volume.json").write_text('{"schema": 1, "si')
    before = _tree(disk.where / bad)
    csi.driver.start()
    assert good in csi.volumes()
    life = node.life(csi, good)
    life.up()
    life.down()
    assert outcome(node.life(csi, bad).stage) != "OK"
    assert outcome(lambda: csi.create("bad")) not in ("OK", "INTERNAL", "UNKNOWN")
    assert _tree(disk.where / bad) == before
