"""What kubelet says of a volume that stands in a pod, and what a pod may say of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from csi_proto import csi_pb2 as csi
from driver.core import ids
from driver.core.capacity import CapacityRange
from driver.core.errors import Invalid, NotFound, Refused
from driver.core.model import GIB, MIB, AccessMode, Allocation, FsType, Limits, ObjectNames
from driver.csi import parse_node
from driver.volumes import node_requests, requests
from driver.volumes.locks import Locks
from tests.unit.csi.messages import BLOCK, MOUNT, V

HANDLE = "csi-" + "0f" * 32
KEY = ids.InlineHandle(HANDLE).key
TARGET = Path("/kubelet/pods/p/volumes/kubernetes.io~csi/data/mount")
POD = {
    "csi.storage.k8s.io/ephemeral": "true",
    "csi.storage.k8s.io/pod.name": "web-0",
    "csi.storage.k8s.io/pod.namespace": "shop",
    "csi.storage.k8s.io/pod.uid": "1234",
    "csi.storage.k8s.io/serviceAccount.name": "default",
}


def a_publish(attributes: dict[str, str] | None = None, **how: Any) -> csi.NodePublishVolumeRequest:
    request: dict[str, Any] = {
        "volume_id": HANDLE,
        "target_path": str(TARGET),
        "volume_capability": MOUNT,
        "volume_context": {**POD, **(attributes or {})},
    }
    return csi.NodePublishVolumeRequest(**{**request, **how})


def parsed(attributes: dict[str, str] | None = None, **how: Any) -> node_requests.InlinePublish:
    parsed_request = parse_node.publish(a_publish(attributes, **how))
    assert isinstance(parsed_request, node_requests.InlinePublish)
    return parsed_request


def of(fs: str) -> csi.VolumeCapability:
    mount = csi.VolumeCapability.MountVolume(fs_type=fs)
    return csi.VolumeCapability(mount=mount, access_mode=MOUNT.access_mode)


def test_the_least_that_a_pod_can_say() -> None:
    parsed_request = parsed()
    assert parsed_request.create == requests.CreateVolume(
        name=HANDLE,
        key=KEY,
        range=CapacityRange(GIB),
        fs=FsType.EXT4,
        fs_asked=False,
        inline=True,
        objects=ObjectNames("shop", "web-0", "1234"),
    )
    assert parsed_request.target == TARGET
    assert parsed_request.capability.mode is AccessMode.SINGLE_NODE_WRITER
    assert parsed_request.locks == Locks(frozenset({KEY, f"path:{TARGET}"}))


def test_all_that_a_pod_can_say() -> None:
    attributes = {
        "size": "64Mi",
        "pool": "fast",
        "allocation": "sparse",
        "blockSize": "512",
        "encrypted": "false",
        "readIops": "100",
    }
    parsed_request = parsed(attributes, volume_capability=of("xfs")).create
    assert (parsed_request.range, parsed_request.pool, parsed_request.fs) == (
        CapacityRange(64 * MIB),
        "fast",
        FsType.XFS,
    )
    assert (parsed_request.allocation, parsed_request.block_size) == (Allocation.SPARSE, 512)
    assert parsed_request.limits == Limits(read_iops=100)
    assert not parsed_request.encrypted


def test_a_read_only_one_is_for_a_reader() -> None:
    assert parsed(readonly=True).capability.mode is AccessMode.SINGLE_NODE_READER_ONLY


@pytest.mark.parametrize(
    ("attributes", "value"),
    [
        ({"sized": "1Gi"}, r"volume_context: unknown 'sized'; accepted: size, pool"),
        ({"size": "much"}, r"volume_context\[size\]: 'much' is not a size"),
        ({"size": "0"}, r"volume_context\[size\]"),
        ({"size": "-1"}, r"volume_context\[size\]"),
        ({"size": "9" * 17 + "Pi"}, r"volume_context\[size\]"),
        ({"allocation": "thicker"}, r"volume_context\[allocation\]: .* thick, sparse, thin"),
        ({"mkfsOptions": "-m 0"}, r"volume_context: unknown 'mkfsOptions'"),
        ({"encrypted": "true"}, r"volume_context\[encrypted\]: .* cannot be encrypted"),
        ({"encrypted": "yes"}, r"volume_context\[encrypted\]: .* true, false"),
        ({"readIops": "-1"}, r"volume_context\[readIops\]"),
        ({"csi.storage.k8s.io/fstype": "ntfs"}, "ntfs"),
    ],
)
def test_what_a_pod_may_not_say_is_named(attributes: dict[str, str], value: str) -> None:
    with pytest.raises(Invalid, match=value):
        parse_node.publish(a_publish(attributes))


def test_it_is_never_a_raw_block_device() -> None:
    with pytest.raises(Invalid, match="block"):
        parse_node.publish(a_publish(volume_capability=BLOCK))


def test_two_filesystems_are_one_too_many() -> None:
    with pytest.raises(Invalid, match="fs_type"):
        parsed({"csi.storage.k8s.io/fstype": "ext4"}, volume_capability=of("xfs"))


@pytest.mark.parametrize(
    "handle",
    [
        str(V),
        "pvc-1",
        "csi-",
        f"csi-{'0' * 63}",
        f"csi-{'0' * 65}",
        f"csi-{'A' * 64}",
        f"csi-{'0' * 64}\n",
        f"xcsi-{'0' * 64}",
    ],
)
def test_a_handle_that_kubelet_does_not_make_is_refused(handle: str) -> None:
    with pytest.raises(Invalid, match="volume_id"):
        parse_node.publish(a_publish(volume_id=handle))


@pytest.mark.parametrize("value", ["false", "", "True", "1"])
def test_without_kubelets_word_a_handle_of_its_is_no_volume(value: str) -> None:
    request = a_publish({"csi.storage.k8s.io/ephemeral": value}, staging_target_path="/s")
    with pytest.raises(NotFound):
        parse_node.publish(request)


def test_a_claims_volume_is_published_as_ever_beside_kubelets_keys() -> None:
    context = {**POD, "csi.storage.k8s.io/ephemeral": "false"}
    request = a_publish(volume_id=str(V), staging_target_path="/s", volume_context=context)
    assert isinstance(parse_node.publish(request), node_requests.NodePublish)


def test_unpublish_stats_and_health_know_it_by_its_handle() -> None:
    unpublish = csi.NodeUnpublishVolumeRequest(volume_id=HANDLE, target_path=str(TARGET))
    assert parse_node.unpublish(unpublish) == node_requests.InlineUnpublish(
        ids.InlineHandle(HANDLE), TARGET
    )
    assert parse_node.unpublish(unpublish).locks == parsed().locks
    stats = csi.NodeGetVolumeStatsRequest(volume_id=HANDLE, volume_path=str(TARGET))
    assert parse_node.stats(stats) == node_requests.InlineStats(ids.InlineHandle(HANDLE), TARGET)
    health = csi.NodeGetVolumeHealthRequest(volume_id=HANDLE)
    assert parse_node.health(health) == node_requests.InlineStats(ids.InlineHandle(HANDLE), None)


def test_a_target_that_leads_elsewhere_is_refused() -> None:
    with pytest.raises(Invalid, match="target_path"):
        parse_node.publish(a_publish(target_path="/a/../b"))
    unpublish = csi.NodeUnpublishVolumeRequest(volume_id=HANDLE, target_path="/a/../b")
    with pytest.raises(Invalid, match="target_path"):
        parse_node.unpublish(unpublish)


def test_stage_and_publish() -> None:
    stage = csi.NodeStageVolumeRequest(
        volume_id=str(V), staging_target_path="/s/", volume_capability=MOUNT
    )
    assert parse_node.stage(stage).staging == Path("/s")
    publish = csi.NodePublishVolumeRequest(
        volume_id=str(V), target_path="/t", volume_capability=MOUNT, readonly=True
    )
    with pytest.raises(Refused, match="staging_target_path"):
        parse_node.publish(publish)
    publish.staging_target_path = "/s"
    parsed = parse_node.publish(publish)
    assert isinstance(parsed, node_requests.NodePublish)
    assert (parsed.staging, parsed.target, parsed.read_only) == (Path("/s"), Path("/t"), True)
    assert parsed.locks.exclusive == {V.key, "path:/t"}


def test_unstage_unpublish_and_expand() -> None:
    unstage = csi.NodeUnstageVolumeRequest(volume_id=str(V), staging_target_path="/s")
    assert parse_node.unstage(unstage) == node_requests.Unstage(V, Path("/s"))
    unpublish = csi.NodeUnpublishVolumeRequest(volume_id=str(V), target_path="/t")
    assert parse_node.unpublish(unpublish) == node_requests.NodeUnpublish(V, Path("/t"))
    expand = csi.NodeExpandVolumeRequest(volume_id=str(V), volume_path="/t")
    assert parse_node.expand(expand) == node_requests.NodeExpand(
        V, Path("/t"), CapacityRange(), None
    )


def test_stats_and_health() -> None:
    stats = csi.NodeGetVolumeStatsRequest(volume_id=str(V), volume_path="some/path")
    with pytest.raises(NotFound):
        parse_node.stats(stats)
    stats.volume_path, stats.staging_target_path = "/t", "/s"
    assert parse_node.stats(stats) == node_requests.GetVolumeStats(V, Path("/t"), Path("/s"))
    health = csi.NodeGetVolumeHealthRequest(volume_id=str(V))
    assert parse_node.health(health) == node_requests.GetVolumeStats(V, None, None)
    health.volume_publish_path = "relative"
    with pytest.raises(Invalid, match="volume_publish_path"):
        parse_node.health(health)


@pytest.mark.parametrize(
    ("secrets", "secret"),
    [
        ({}, None),
        ({"passphrase": ""}, None),
        ({"password": "x"}, None),
        ({"passphrase": " x\n", "other": "y"}, b" x\n"),
        ({"passphrase": "ä"}, "ä".encode()),
    ],
)
def test_the_passphrase_is_taken_as_it_is_and_not_shown(
    secrets: dict[str, str], secret: bytes | None
) -> None:
    stage = parse_node.stage(
        csi.NodeStageVolumeRequest(
            volume_id=str(V), staging_target_path="/s", volume_capability=MOUNT, secrets=secrets
        )
    )
    expand = parse_node.expand(
        csi.NodeExpandVolumeRequest(volume_id=str(V), volume_path="/s", secrets=secrets)
    )
    assert stage.secret == expand.secret == secret
    assert "secret" not in repr(stage) + repr(expand)
