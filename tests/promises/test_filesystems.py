"""What becomes of a filesystem in its volume: full pools, broken ones, frozen ones, power cuts."""

from __future__ import annotations

import fcntl
import os
import struct
import time
from pathlib import Path
from typing import Any

import pytest

from csi_proto import csi_pb2 as pb
from tests.promises.conftest import Served, serve
from tests.support.client import outcome, patiently
from tests.support.disks import GIB, MIB, complaint, run
from tests.support.node import EXT4_GROWS_ONLINE, Life, Node, can_write

KINDS = ("ext4", "xfs", "btrfs")
SIZE = 320 * MIB
# mkfs.xfs makes four groups of 80 MiB in SIZE.
GROUP_AND_A_PART, TWO_GROUPS = SIZE + 96 * MIB, SIZE + 160 * MIB
SPARSE = ",allocation=sparse,overcommit=100"
GOINGDOWN = 0x8004587D  # XFS_IOC_GOINGDOWN, EXT4_IOC_SHUTDOWN
WITHOUT_LOG = struct.pack("I", 2)


def a_volume(served: Served, fs: str, size: int = SIZE, **how: Any) -> Life:
    volume = served.csi.create_patiently(f"v-{fs}", size, fs=fs, **how)
    return served.life(volume.volume_id, fs=fs)


def expand(life: Life, size: int) -> None:
    """By the controller; as the resizer may, it does not say what the volume is."""
    request = pb.ControllerExpandVolumeRequest(
        volume_id=life.volume_id, capacity_range=pb.CapacityRange(required_bytes=size)
    )
    patiently(lambda: life.csi.controller.ControllerExpandVolume(request, timeout=30))


def grow(life: Life, size: int) -> str:
    """On the node; the status of the answer."""
    return outcome(lambda: life.csi.grow(life.volume_id, life.target, size, **life.how))


def sparse(node: Node, fs: str = "xfs", size: int = 2 * GIB) -> Served:
    return serve(node, fs, size, SPARSE)


def condition(life: Life) -> str:
    found = life.csi.stats(life.volume_id, life.target).volume_condition
    assert found.abnormal is (found.message != "healthy")
    return found.message


def break_it(life: Life) -> None:
    """As after an I/O error: xfs and ext4 shut down; btrfs turns read-only."""
    if life.how["fs"] == "btrfs":
        run("mount", "-o", "remount,ro", life.target)  # the superblock, and this mount alone
        return
    fd = os.open(life.target, os.O_RDONLY)
    try:
        fcntl.ioctl(fd, GOINGDOWN, bytearray(WITHOUT_LOG))
    finally:
        os.close(fd)


def fill(directory: Path) -> list[Path]:
    """Foreign files that leave nothing free."""
    made, step = list[Path](), GIB
    while step >= 65536:
        path = directory / f"foreign{len(made)}"
        try:
            with path.open("wb") as file:
                os.posix_fallocate(file.fileno(), 0, step)
            made.append(path)
        except OSError:
            path.unlink(missing_ok=True)
            step //= 2
    run("sync", "-f", directory)
    return made


# a power cut


def test_an_xfs_that_grew_twice_in_use_mounts_after_a_power_cut(node: Node) -> None:
    """Without its log written out xfs refuses: "daddr out of range" (Linux 6.1 and 6.18).

    The first growth adds a group and logs the superblock alone. The second one makes that group
    larger: it logs the group's buffers, and behind them the superblock, which moves the log's tail
    there. So recovery meets buffers of a group that the superblock on the disk does not have. Seen
    if nothing older was in the log, and what was written then needed the new groups.
    """
    served = sparse(node)
    life = a_volume(served, "xfs")
    life.up()
    before = life.write("before")
    life.down()  # an empty log: nothing older keeps its tail
    life.up()
    for size in GROUP_AND_A_PART, TWO_GROUPS:
        expand(life, size)
        assert grow(life, size) == "OK"
    after = life.write("after", 100 * MIB)
    blocks = os.statvfs(life.target).f_blocks
    copy = node.copy(served.disk)
    life.down()  # else its copy would be another xfs of the same UUID
    copy.mount()
    csi = node.start(f"p=loopfile:{copy.where}{SPARSE}")
    again = node.life(csi, life.volume_id, pod="after", fs="xfs")
    again.up()
    assert (again.read("before"), again.read("after")) == (before, after)
    assert os.statvfs(again.target).f_blocks == blocks
    again.down()


@pytest.mark.parametrize("point", ["hold.marked", "hold.frozen", "hold.thawed"])
def test_an_xfs_that_grew_is_never_left_frozen(node: Node, point: str) -> None:
    """Its log is written out by a freeze; the driver dies just then."""
    served = sparse(node)
    life = a_volume(served, "xfs")
    served.csi.driver.kill()
    csi = node.start(served.pool + SPARSE, environment={"CELLAR_FAILPOINT": point})
    life = node.life(csi, life.volume_id, fs="xfs")
    life.up()
    expand(life, 2 * SIZE)
    assert grow(life, 2 * SIZE) == "UNAVAILABLE"  # it is dead
    life = node.life(node.start(served.pool + SPARSE), life.volume_id, fs="xfs")
    assert can_write(life.target, 10)
    assert grow(life, 2 * SIZE) == "OK"
    assert list(served.disk.where.glob("*/freezing")) == []
    life.down()


# no growth


@pytest.mark.parametrize("fs", KINDS)
def test_a_full_pool_keeps_no_pod_from_its_data(node: Node, fs: str) -> None:
    """The volume was expanded while its pod was away; what the filesystem needs is not there."""
    served = sparse(node)
    life = a_volume(served, fs, GIB)
    life.up()
    data = life.write()
    life.down()
    expand(life, 20 * GIB)
    foreign = fill(served.disk.where)
    life.up()
    assert life.read() == data
    grown = os.statvfs(life.target).f_blocks * os.statvfs(life.target).f_frsize > 19 * GIB
    assert grown or "FilesystemNotGrown" in condition(life)
    if not grown:
        assert grow(life, 20 * GIB) in ("UNAVAILABLE", "FAILED_PRECONDITION")
    life.down()
    for path in foreign:
        path.unlink()
    life.up()
    assert life.read() == data
    assert os.statvfs(life.target).f_blocks * os.statvfs(life.target).f_frsize > 19 * GIB
    assert condition(life) == "healthy"
    life.down()
    check(life, fs, served)


def check(life: Life, fs: str, served: Served) -> None:
    """The filesystem's own program finds nothing."""
    words = {"ext4": ("e2fsck", "-fn"), "xfs": ("xfs_repair", "-n"), "btrfs": ("btrfs", "check")}
    image = served.disk.where / life.volume_id / "disk.img"
    device = run("losetup", "--find", "--show", "--sector-size", "4096", image).strip()
    try:
        assert complaint(*words[fs], device) == ""
    finally:
        run("losetup", "--detach", device)


@pytest.mark.parametrize(("before", "after", "options"), [(16, 17 << 10, ""), (64, 96, "bigalloc")])
def test_a_growth_that_nobody_can_do_keeps_no_pod_from_its_data(
    node: Node, before: int, after: int, options: str
) -> None:
    """An ext4 that grows more than 1024-fold, or has bigalloc: resize2fs refuses, or gives up."""
    served = serve(node, "xfs", 32 * GIB, ",allocation=sparse")
    parameters = {"mkfsOptions": f"-O {options}"} if options else {}
    life = a_volume(served, "ext4", before * MIB, parameters=parameters)
    life.up()
    data = life.write(size=MIB)
    life.down()
    expand(life, after * MIB)
    for _ in range(2):
        life.up()
        assert life.read() == data
        assert EXT4_GROWS_ONLINE or "FilesystemNotGrown" in condition(life)
        life.down()
    check(life, "ext4", served)


# broken


@pytest.mark.parametrize("fs", KINDS)
def test_a_filesystem_that_broke_is_given_to_no_other_pod(node: Node, fs: str) -> None:
    """And to the next one as soon as none has it, whole, without an unstage."""
    served = sparse(node)
    life = a_volume(served, fs)
    life.up()
    data = life.write()
    break_it(life)
    other = life.target.with_name("other")
    codes = {
        outcome(lambda: life.csi.stage(life.volume_id, life.staging, fs=fs)),
        outcome(life.publish),
        outcome(lambda: life.publish(target=other)),
    }
    assert codes == {"UNAVAILABLE"}
    assert outcome(lambda: served.csi.snapshot("broken", life.volume_id)) in (
        "FAILED_PRECONDITION",
        "OK",
    )
    life.unpublish()
    life.publish()
    assert life.read() == data
    assert life.write("more")
    assert condition(life) == "healthy"
    life.down()


@pytest.mark.parametrize("fs", ["ext4", "xfs"])
def test_a_filesystem_that_broke_is_well_after_unstage_and_stage(node: Node, fs: str) -> None:
    served = sparse(node)
    life = a_volume(served, fs)
    life.up()
    data = life.write()
    break_it(life)
    assert "FilesystemShutDown" in condition(life)
    life.down()
    life.up()
    assert life.read() == data
    assert condition(life) == "healthy"
    life.down()


# frozen


@pytest.mark.slow
@pytest.mark.parametrize("fs", KINDS)
def test_a_frozen_filesystem_does_not_hold_up_its_expansion_for_ever(node: Node, fs: str) -> None:
    """The answer says so; the volume is taken for as long as the kernel works, and no longer."""
    if fs == "ext4" and not EXT4_GROWS_ONLINE:
        pytest.skip("this machine's root has no CAP_SYS_RESOURCE, which ext4 wants")
    served = sparse(node)
    life = a_volume(served, fs)
    life.up()
    expand(life, 2 * SIZE)
    node.freeze(life.target)
    start = time.monotonic()
    assert grow(life, 2 * SIZE) == "ABORTED"
    assert time.monotonic() - start < 25
    assert grow(life, 2 * SIZE) == "ABORTED"
    assert outcome(life.unpublish) == "ABORTED"
    node.thaw(life.target)
    patiently(lambda: life.csi.grow(life.volume_id, life.target, 2 * SIZE, fs=fs))
    assert os.statvfs(life.target).f_blocks * os.statvfs(life.target).f_frsize > 1.5 * SIZE
    life.down()
