"""Promise 9: no id, name, path, option or parameter reaches outside the pool or a command line."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from csi_proto import csi_pb2 as pb
from tests.promises.conftest import Served
from tests.support.client import Csi, capability, of_snapshot, of_volume, outcome
from tests.support.disks import MIB
from tests.support.node import Life

LONG = "x" * 129
IDS = (
    "../../etc",
    "/etc",
    "..",
    ".",
    "-o",
    "--help",
    ".cellar-pool.json",
    ".new-0123456789ab-0123456789abcdef0123456789abcdef",
    "0123456789ab-0123456789abcdef0123456789abcdef/../..",
    "0123456789ab-0123456789abcdef0123456789abcdef\n",
    "0123456789AB-0123456789ABCDEF0123456789ABCDEF",
    "a\0b",
    "$(touch /tmp/owned)",
    "`id`;id|id&",
    "%s%n",
    "\uff46\uff55\uff4c\uff4c",
    LONG,
    "y" * 5000,
)
NAMES = (*IDS[:-2], "a b", "Ünïcødé", "日本語", "x" * 128)
OPTIONS = (
    "/etc/passwd",
    "-d /etc",
    "-L ../../x -U random",
    "-F",
    "-n",
    "-c",
    "--help",
    "-E discard",
    "-b 1024",
    "-O ^metadata_csum;touch /tmp/owned",
    "-J device=/dev/vda",
    "-m 1 /dev/vda",
    "'unclosed",
    "-l bad-blocks",
)
FLAGS = (
    "loop",
    "bind",
    "remount",
    "move",
    "journal_path=/dev/vda",
    "noatime,loop=/dev/loop0",
    "a b",
    "x\0y",
    "noatime\nbind",
    "logdev=/dev/vda",
    "device=/dev/vda",
    "rshared",
)


@pytest.fixture
def life(one: Served) -> Iterator[Life]:
    life = one.life(one.csi.create("victim").volume_id)
    yield life
    life.down()
    one.csi.delete(life.volume_id)


@pytest.fixture(autouse=True)
def untouched(one: Served) -> Iterator[None]:
    """Whatever the test sends, the machine around the pool stays as it is."""
    watched = [Path("/etc"), Path("/tmp/owned"), one.node.base]
    before = [_state(path) for path in watched]
    yield
    assert [_state(path) for path in watched] == before


def _state(path: Path) -> list[str] | None:
    return sorted(os.listdir(path)) if path.exists() else None


def _calls_by_id(csi: Csi, node: Life) -> list[Callable[[str], object]]:
    return [
        csi.attach,
        lambda i: csi.expand(i, 32 * MIB),
        lambda i: csi.create("from", source=of_volume(i)),
        lambda i: csi.create("from", source=of_snapshot(i)),
        lambda i: csi.controller.CreateSnapshot(
            pb.CreateSnapshotRequest(name="s", source_volume_id=i), timeout=10
        ),
        lambda i: csi.controller.ControllerGetVolume(
            pb.ControllerGetVolumeRequest(volume_id=i), timeout=10
        ),
        lambda i: csi.controller.GetSnapshot(pb.GetSnapshotRequest(snapshot_id=i), timeout=10),
        lambda i: csi.controller.ValidateVolumeCapabilities(
            pb.ValidateVolumeCapabilitiesRequest(volume_id=i, volume_capabilities=[capability()]),
            timeout=10,
        ),
        lambda i: csi.controller.ControllerModifyVolume(
            pb.ControllerModifyVolumeRequest(volume_id=i, mutable_parameters={"readIops": "100"}),
            timeout=10,
        ),
        lambda i: csi.snapshot_group("g", [i]),
        lambda i: csi.stage(i, node.staging),
        lambda i: csi.publish(i, node.staging, node.target),
        lambda i: csi.grow(i, node.staging, 32 * MIB),
        lambda i: csi.stats(i, node.staging),
    ]


@pytest.mark.parametrize("bad", IDS, ids=ascii)
def test_an_id_that_is_a_path_or_an_option_names_nothing(one: Served, life: Life, bad: str) -> None:
    before = one.disk.entries()
    for call in _calls_by_id(one.csi, life):
        assert outcome(lambda call=call: call(bad)) in ("NOT_FOUND", "INVALID_ARGUMENT")  # type: ignore[misc]
    for gone in (one.csi.delete, one.csi.delete_snapshot):
        assert outcome(lambda gone=gone: gone(bad)) in ("OK", "INVALID_ARGUMENT")  # type: ignore[misc]
    codes = {
        outcome(lambda: one.csi.unpublish(bad, life.target)),
        outcome(lambda: one.csi.unstage(bad, life.staging)),
        outcome(lambda: one.csi.detach(bad)),
    }
    assert codes <= {"OK", "NOT_FOUND", "INVALID_ARGUMENT"}
    assert one.disk.entries() == before


@pytest.mark.parametrize("name", NAMES, ids=ascii)
def test_a_name_is_only_a_name(one: Served, name: str) -> None:
    """Taken and hashed, or refused; a volume or a snapshot, nothing else."""
    before = set(one.disk.entries())
    code = outcome(lambda: one.csi.create(name))
    assert code in ("OK", "INVALID_ARGUMENT")
    new = set(one.disk.entries()) - before
    assert len(new) == (code == "OK")
    for volume in new:
        assert volume in one.csi.volumes()
        assert one.csi.create(name).volume_id == volume
        request = pb.CreateSnapshotRequest(name=name, source_volume_id=volume)
        snapshot = one.csi.controller.CreateSnapshot(request, timeout=30).snapshot
        assert snapshot.snapshot_id != volume
        one.csi.delete_snapshot(snapshot.snapshot_id)
        one.csi.delete(volume)
    assert set(one.disk.entries()) == before


def test_an_empty_or_too_long_name_is_refused(one: Served) -> None:
    for name in ("", LONG, "x" * 100_000):
        assert outcome(lambda name=name: one.csi.create(name)) == "INVALID_ARGUMENT"  # type: ignore[misc]
    assert one.csi.volumes() == {}


@pytest.mark.parametrize("options", OPTIONS)
def test_mkfs_options_are_a_short_list_and_no_command_line(one: Served, options: str) -> None:
    before = one.disk.entries()
    code = outcome(lambda: one.csi.create("opt", parameters={"mkfsOptions": options}))
    assert code == "INVALID_ARGUMENT"
    assert one.disk.entries() == before


def test_accepted_mkfs_options_are_used(one: Served) -> None:
    volume = one.csi.create("inodes", 32 * MIB, parameters={"mkfsOptions": "-N 4096 -m 0"})
    life = one.life(volume.volume_id)
    life.up()
    assert os.statvfs(life.target).f_files == 4096
    life.down()
    one.csi.delete(life.volume_id)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("unknown", "x"),
        ("../pool", "p"),
        ("pool", "../../etc"),
        ("pool", "no-such-pool"),
        ("allocation", "thick; rm"),
        ("allocation", ""),
        ("blockSize", "1"),
        ("blockSize", "-1"),
        ("encrypted", "yes"),
        ("csi.storage.k8s.io/fstype", "../../bin/sh"),
        ("csi.storage.k8s.io/fstype", "ntfs"),
        ("readIops", "-5"),
        ("readIops", "many"),
        ("readIops", "1e400"),
    ],
)
def test_a_bad_parameter_is_named(one: Served, key: str, value: str) -> None:
    before = one.disk.entries()
    request = one.csi.create_request("par", parameters={key: value}, fs="")
    code = outcome(lambda: one.csi.controller.CreateVolume(request, timeout=10))
    assert code in ("INVALID_ARGUMENT", "RESOURCE_EXHAUSTED")
    assert code == "INVALID_ARGUMENT" or key == "pool"
    assert one.disk.entries() == before


@pytest.mark.parametrize("flag", FLAGS, ids=ascii)
def test_mount_options_name_no_other_device_and_no_other_call(
    one: Served, life: Life, flag: str
) -> None:
    code = outcome(lambda: one.csi.stage(life.volume_id, life.staging, flags=[flag]))
    assert code == "INVALID_ARGUMENT"
    assert one.node.mounts() == []


def test_an_option_that_the_kernel_refuses_leaves_nothing_attached(one: Served, life: Life) -> None:
    code = outcome(lambda: one.csi.stage(life.volume_id, life.staging, flags=["nosuchoption"]))
    assert code in ("INVALID_ARGUMENT", "FAILED_PRECONDITION")
    assert one.node.mounts() == []
    assert one.node.loops() == []


def test_the_same_options_in_other_words_are_the_same_stage(one: Served, life: Life) -> None:
    """And others are not, whoever reads them: mount(8), the kernel, or the filesystem."""

    def stage(*flags: str) -> str:
        return outcome(lambda: one.csi.stage(life.volume_id, life.staging, flags=flags))

    defaults = "rw,suid,dev,exec,auto,nouser,async"
    assert stage("noatime", "relatime", "nodev,dev", defaults) == "OK"
    for same in ([], ["relatime"], ["x-a,comment=b,silent", defaults], ["data=ordered"]):
        assert stage(*same) == "OK"
    for other in ("noatime", "nodev", "data=journal", "commit=77", "errors=remount-ro", "user"):
        assert stage(other) == "ALREADY_EXISTS"
    for wrong in ("nonsense", "logbsize=64k", "errors=panic", 'data="x,journal_path=/dev/sda"'):
        assert stage(wrong) == "INVALID_ARGUMENT"
    life.unstage()
    assert stage("data=journal,noatime") == "OK"
    assert stage("noatime,data=journal") == "OK"
    assert stage("noatime") == "ALREADY_EXISTS"


def test_accepted_mount_options_reach_the_mount(one: Served, life: Life) -> None:
    one.csi.stage(life.volume_id, life.staging, flags=["noatime", "nodev,nosuid"])
    state = os.statvfs(life.staging).f_flag
    assert state & os.ST_NOATIME
    assert state & os.ST_NODEV
    assert state & os.ST_NOSUID


@pytest.mark.parametrize("path", ["relative", "", "-o", "../up", "a\0b"], ids=ascii)
def test_a_path_that_is_not_absolute_is_refused(one: Served, life: Life, path: str) -> None:
    stage = pb.NodeStageVolumeRequest(
        volume_id=life.volume_id, staging_target_path=path, volume_capability=capability()
    )
    publish = pb.NodePublishVolumeRequest(
        volume_id=life.volume_id,
        staging_target_path=str(life.staging),
        target_path=path,
        volume_capability=capability(),
    )
    assert outcome(lambda: one.csi.node.NodeStageVolume(stage, timeout=10)) == "INVALID_ARGUMENT"
    assert (
        outcome(lambda: one.csi.node.NodePublishVolume(publish, timeout=10)) == "INVALID_ARGUMENT"
    )
    assert one.node.mounts() == []


def test_a_link_at_the_target_is_not_followed_out(one: Served, life: Life) -> None:
    """A pod that owned the directory above could have put it there."""
    outside = one.node.base / "kubelet" / "outside"
    outside.mkdir()
    (outside / "file").write_text("theirs")
    life.stage()
    life.target.symlink_to(outside)
    outcome(life.publish)
    assert str(outside) not in one.node.mounts()
    outcome(life.unpublish)
    assert (outside / "file").read_text() == "theirs"
    life.target.unlink(missing_ok=True)
    (outside / "file").unlink()
    outside.rmdir()


def test_shared_access_across_nodes_is_refused(one: Served) -> None:
    for mode in ("MULTI_NODE_MULTI_WRITER", "MULTI_NODE_SINGLE_WRITER"):
        assert outcome(lambda mode=mode: one.csi.create("many", mode=mode)) == "INVALID_ARGUMENT"  # type: ignore[misc]
    assert one.csi.volumes() == {}


def test_a_volume_is_not_published_to_a_node_that_is_not_this_one(one: Served, life: Life) -> None:
    assert outcome(lambda: one.csi.attach(life.volume_id, node="other")) == "NOT_FOUND"
