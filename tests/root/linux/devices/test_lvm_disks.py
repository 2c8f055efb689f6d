"""Which devices LVM is shown: what a tenant may write to never is, whatever was named."""

from __future__ import annotations

import os
import struct
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from driver.core.model import MIB
from driver.linux.devices import loop, loop_attach, lvm_disks
from driver.linux.mounts import mount

Bind = Callable[..., loop.Status]
IMAGE = f"{'0' * 12}-{'a' * 32}/disk.img"  # in a pool of loop files


@pytest.fixture
def undo() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


@pytest.fixture
def bind(tmp_path: Path, undo: ExitStack) -> Bind:
    """`bind("name")` binds a file of that name that carries a label, `bind(path)` a device."""

    def bound(what: str | Path) -> loop.Status:
        path = tmp_path / what
        if not path.exists():
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(b"LABELONE".ljust(24, b"\0") + b"LVM2 001")
            os.truncate(path, 16 * MIB)
        status = loop_attach.attach(path, label="", block_size=512, read_only=False, discards=True)
        undo.callback(loop.detach, status, bound=5)
        return status

    return bound


def shown(named: list[str], status: loop.Status) -> bool:
    return status.path in lvm_disks.Disks(named).find_labelled_disks()


def reason(named: list[str], path: Path) -> str:
    return lvm_disks.Disks(named).exclusion_reason(path.name) or ""


def test_a_loop_device_counts_only_if_it_was_named(bind: Bind, tmp_path: Path) -> None:
    disk = bind("disk")
    other = bind("other")
    assert not shown([], disk)
    assert not shown(["/dev/loop*", "/dev/*"], disk)
    assert not shown([str(other.path)], disk)
    assert not shown([str(tmp_path / "missing")], disk)
    for named in (disk.path, tmp_path / "disk"):
        assert shown([str(named)], disk)
        assert shown(["/nowhere", str(named), str(other.path)], disk)
        assert not shown([str(named)], other)
    link = tmp_path / "by-id"
    link.symlink_to(disk.path)
    assert shown([str(link)], disk)


def test_an_image_of_a_volume_never_counts(bind: Bind, tmp_path: Path) -> None:
    image = bind(IMAGE)
    above = bind(image.path)  # as kubelet does it
    for named in ([], ["/dev/loop*"], [str(image.path), str(above.path), str(tmp_path / IMAGE)]):
        assert not shown(named, image)
        assert not shown(named, above)
    said = lvm_disks.Disks([str(image.path), str(above.path)]).refusals()
    assert f"{image.path} is a loop device that shows a volume" in said
    assert str(above.path) in said
    (tmp_path / IMAGE).unlink()
    assert "shows a volume" in reason([str(image.path)], image.path)


def test_what_is_in_the_directory_of_kubelet_never_counts(bind: Bind) -> None:
    assert "shows a volume" in reason([], (found := bind("kubelet/disk")).path)
    assert not shown([str(found.path)], found)


@pytest.mark.parametrize("name", ["disk", IMAGE])
def test_a_partition_is_what_it_is_a_part_of(bind: Bind, undo: ExitStack, name: str) -> None:
    status = bind(name)
    entry = struct.pack("<B3xB3xII", 0, 0x83, 2048, 4096)
    with status.path.open("r+b", buffering=0) as node:
        node.write(bytes(446) + entry + bytes(48) + b"\x55\xaa")
    part = Path(f"{status.path}p1")
    os.system(f"partx --add {status.path} >/dev/null 2>&1")
    undo.callback(os.system, f"partx --delete {status.path} >/dev/null 2>&1")
    if not Path("/sys/class/block", part.name).exists():
        pytest.skip("this kernel makes no partitions of loop devices")
    assert "loop device" in reason([], part)
    assert reason(["/dev/loop*"], part)
    if not part.exists():  # no devtmpfs here
        return
    assert bool(reason([str(part)], part)) is (name == IMAGE)


def test_what_a_pod_is_shown_never_counts_nor_what_lies_below_it(
    bind: Bind, undo: ExitStack, tmp_path: Path
) -> None:
    below = bind("disk")
    given = bind(below.path)
    named = [str(below.path), str(given.path), str(tmp_path / "disk")]
    assert not reason(named, below.path) and not reason(named, given.path)
    target = tmp_path / "target"
    target.touch()
    mount.bind(given.path, target, read_only=False)
    undo.callback(mount.unmount, target)
    for each in (below, given):
        assert "published to a pod" in reason(named, each.path)
        assert not shown(named, each)


def test_another_file_below_the_same_name_is_told_apart(bind: Bind, tmp_path: Path) -> None:
    status = bind("disk")
    before = lvm_disks.disk_identities([status.path])
    if not before:
        pytest.skip("this kernel does not count disks")
    assert lvm_disks.disk_identities([status.path]) == before
    loop.detach(status, bound=5)
    for _ in range(200):
        again = bind("other")
        if again.path == status.path:
            break
    assert again.path == status.path
    assert lvm_disks.disk_identities([status.path]) != before


def test_a_disk_of_this_machine_counts(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    blocks = tmp_path / "block"
    blocks.mkdir()
    where = {
        "sda": "devices/pci0000:00/0000:00:1f.2/ata1/host0/target0:0:0/0:0:0:0/block/sda",
        "vda": "devices/pci0000:00/0000:00:04.0/virtio1/block/vda",
        "nvme0n1": "devices/pci0000:00/0000:00:01.0/nvme/nvme0/nvme0n1",
        "nvme1n1": "devices/virtual/nvme-subsystem/nvme-subsys1/nvme1n1",
        "md0": "devices/virtual/block/md0",
        "dm-0": "devices/virtual/block/dm-0",
        "sdb": "devices/platform/host3/session1/target3:0:0/3:0:0:1/block/sdb",
        "sdc": "devices/pci0000:00/host5/rport-5:0-1/target5:0:0/5:0:0:1/block/sdc",
        "nvme2n1": "devices/virtual/nvme-fabrics/ctl/nvme2/nvme2n1",
        "nvme3n1": "devices/virtual/nvme-subsystem/nvme-subsys3/nvme3n1",
        "nbd0": "devices/virtual/block/nbd0",
        "zd0": "devices/virtual/block/zd0",
        "rbd0": "devices/rbd/0/block/rbd0",
        "zram0": "devices/virtual/block/zram0",
        "dm-1": "devices/virtual/block/dm-1",
        "dm-2": "devices/virtual/block/dm-2",
    }
    for name, path in where.items():
        (tmp_path / path).mkdir(parents=True)
        (blocks / name).symlink_to(tmp_path / path)
    for name, slave in (("md0", "sda"), ("dm-0", "vda"), ("dm-1", "nbd0"), ("dm-2", "dm-3")):
        (tmp_path / where[name] / "slaves" / slave).mkdir(parents=True)
    (blocks / "dm-3/dm").mkdir(parents=True)
    (blocks / "dm-3/dm/uuid").write_text("LVM-volume\n")
    for name, transport in (("nvme1", "pcie"), ("nvme2", "tcp"), ("nvme3", "rdma")):
        (tmp_path / f"nvme/{name}").mkdir(parents=True)
        (tmp_path / f"nvme/{name}/transport").write_text(transport)
    for number in (1, 3):
        link = tmp_path / f"devices/virtual/nvme-subsystem/nvme-subsys{number}/nvme{number}"
        link.symlink_to(tmp_path / f"nvme/nvme{number}")
    monkeypatch.setattr(lvm_disks, "_BLOCKS", blocks)
    monkeypatch.setattr(lvm_disks, "_NVME", tmp_path / "nvme")
    disks = lvm_disks.Disks([])
    found = {name for name in where if not disks.exclusion_reason(name)}
    assert found == {"sda", "vda", "nvme0n1", "nvme1n1", "md0", "dm-0"}
    assert "network" in str(disks.exclusion_reason("sdb")) and "logical volume" in str(
        disks.exclusion_reason("dm-2")
    )
