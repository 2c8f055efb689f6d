"""Promise 11: a snapshot of a mounted volume is a point in time, and nothing is left frozen."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import grpc
import psutil
import pytest

from csi_proto import csi_pb2 as pb
from tests.promises.conftest import Served, serve
from tests.promises.promised_pool import fill_device
from tests.support.client import Csi, digest, of_snapshot, of_volume, outcome, refused
from tests.support.disks import MIB, run
from tests.support.node import EXT4_GROWS_ONLINE, Life, Node, can_write, layers, write_durably
from tests.support.waiting import wait_until

SIZES = {"ext4": 32 * MIB, "xfs": 300 * MIB, "btrfs": 256 * MIB}
SPARSE = {"allocation": "sparse"}
THAWED = 2.0  # the promise is 1 s; the machine may be busy


def _take(csi: Csi, name: str, source: str) -> pb.Snapshot:
    request = pb.CreateSnapshotRequest(name=name, source_volume_id=source)
    return csi.controller.CreateSnapshot(request, timeout=30).snapshot


@pytest.fixture(scope="module", params=["xfs", "btrfs"])
def reflink(request: pytest.FixtureRequest, shelf: Path) -> Iterator[Served]:
    """A driver on a pool that shares extents."""
    node = Node(shelf)
    try:
        yield serve(node, request.param, 1536 * MIB)
    finally:
        node.close()


def _life(served: Served, name: str, fs: str, *, size: int = 0, **how: object) -> Life:
    volume = served.csi.create_patiently(name, size or SIZES[fs], fs=fs, parameters=SPARSE, **how)
    return served.life(volume.volume_id, fs=fs)


@contextmanager
def written_to(life: Life) -> Iterator[dict[str, str]]:
    """Files are made, fsynced and then noted, as fast as it goes, while the block runs."""
    synced: dict[str, str] = {}
    stop = threading.Event()

    def write() -> None:
        number = 0
        while not stop.is_set():
            name = f"file{number % 40}-{number}"
            synced[name] = write_durably(life.target / name, 16 << 10)
            number += 1
            if number > 40:
                old = next(iter(synced))
                del synced[old]
                (life.target / old).unlink()

    thread = threading.Thread(target=write)
    thread.start()
    try:
        wait_until(lambda: len(synced) > 3)
        yield synced
    finally:
        stop.set()
        thread.join(30)


@pytest.mark.parametrize("fs", ["ext4", "xfs", "btrfs"])
def test_a_snapshot_while_it_is_written_to_has_every_fsynced_file_whole(
    reflink: Served, fs: str
) -> None:
    life = _life(reflink, "busy", fs)
    life.up()
    base = {f"base{number}": life.write(f"base{number}", 64 << 10) for number in range(8)}
    with written_to(life) as synced:
        before = dict(synced)
        snapshot = _take(reflink.csi, "busy", life.volume_id)
        still = {name: data for name, data in before.items() if name in synced}
    assert snapshot.ready_to_use
    assert can_write(life.target, THAWED)
    copy = _life(reflink, "restored", fs, source=of_snapshot(snapshot.snapshot_id))
    copy.up()
    assert {name: copy.read(name) for name in {**base, **still}} == {**base, **still}
    copy.down()
    _check_clean(reflink, copy, fs)
    for one in (life, copy):
        one.down()
        reflink.csi.delete(one.volume_id)
    reflink.csi.delete_snapshot(snapshot.snapshot_id)


def _check_clean(served: Served, life: Life, fs: str) -> None:
    """The filesystem's own checker, on the image, once its log was replayed."""
    [image] = served.disk.where.joinpath(life.volume_id).glob("*.img")
    words = {"ext4": ("e2fsck", "-fn"), "xfs": ("xfs_repair", "-n"), "btrfs": ("btrfs", "check")}
    run(*words[fs], image)


@pytest.mark.parametrize("fs", ["ext4", "xfs", "btrfs"])
def test_source_restore_and_clone_are_mounted_side_by_side(reflink: Served, fs: str) -> None:
    source = _life(reflink, "source", fs)
    source.up()
    data = source.write()
    snapshot = _take(reflink.csi, "side", source.volume_id).snapshot_id
    restored = _life(reflink, "restored", fs, source=of_snapshot(snapshot))
    cloned = _life(reflink, "cloned", fs, source=of_volume(source.volume_id))
    lives = [source, restored, cloned]
    for life in lives[1:]:
        life.up()
        assert life.read() == data
    own = {life.volume_id: life.write("own") for life in lives}
    assert {life.volume_id: life.read("own") for life in lives} == own
    uuids = {run("findmnt", "-no", "UUID", life.target).strip() for life in lives}
    assert len(uuids) == 3, "each has a UUID of its own"
    for life in lives:
        life.down()
        life.up()
        assert life.read("own") == own[life.volume_id]
        life.down()
        reflink.csi.delete(life.volume_id)
    reflink.csi.delete_snapshot(snapshot)


@pytest.mark.parametrize("fs", ["ext4", "xfs", "btrfs"])
def test_a_larger_restore_is_as_large_as_it_says(reflink: Served, fs: str) -> None:
    source = _life(reflink, "small", fs)
    source.up()
    data = source.write()
    source.down()
    snapshot = _take(reflink.csi, "small", source.volume_id).snapshot_id
    with refused("OUT_OF_RANGE", "INVALID_ARGUMENT"):
        reflink.csi.create(
            "smaller", 16 * MIB, fs=fs, limit=SIZES[fs] - MIB, source=of_snapshot(snapshot)
        )
    larger = _life(reflink, "larger", fs, size=2 * SIZES[fs], source=of_snapshot(snapshot))
    larger.up()
    assert larger.read() == data
    assert reflink.csi.stats(larger.volume_id, larger.target).usage[0].total > 1.6 * SIZES[fs]
    larger.down()
    for life in (source, larger):
        reflink.csi.delete(life.volume_id)
    reflink.csi.delete_snapshot(snapshot)


@pytest.mark.parametrize("online", [True, False], ids=["online", "offline"])
@pytest.mark.parametrize("fs", ["ext4", "xfs", "btrfs"])
def test_growth(reflink: Served, fs: str, online: bool) -> None:
    if online and fs == "ext4" and not EXT4_GROWS_ONLINE:
        pytest.skip("ext4 grows while it is mounted only with CAP_SYS_RESOURCE")
    life, size = _life(reflink, "grows", fs), 2 * SIZES[fs]
    life.up()
    data = life.write()
    if not online:
        life.down()
    answer = reflink.csi.expand(life.volume_id, size, fs=fs)
    assert answer.capacity_bytes == size
    life.up()
    for _ in range(2):
        reflink.csi.grow(life.volume_id, life.target, size, fs=fs)
        assert reflink.csi.expand(life.volume_id, size, fs=fs).capacity_bytes == size
    assert reflink.csi.stats(life.volume_id, life.target).usage[0].total > 1.6 * SIZES[fs]
    assert life.read() == data
    life.write("more", SIZES[fs])
    life.down()
    reflink.csi.delete(life.volume_id)


def test_a_raw_block_volume_is_flushed_before_its_snapshot(reflink: Served) -> None:
    """Dirty pages of a block device sit above the image."""
    volume = reflink.csi.create("raw", 16 * MIB, block=True)
    life = reflink.life(volume.volume_id, block=True)
    life.up()
    with life.target.open("r+b") as file:
        file.write(b"x" * (16 * MIB))  # not synced by the writer
    snapshot = _take(reflink.csi, "raw", life.volume_id).snapshot_id
    fill_device(life.target, 16 * MIB)
    copy = reflink.life(
        reflink.csi.create_patiently(
            "copy", 16 * MIB, block=True, source=of_snapshot(snapshot)
        ).volume_id,
        block=True,
    )
    copy.up()
    assert copy.target.read_bytes() == b"x" * (16 * MIB)
    for one in (life, copy):
        one.down()
        reflink.csi.delete(one.volume_id)
    reflink.csi.delete_snapshot(snapshot)


def test_a_snapshot_taken_again_is_the_same_one(reflink: Served) -> None:
    life = _life(reflink, "again", "ext4")
    first = _take(reflink.csi, "again", life.volume_id)
    assert _take(reflink.csi, "again", life.volume_id) == first
    other = _life(reflink, "other", "ext4")
    with refused("ALREADY_EXISTS"):
        _take(reflink.csi, "again", other.volume_id)
    reflink.csi.delete_snapshot(first.snapshot_id)
    for one in (life, other):
        reflink.csi.delete(one.volume_id)


def test_a_filesystem_that_somebody_else_froze_is_not_thawed_by_us(reflink: Served) -> None:
    life = _life(reflink, "frozen", "ext4")
    life.up()
    data = life.write()
    reflink.node.freeze(life.staging)
    snapshot = _take(reflink.csi, "frozen", life.volume_id)
    assert snapshot.ready_to_use
    assert not can_write(life.staging, 0.5), "thawed by the driver"
    reflink.node.thaw(life.staging)
    wait_until(lambda: can_write(life.staging, 5))
    copy = _life(reflink, "copy", "ext4", source=of_snapshot(snapshot.snapshot_id))
    copy.up()
    assert copy.read() == data
    for one in (life, copy):
        one.down()
        reflink.csi.delete(one.volume_id)
    reflink.csi.delete_snapshot(snapshot.snapshot_id)


def test_a_volume_that_stayed_frozen_can_be_taken_down(node: Node) -> None:
    """The driver and its child both died in the window; a frozen filesystem can be unmounted."""
    served = serve(node, "xfs")
    csi = served.csi
    csi.driver.stop()
    csi.driver.env["CELLAR_FAILPOINT"] = "hold.frozen"
    csi.driver.start()
    life = served.life(csi.create("v").volume_id)
    life.up()
    data = life.write()
    children = _children(csi.driver.pid)
    for pid in children:
        os.kill(pid, signal.SIGSTOP)  # so that it is not the child that thaws
    call = csi.controller.CreateSnapshot.future(
        pb.CreateSnapshotRequest(name="s", source_volume_id=life.volume_id), timeout=10
    )
    for pid in children:
        os.kill(pid, signal.SIGCONT)
    assert isinstance(call.exception(), grpc.RpcError)
    assert csi.driver.wait(10) == -signal.SIGKILL
    for pid in children:
        _killed(pid)
    del csi.driver.env["CELLAR_FAILPOINT"]
    csi.driver.start()
    assert can_write(life.target, THAWED), "a start that finds the mark thaws"
    life.down()
    life.up()
    assert life.read() == data
    life.down()


def _children(pid: int) -> list[int]:
    return [child.pid for child in psutil.Process(pid).children()]


def _killed(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return


def test_the_source_is_thawed_when_the_driver_is_killed_in_the_window(node: Node) -> None:
    served = serve(node, "xfs")
    csi = served.csi
    csi.driver.stop()
    csi.driver.env["CELLAR_FAILPOINT"] = "hold.frozen"
    csi.driver.start()
    life = served.life(csi.create("v").volume_id)
    life.up()
    with refused("UNAVAILABLE"):
        _take(csi, "s", life.volume_id)
    assert csi.driver.wait(10) == -signal.SIGKILL
    started = time.monotonic()
    assert can_write(life.target, THAWED)
    assert time.monotonic() - started < THAWED


def test_the_freeze_is_bounded_and_a_snapshot_that_took_longer_is_discarded(node: Node) -> None:
    """The pool stands still, so the reflink does: the pod's writes go on after the bound."""
    served = serve(node, "xfs")
    life = served.life(served.csi.create("v").volume_id)
    life.up()
    life.write()
    outside = served.node.bystander("sh", "-c", "true")
    outside.wait(10)
    node.freeze(served.disk.where)
    request = pb.CreateSnapshotRequest(name="slow", source_volume_id=life.volume_id)
    call = served.csi.controller.CreateSnapshot.future(request, timeout=60)
    with pytest.raises(grpc.FutureTimeoutError):
        call.result(timeout=8)
    node.thaw(served.disk.where)
    assert can_write(life.target, THAWED)
    assert outcome(call.result) in ("OK", "ABORTED")
    assert served.csi.snapshot("slow", life.volume_id).ready_to_use
    life.down()


def _overwrite(path: Path, data: bytes) -> None:
    """In place: a file that is truncated first is empty for a moment, in a snapshot too."""
    fd = os.open(path, os.O_WRONLY | os.O_CREAT, 0o600)
    try:
        os.pwrite(fd, data, 0)
        os.fsync(fd)
    finally:
        os.close(fd)


def test_a_group_is_one_point_in_time(reflink: Served) -> None:
    """Two volumes, written to in turn: whatever the second one has, the first one has."""
    lives = [_life(reflink, f"member{number}", "ext4") for number in range(2)]
    for life in lives:
        life.up()
    stop = threading.Event()
    counted = [0]

    def write() -> None:
        while not stop.is_set():
            for life in lives:
                _overwrite(life.target / "count", str(counted[0]).zfill(8).encode())
            counted[0] += 1

    writer = threading.Thread(target=write)
    writer.start()
    try:
        wait_until(lambda: counted[0] > 5)
        group = reflink.csi.snapshot_group("g", [life.volume_id for life in lives])
    finally:
        stop.set()
        writer.join(30)
    assert group.ready_to_use
    by_source = {one.source_volume_id: one for one in group.snapshots}
    assert {one.group_snapshot_id for one in group.snapshots} == {group.group_snapshot_id}
    counts = []
    for life in lives:
        source = of_snapshot(by_source[life.volume_id].snapshot_id)
        copy = _life(reflink, f"copy-{life.volume_id}", "ext4", source=source)
        copy.up()
        counts.append(int((copy.target / "count").read_text()))
        copy.down()
        reflink.csi.delete(copy.volume_id)
    assert counts[1] <= counts[0] <= counts[1] + 1
    for life in lives:
        life.down()
        reflink.csi.delete(life.volume_id)
    reflink.csi.group.DeleteVolumeGroupSnapshot(
        pb.DeleteVolumeGroupSnapshotRequest(
            group_snapshot_id=group.group_snapshot_id,
            snapshot_ids=[one.snapshot_id for one in group.snapshots],
        ),
        timeout=30,
    )
    assert reflink.csi.snapshots() == {}


def test_without_reflinks_a_volume_at_rest_is_copied(node: Node) -> None:
    served = serve(node, "ext4", 1024 * MIB)
    life = _life(served, "source", "ext4", size=128 * MIB)
    life.up()
    data = life.write(size=64 * MIB)
    life.down()
    snapshot = served.csi.snapshot("s", life.volume_id).snapshot_id
    copies = [
        _life(served, "restored", "ext4", size=128 * MIB, source=of_snapshot(snapshot)),
        _life(served, "cloned", "ext4", size=128 * MIB, source=of_volume(life.volume_id)),
    ]
    for copy in [life, *copies]:
        copy.up()
        assert copy.read() == data
    for copy in [life, *copies]:
        copy.down()


def test_without_reflinks_a_mounted_volume_is_whole_or_refused_with_the_cure(node: Node) -> None:
    served = serve(node, "ext4", 1024 * MIB)
    life = _life(served, "source", "ext4", size=128 * MIB)
    life.up()
    data = life.write(size=32 * MIB)
    request = pb.CreateSnapshotRequest(name="s", source_volume_id=life.volume_id)
    code = outcome(lambda: served.csi.controller.CreateSnapshot(request, timeout=60))
    assert code in ("OK", "FAILED_PRECONDITION", "ABORTED")
    assert can_write(life.target, THAWED)
    if code != "FAILED_PRECONDITION":
        snapshot = served.csi.snapshot("s", life.volume_id).snapshot_id
        copy = _life(served, "copy", "ext4", size=128 * MIB, source=of_snapshot(snapshot))
        copy.up()
        assert copy.read() == data
        copy.down()
    life.down()


def test_unstage_of_a_frozen_volume_leaves_nothing_frozen(reflink: Served) -> None:
    """Kubelet takes the pod away while an administrator's fsfreeze is in force."""
    life = _life(reflink, "cold", "ext4")
    life.up()
    data = life.write()
    life.unpublish()
    subprocess.run(["fsfreeze", "--freeze", life.staging], check=True)
    code = outcome(life.unstage)
    if code != "OK":
        assert code == "FAILED_PRECONDITION"
        subprocess.run(["fsfreeze", "--unfreeze", life.staging], check=True)
        life.unstage()
    assert layers(life.staging) == 0
    life.up()
    assert can_write(life.target, THAWED)
    assert digest(life.target / "data") == data
    life.down()
    reflink.csi.delete(life.volume_id)
