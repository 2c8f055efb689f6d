"""A pod keeps its own device, gets no other, and what is its own can always be taken down.

The pod has no capability and nothing but the node of its raw block volume: see `attacker`.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from csi_proto import csi_pb2 as csi
from tests.promises.attacker import AttackingPod
from tests.promises.conftest import Served, serve
from tests.support.client import outcome, refused
from tests.support.disks import MIB, run
from tests.support.node import Life, Node, mount_points
from tests.support.waiting import wait_until

SIZE = 16 * MIB


@pytest.fixture
def evil(tmp_path: Path) -> Path:
    """A file of the pod's own, of the volume's size."""
    file = tmp_path / "evil"
    file.write_bytes(b"evil".ljust(SIZE, b"\0"))
    return file


def raw(served: Served, name: str) -> Life:
    volume = served.csi.create(name, SIZE, block=True)
    return served.life(volume.volume_id, pod=name, block=True)


@contextmanager
def pod_of(life: Life, *, writes: bool = True) -> Iterator[AttackingPod]:
    pod = AttackingPod(life.target, writes=writes)
    try:
        yield pod
    finally:
        pod.end()


@contextmanager
def kubelets_loop(life: Life) -> Iterator[None]:
    """Kubelet keeps a loop device of its own on top of a raw block volume while the pod runs."""
    name = run("losetup", "--find", "--show", "--nooverlap", life.target).strip()
    try:
        yield
    finally:
        run("losetup", "--detach", name)


def device_at(path: Path) -> str:
    number = path.stat().st_rdev
    return os.path.basename(os.readlink(f"/sys/dev/block/{os.major(number)}:{os.minor(number)}"))


def image_at(path: Path) -> str:
    """What the device at `path` is bound to; empty: nothing."""
    try:
        return Path("/sys/block", device_at(path), "loop/backing_file").read_text().strip()
    except FileNotFoundError:
        return ""


def ends_well(served: Served, *lives: Life) -> None:
    """In kubelet's order, and nothing is left."""
    for life in lives:
        life.down()
        served.csi.delete(life.volume_id)


class TestIoctls:
    @pytest.mark.parametrize("writes", [True, False])
    def test_a_pod_cannot_unbind_its_device(self, each: Served, writes: bool) -> None:
        mine, other = raw(each, "mine"), raw(each, "other")
        mine.up()
        with pod_of(mine, writes=writes) as pod:
            pod.does("unbind")
            assert mine.volume_id in image_at(mine.target)
        assert mine.volume_id in image_at(mine.target), "the pod's descriptor was not the last"
        other.up()
        assert device_at(other.target) != device_at(mine.target)
        ends_well(each, mine, other)

    def test_in_kubelets_order(self, one: Served) -> None:
        mine, victim = raw(one, "mine"), raw(one, "victim")
        mine.up()
        with kubelets_loop(mine), pod_of(mine) as pod:
            assert pod.does("unbind") == "OK"
        victim.up()
        assert device_at(victim.target) != device_at(mine.target)
        ends_well(one, victim, mine)

    @pytest.mark.parametrize("read_only", [True, False])
    def test_a_pod_cannot_put_another_file_below(
        self, each: Served, evil: Path, read_only: bool
    ) -> None:
        golden = raw(each, "golden")
        golden.stage()
        if not read_only:
            golden.publish()
        else:
            golden.publish(read_only=True)
        for writes in (True, False):
            with pod_of(golden, writes=writes) as pod:
                assert pod.does(f"change {evil}") == "EINVAL"
                assert pod.does(f"bind {evil}") == "EBUSY"
                assert pod.does("read") == ""
        ends_well(each, golden)

    def test_a_volume_that_is_attached_for_readers_cannot_be_swapped_either(
        self, one: Served, evil: Path
    ) -> None:
        volume = one.csi.create("golden", SIZE, block=True).volume_id
        golden = one.node.life(one.csi, volume, block=True, mode="SINGLE_NODE_READER_ONLY")
        golden.up()
        assert run("blockdev", "--getro", golden.target).strip() == "1"
        with pod_of(golden, writes=False) as pod:
            assert pod.does(f"change {evil}") == "EINVAL"
        with pod_of(golden) as pod:
            assert pod.does("write evil") == "EPERM"
        ends_well(one, golden)

    @pytest.mark.parametrize(
        "act", ["rename evil", "shift 4096", "limit 8192", "partscan", "unbind", "direct 0"]
    )
    def test_what_a_pod_changes_is_set_again(self, each: Served, act: str) -> None:
        mine = raw(each, "mine")
        mine.up()
        with pod_of(mine) as pod:
            assert pod.does("write hello") == "OK"
            assert pod.does(act) == "OK"
            each.csi.stats(mine.volume_id, mine.target)  # kubelet looks every minute
            assert pod.does("read") == "hello"
            loop = Path("/sys/block", device_at(mine.target), "loop")
            for setting in ("offset", "sizelimit", "autoclear"):
                assert (loop / setting).read_text().strip() == "0"
            pod.does(act)
        ends_well(each, mine)

    @pytest.mark.parametrize("act", ["blocks 4096", "capacity", "blocks 512"])
    def test_blocks_of_another_size_are_told_and_go_with_the_next_stage(
        self, one: Served, act: str
    ) -> None:
        mine = raw(one, "mine")
        mine.up()
        before = run("blockdev", "--getss", mine.target)
        with pod_of(mine) as pod:
            assert pod.does(act) == "OK"
            is_other = run("blockdev", "--getss", mine.target) != before
            condition = one.csi.stats(mine.volume_id, mine.target).volume_condition
            assert condition.abnormal is is_other
        mine.unpublish()
        mine.stage()
        mine.publish()
        assert run("blockdev", "--getss", mine.target) == before
        ends_well(one, mine)

    def test_discards_stay_off_whatever_a_pod_sets(self, one: Served) -> None:
        """Before Linux 6.9 LOOP_SET_STATUS64 turned them on again."""
        mine = raw(one, "mine")
        mine.up()
        limit = Path("/sys/block", device_at(mine.target), "queue/discard_max_bytes")
        with pod_of(mine) as pod:
            pod.does("rename evil")
            one.csi.stats(mine.volume_id, mine.target)
            assert limit.read_text().strip() == "0"
        ends_well(one, mine)

    def test_a_driver_that_was_replaced_holds_the_device_again(self, node: Node) -> None:
        served = serve(node, "xfs")
        mine = raw(served, "mine")
        mine.up()
        with pod_of(mine) as pod:
            pod.does("unbind")
            served.csi.driver.restart()
            pod.does("unbind")
        assert mine.volume_id in image_at(mine.target)
        ends_well(served, mine)

    def test_unbound_while_no_driver_ran(self, node: Node) -> None:
        served = serve(node, "xfs")
        mine, other = raw(served, "mine"), raw(served, "other")
        mine.up()
        served.csi.driver.kill()
        with pod_of(mine) as pod:
            assert pod.does("unbind") == "OK"
        assert image_at(mine.target) == ""
        served.csi.driver.start()
        other.up()
        assert device_at(other.target) != device_at(mine.target)
        condition = served.csi.stats(mine.volume_id, mine.target).volume_condition
        assert condition.abnormal
        assert "not bound to volume" in condition.message
        request = csi.ControllerGetVolumeRequest(volume_id=mine.volume_id)
        status = served.csi.controller.ControllerGetVolume(request, timeout=30).status
        assert "DeviceSwapped" in status.volume_condition.message
        with refused("FAILED_PRECONDITION") as refusal:
            mine.publish()
        assert "not bound to volume" in refusal.text
        ends_well(served, other, mine)


class TestWhoseNumber:
    def test_no_number_is_bound_while_a_place_shows_it(self, one: Served) -> None:
        """After `losetup --detach` of a device that nobody had open, as by an older version."""
        stale = one.node.kubelet / "stale"
        stale.touch()
        other = raw(one, "other")
        free = run("losetup", "--find").strip()
        run("mount", "--bind", free, stale)
        try:
            other.up()
            assert device_at(other.target) != Path(free).name
        finally:
            run("umount", stale)
            stale.unlink()
        ends_well(one, other)

    def test_an_administrators_detach_takes_no_effect_while_it_is_published(
        self, one: Served
    ) -> None:
        mine = raw(one, "mine")
        mine.up()
        run("losetup", "--detach", mine.target)
        assert mine.volume_id in image_at(mine.target)
        ends_well(one, mine)

    def test_an_administrators_detach_of_a_staged_one_is_undone(self, one: Served) -> None:
        mine = raw(one, "mine")
        mine.stage()
        [name] = one.node.loops()
        run("losetup", "--detach", name)
        mine.publish()
        assert mine.volume_id in image_at(mine.target)
        ends_well(one, mine)

    def test_a_device_whose_node_was_removed_is_detached(self, each: Served) -> None:
        for block in (True, False):
            volume = each.csi.create(f"b{block}", SIZE, block=block)
            life = each.life(volume.volume_id, block=block)
            life.up()
            [name] = each.node.loops()
            Path(name).unlink()
            life.down()
            assert each.node.loops() == []
            each.csi.delete(life.volume_id)


class TestOrder:
    @pytest.mark.parametrize("block", [True, False])
    def test_what_is_still_shown_is_not_unstaged(self, each: Served, block: bool) -> None:
        life = each.life(each.csi.create("v", SIZE, block=block).volume_id, block=block)
        life.up()
        with refused("FAILED_PRECONDITION") as refusal:
            life.unstage()
        assert str(life.target) in refusal.text
        life.down()
        assert each.node.loops() == []
        each.csi.delete(life.volume_id)

    def test_a_bind_elsewhere_keeps_it_staged(self, each: Served, tmp_path: Path) -> None:
        life = each.life(each.csi.create("v", SIZE).volume_id)
        life.up()
        elsewhere = tmp_path / "subpath"
        elsewhere.mkdir()
        run("mount", "--bind", life.target, elsewhere)
        life.unpublish()
        with refused("FAILED_PRECONDITION") as refusal:
            life.unstage()
        assert str(elsewhere) in refusal.text
        assert str(life.staging) in mount_points()
        run("umount", elsewhere)
        life.unstage()
        each.csi.delete(life.volume_id)

    @pytest.mark.parametrize("block", [True, False])
    def test_two_staging_paths_are_independent(self, each: Served, block: bool) -> None:
        volume = each.csi.create("v", SIZE, block=block).volume_id
        first = each.life(volume, pod="one", block=block)
        second = each.life(volume, pod="two", block=block)
        first.up()
        second.up()
        first.down()
        assert len(each.node.loops()) == 1
        second.unpublish()
        second.publish()
        second.down()
        assert each.node.loops() == []
        each.csi.delete(volume)

    def test_a_staged_raw_block_volume_grows(self, one: Served) -> None:
        life = raw(one, "v")
        life.stage()
        one.csi.expand(life.volume_id, 2 * SIZE, block=True)
        grown = one.csi.grow(life.volume_id, life.staging, 2 * SIZE, block=True)
        assert grown.capacity_bytes == 2 * SIZE
        life.unstage()
        one.csi.delete(life.volume_id)


class TestTargets:
    def test_what_is_no_mount_of_ours_is_never_unlinked(self, one: Served, tmp_path: Path) -> None:
        volume = one.csi.create("v", SIZE).volume_id
        device = tmp_path / "device"
        os.mknod(device, 0o600 | 0o020000, os.makedev(1, 3))
        link = tmp_path / "link"
        link.symlink_to("/etc/hostname")
        for place in (device, link):
            with refused("FAILED_PRECONDITION"):
                one.csi.unpublish(volume, place)
            assert os.path.lexists(place)
        one.csi.delete(volume)

    def test_with_a_kubelet_only_below_its_folder(self, node: Node, tmp_path: Path) -> None:
        disk = node.disk("xfs")
        (node.kubelet / "plugins_registry").mkdir()
        csi = node.start(f"p=loopfile:{disk.where}", options=["--kubelet-dir", str(node.kubelet)])
        life = node.life(csi, csi.create("v", SIZE).volume_id)
        empty, folder, inside = tmp_path / "file", tmp_path / "folder", node.kubelet / "left"
        empty.touch()
        folder.mkdir()
        inside.mkdir()
        for place in (empty, folder):
            with refused("FAILED_PRECONDITION"):
                csi.unpublish(life.volume_id, place)
            assert place.exists()
        csi.unpublish(life.volume_id, tmp_path / "nothing")
        csi.unpublish(life.volume_id, inside)
        assert not inside.exists()
        life.stage()
        outside = life.publish(target=tmp_path / "ours")
        csi.unpublish(life.volume_id, outside)
        assert not outside.exists()
        life.unstage()

    def test_a_target_with_files_in_it_is_refused(self, one: Served) -> None:
        life = one.life(one.csi.create("v", SIZE).volume_id)
        life.stage()
        life.target.mkdir(parents=True)
        (life.target / "mine").write_text("here")
        with refused("FAILED_PRECONDITION") as refusal:
            life.publish()
        assert "mine" in refusal.text
        (life.target / "mine").unlink()
        life.publish()
        life.down()
        one.csi.delete(life.volume_id)

    def test_somebody_elses_mount_below_ours_stays(self, one: Served) -> None:
        life = one.life(one.csi.create("v", SIZE).volume_id)
        life.stage()
        life.target.mkdir(parents=True)
        life.publish()
        run("mount", "-t", "tmpfs", "tmpfs", life.target)  # on top of it
        with refused("FAILED_PRECONDITION"):
            life.unpublish()
        run("umount", life.target)
        life.down()
        one.csi.delete(life.volume_id)

    @pytest.mark.parametrize("what", ["tmpfs", "other"])
    def test_what_took_the_place_of_ours_is_not_taken_down(self, one: Served, what: str) -> None:
        life = one.life(one.csi.create("v", SIZE).volume_id)
        other = one.life(one.csi.create("w", SIZE).volume_id, pod="other")
        life.up()
        other.stage()
        run("umount", life.target)
        source = ["-t", "tmpfs", "tmpfs"] if what == "tmpfs" else ["--bind", str(other.staging)]
        run("mount", *source, life.target)
        with refused("FAILED_PRECONDITION"):
            life.unpublish()
        assert str(life.target) in mount_points()
        run("umount", life.target)
        life.down()
        other.unstage()
        for gone in (life, other):
            one.csi.delete(gone.volume_id)


class TestDeadPool:
    @pytest.mark.parametrize("fs", ["ext4", "xfs", "btrfs"])
    @pytest.mark.parametrize("block", [True, False])
    @pytest.mark.parametrize("restarted", [True, False])
    def test_pods_come_off_a_pool_that_was_shut_down(
        self, node: Node, fs: str, block: bool, restarted: bool
    ) -> None:
        served = serve(node, fs)
        life = served.life(served.csi.create("v", SIZE, block=block).volume_id, block=block)
        life.up()
        [name] = node.loops()
        kill(fs, served.disk.where)
        if restarted:
            served.csi.driver.restart()
        life.unpublish()
        life.unstage()
        assert node.mounts() == []
        wait_until(lambda: not Path("/sys/block", Path(name).name, "loop").exists())

    def test_without_records_the_name_of_the_image_is_enough(self, node: Node) -> None:
        """As for what was published before this version."""
        served = serve(node, "xfs")
        life = served.life(served.csi.create("v", SIZE).volume_id)
        life.up()
        kill("xfs", served.disk.where)
        served.csi.driver.kill()
        run("rm", "--recursive", served.csi.driver.where / "state")
        served.csi.driver.start()
        life.down()
        assert node.mounts() == []

    def test_a_state_directory_that_cannot_be_used_stops_nothing(self, node: Node) -> None:
        served = serve(node, "xfs")
        for block in (True, False):
            life = served.life(
                served.csi.create(f"{block}", SIZE, block=block).volume_id, block=block
            )
            life.up()
            served.csi.driver.kill()
            run("rm", "--recursive", "--force", served.csi.driver.where / "state")
            (served.csi.driver.where / "state").write_text("in the way")
            served.csi.driver.start()
            life.down()
            life.up()
            life.down()
            (served.csi.driver.where / "state").unlink()


class TestReadOnlyPublish:
    def test_it_is_read_only_from_its_first_instant(self, node: Node) -> None:
        served = serve(node, "xfs")
        life = served.life(served.csi.create("v", SIZE).volume_id)
        life.stage()
        served.csi.driver.kill()
        served.csi.driver.env["CELLAR_FAILPOINT"] = "publish.bound"
        served.csi.driver.start()
        outcome(lambda: life.publish(read_only=True))
        del served.csi.driver.env["CELLAR_FAILPOINT"]
        served.csi.driver.wait()
        served.csi.driver.start()
        assert "ro" in options_at(life.target)
        life.publish(read_only=True)
        life.down()

    def test_one_that_an_older_kernel_left_half_made_is_made_again(self, node: Node) -> None:
        served = serve(node, "xfs")
        life = served.life(served.csi.create("v", SIZE).volume_id)
        life.stage()
        life.publish(read_only=True)
        run("mount", "-o", "remount,bind,rw", life.target)  # what the first of two steps shows
        life.publish(read_only=True)
        assert "ro" in options_at(life.target)
        life.down()


@pytest.mark.parametrize("fs", ["ext4", "xfs", "btrfs"])
@pytest.mark.parametrize("block", [True, False])
def test_thick_stays_thick_when_it_dies_between_binding_and_the_limit(
    node: Node, fs: str, block: bool
) -> None:
    served = serve(node, fs)
    life = served.life(served.csi.create("v", SIZE, block=block).volume_id, block=block)
    served.csi.driver.kill()
    served.csi.driver.env["CELLAR_FAILPOINT"] = "attach.bound"
    served.csi.driver.start()
    outcome(life.stage)
    served.csi.driver.wait()
    del served.csi.driver.env["CELLAR_FAILPOINT"]
    [name] = node.loops()
    limit = Path("/sys/block", Path(name).name, "queue/discard_max_bytes")
    served.csi.driver.start()
    life.up()
    assert node.loops() == [name]
    assert limit.read_text().strip() == "0"
    life.down()


def kill(fs: str, where: Path) -> None:
    if fs == "btrfs":  # has no such ioctl
        run("umount", "--lazy", where)
    else:
        run("xfs_io", "-x", "-c", "shutdown", where)


def options_at(target: Path) -> list[str]:
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    [found] = [line.split() for line in lines if line.split()[4] == str(target)]
    return found[5].split(",")
