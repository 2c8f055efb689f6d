"""Volumes that stand in a pod: kubelet publishes and unpublishes them, and that is all.

They are there while their pod is, empty at first, and nothing of them stays. Killed at each fail
point is in test_04_killed.py, with all the others.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from csi_proto import csi_pb2 as pb
from tests.promises.conftest import Served, serve
from tests.support.client import SECONDS, Csi, capability, outcome, refused
from tests.support.disks import MIB, run
from tests.support.node import Node, layers, mount_points, write_durably
from tests.support.waiting import wait_until

SIZE = "16Mi"


@dataclass
class InlinePod:
    """One volume in one pod, as kubelet calls for it."""

    node: Node
    csi: Csi
    name: str
    attributes: dict[str, str] = field(default_factory=lambda: {"size": SIZE})
    read_only: bool = False
    fs: str = ""

    @property
    def handle(self) -> str:
        return "csi-" + hashlib.sha256(self.name.encode()).hexdigest()

    @property
    def target(self) -> Path:
        return self.node.kubelet / "pods" / self.name / "volumes/kubernetes.io~csi/data/mount"

    def request(self, **how: Any) -> pb.NodePublishVolumeRequest:
        self.target.parent.mkdir(parents=True, exist_ok=True)
        context = {
            "csi.storage.k8s.io/ephemeral": "true",
            "csi.storage.k8s.io/pod.name": self.name,
            "csi.storage.k8s.io/pod.namespace": "default",
            **self.attributes,
        }
        return pb.NodePublishVolumeRequest(
            volume_id=self.handle,
            target_path=str(self.target),
            volume_capability=capability(self.fs, **how),
            readonly=self.read_only,
            volume_context=context,
        )

    def publish(self, **how: Any) -> Path:
        self.csi.node.NodePublishVolume(self.request(**how), timeout=SECONDS)
        return self.target

    def unpublish(self) -> None:
        self.csi.unpublish(self.handle, self.target)


def a_pod(served: Served, name: str = "pod", **how: Any) -> InlinePod:
    return InlinePod(served.node, served.csi, name, **how)


@pytest.mark.parametrize("fs", ["", "ext4", "xfs", "btrfs"])
def test_a_pod_has_an_empty_filesystem_of_its_own(each: Served, fs: str) -> None:
    pod = a_pod(each, fs=fs, attributes={"size": "320Mi", "allocation": "sparse"})
    target = pod.publish()
    assert set(os.listdir(target)) <= {"lost+found"}
    assert run("findmnt", "-no", "FSTYPE", target).strip() == (fs or "ext4")
    [volume] = each.csi.volumes().values()
    assert volume.capacity_bytes == 320 * MIB
    write_durably(target / "data", MIB)
    usage = each.csi.stats(pod.handle, target).usage
    assert 0 < usage[0].used < usage[0].total <= 320 * MIB
    pod.unpublish()
    assert not target.exists()
    assert each.left() == []


def test_a_gibibyte_is_what_a_pod_gets_that_says_nothing(one: Served) -> None:
    pod = a_pod(one, attributes={"allocation": "sparse"})
    with refused("RESOURCE_EXHAUSTED"):
        pod.publish()  # the pool has less
    assert one.left() == []


def test_what_a_pod_wrote_the_next_one_does_not_see(each: Served) -> None:
    for _ in range(3):
        pod = a_pod(each)
        pod.publish()
        assert set(os.listdir(pod.target)) <= {"lost+found"}
        write_durably(pod.target / "secret", MIB)
        pod.unpublish()
    assert each.left() == []


def test_two_pods_do_not_share(one: Served) -> None:
    first, second = a_pod(one, "first"), a_pod(one, "second")
    first.publish()
    second.publish()
    written = write_durably(first.target / "data", MIB)
    assert not (second.target / "data").exists()
    second.unpublish()
    assert run("sha256sum", first.target / "data").split()[0] == written
    first.unpublish()


def test_publish_and_unpublish_twenty_times_over(each: Served) -> None:
    pod = a_pod(each)
    for _ in range(20):
        pod.publish()
    assert layers(pod.target) == 1
    assert len(each.csi.volumes()) == len(each.node.loops()) == 1
    written = write_durably(pod.target / "data", MIB)
    pod.publish()
    assert run("sha256sum", pod.target / "data").split()[0] == written
    for _ in range(20):
        pod.unpublish()
    assert each.left() == []


def test_a_read_only_one_cannot_be_written_to(each: Served) -> None:
    pod = a_pod(each, read_only=True)
    pod.publish()
    pod.publish()
    with pytest.raises(OSError, match="Read-only"):
        (pod.target / "data").touch()
    with refused("ALREADY_EXISTS"):
        InlinePod(each.node, each.csi, pod.name).publish()
    pod.unpublish()
    assert each.left() == []


@pytest.mark.parametrize(
    ("attributes", "said"),
    [
        ({"sized": "1Gi"}, "volume_context: unknown 'sized'; accepted: size, pool"),
        ({"size": "much"}, "volume_context[size]"),
        ({"pool": "q"}, "volume_context[pool]"),
        ({"encrypted": "true"}, "volume_context[encrypted]"),
        ({"mkfsOptions": "-m 0"}, "volume_context: unknown 'mkfsOptions'"),
    ],
)
def test_wrong_attributes_are_named_and_change_nothing(
    one: Served, attributes: dict[str, str], said: str
) -> None:
    with refused("INVALID_ARGUMENT") as refusal:
        a_pod(one, attributes=attributes).publish()
    assert said in refusal.text
    assert one.left() == []


def test_it_is_never_a_block_device(one: Served) -> None:
    with refused("INVALID_ARGUMENT"):
        a_pod(one).publish(block=True)
    assert one.left() == []


def test_mount_options_that_the_kernel_refuses_leave_nothing(one: Served) -> None:
    with refused("INVALID_ARGUMENT"):
        a_pod(one).publish(flags=["nonsense"])
    assert one.left() == []


def test_something_else_at_the_target_is_refused_and_stays(one: Served) -> None:
    pod = a_pod(one)
    pod.target.mkdir(parents=True)
    run("mount", "-t", "tmpfs", "none", pod.target)
    try:
        with refused("FAILED_PRECONDITION"):
            pod.publish()
        assert one.csi.volumes() == {}
        assert one.node.loops() == []
        with refused("FAILED_PRECONDITION"):
            pod.unpublish()
        assert layers(pod.target) == 1
    finally:
        run("umount", pod.target)
    pod.unpublish()
    assert not pod.target.exists()


def test_only_an_inline_volume_is_ever_deleted_by_an_unpublish(one: Served) -> None:
    pod = a_pod(one)
    claimed = one.csi.create(pod.handle).volume_id
    pod.unpublish()
    assert list(one.csi.volumes()) == [claimed]
    pod.publish()
    assert len(one.csi.volumes()) == 2
    pod.unpublish()
    assert list(one.csi.volumes()) == [claimed]
    life = one.life(claimed)
    life.up()
    assert outcome(lambda: one.csi.unpublish(pod.handle, life.target)) == "FAILED_PRECONDITION"
    life.write()
    life.down()
    one.csi.delete(claimed)


def test_a_claims_volume_cannot_be_published_as_if_it_were_inline(one: Served) -> None:
    volume_id = one.csi.create("claimed").volume_id
    target = one.node.kubelet / "forged"
    request = pb.NodePublishVolumeRequest(
        volume_id=volume_id,
        target_path=str(target),
        volume_capability=capability(),
        volume_context={"csi.storage.k8s.io/ephemeral": "true"},
    )
    with refused("INVALID_ARGUMENT"):
        one.csi.node.NodePublishVolume(request, timeout=SECONDS)
    assert not target.exists()
    assert list(one.csi.volumes()) == [volume_id]
    one.csi.delete(volume_id)


def test_an_unknown_one_is_unpublished_with_its_empty_target(one: Served) -> None:
    pod = a_pod(one, "never")
    pod.target.mkdir(parents=True)
    pod.unpublish()
    assert not pod.target.exists()


def test_it_is_not_deleted_while_somebody_works_in_it(each: Served) -> None:
    pod = a_pod(each)
    pod.publish()
    holder = each.node.bystander("sh", "-c", 'exec 3>"$0/open"; echo in; exec cat', str(pod.target))
    assert holder.stdout
    assert holder.stdout.readline() == b"in\n"
    with refused("FAILED_PRECONDITION") as refusal:
        pod.unpublish()
    assert str(holder.pid) in refusal.text
    assert (pod.target / "open").exists()
    assert len(each.csi.volumes()) == 1
    each.node.leave(holder)
    pod.unpublish()
    assert each.left() == []


def test_it_is_not_deleted_while_it_is_shown_elsewhere(one: Served) -> None:
    pod = a_pod(one)
    pod.publish()
    elsewhere = one.node.kubelet / "elsewhere"
    elsewhere.mkdir()
    run("mount", "--bind", pod.target, elsewhere)
    written = write_durably(elsewhere / "data", MIB)
    with refused("FAILED_PRECONDITION"):
        pod.unpublish()
    assert run("sha256sum", elsewhere / "data").split()[0] == written
    run("umount", elsewhere)
    pod.unpublish()
    assert one.left() == []


def test_a_thick_one_that_does_not_fit_is_refused_and_leaves_nothing(node: Node) -> None:
    served = serve(node, "ext4", 256 * MIB)
    room = served.csi.capacity().available_capacity
    big = a_pod(served, "big", attributes={"size": str(room + 64 * MIB), "allocation": "thick"})
    for _ in range(3):
        with refused("RESOURCE_EXHAUSTED"):
            big.publish()
    assert served.left() == []
    assert served.csi.capacity().available_capacity == room
    full = a_pod(served, "full", attributes={"size": str(room), "allocation": "thick"})
    full.publish()
    with refused("RESOURCE_EXHAUSTED"):
        a_pod(served).publish()
    full.unpublish()
    assert served.left() == []
    assert served.csi.capacity().available_capacity == room


def test_a_driver_that_was_replaced_knows_it(node: Node) -> None:
    served = serve(node, "xfs")
    pod = a_pod(served)
    pod.publish()
    written = write_durably(pod.target / "data", MIB)
    served.csi.driver.restart()
    assert run("sha256sum", pod.target / "data").split()[0] == written
    pod.publish()
    assert served.csi.stats(pod.handle, pod.target).usage
    served.csi.driver.restart()
    pod.unpublish()
    assert served.left() == []


def test_after_a_reboot_a_pod_finds_what_it_wrote(node: Node) -> None:
    """Kubelet keeps its pods over a reboot, and publishes for them again."""
    served = serve(node, "xfs")
    pod = a_pod(served)
    pod.publish()
    written = write_durably(pod.target / "data", MIB)
    served.csi.driver.kill()
    node.take_down()
    served.csi.driver.start()
    pod.publish()
    assert run("sha256sum", pod.target / "data").split()[0] == written
    pod.unpublish()
    assert served.left() == []


def test_without_its_pool_it_comes_off_and_goes_when_the_pool_is_back(node: Node) -> None:
    served = serve(node, "xfs")
    pod = a_pod(served)
    pod.publish()
    write_durably(pod.target / "data", MIB)
    served.disk.pull()
    for _ in range(2):
        with refused("UNAVAILABLE"):
            pod.unpublish()
        assert node.mounts() == []
        assert not pod.target.exists()
    wait_until(lambda: not node.loops())
    assert os.listdir(served.disk.where) == []
    served.disk.mount()
    wait_until(lambda: outcome(pod.unpublish) == "OK")
    assert served.left() == []


def test_calls_for_one_pod_take_turns_and_end_well(each: Served) -> None:
    """Kubelet asks again when a call takes too long."""
    pod = a_pod(each)
    node = each.csi.node
    end = pb.NodeUnpublishVolumeRequest(volume_id=pod.handle, target_path=str(pod.target))
    for _ in range(3):
        assert _at_once(lambda: node.NodePublishVolume.future(pod.request())) <= TURNS
        assert len(each.csi.volumes()) == layers(pod.target) == 1
        assert _at_once(lambda: node.NodeUnpublishVolume.future(end)) <= TURNS
        assert each.left() == []


TURNS = {"OK", "ABORTED"}


def _at_once(call: Callable[[], Any]) -> set[str]:
    """How five of them ended; one at least well."""
    codes = {one.code().name for one in [call() for _ in range(5)]}
    assert "OK" in codes
    return codes


def test_twenty_pods_at_once(one: Served) -> None:
    pods = [a_pod(one, f"pod-{number}") for number in range(20)]
    for pod in pods:
        pod.publish()
    assert len(one.csi.volumes()) == 20
    assert {str(pod.target) for pod in pods} <= set(mount_points())
    for pod in pods:
        pod.unpublish()
    assert one.left() == []
