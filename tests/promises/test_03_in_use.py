"""Promise 3: what is in use is not deleted, and not cut off."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.promises.conftest import Served
from tests.support.client import digest, of_snapshot, outcome, refused
from tests.support.disks import MIB, run
from tests.support.node import Life, image_of
from tests.support.waiting import wait_until

SIZE = 16 * MIB


def cellar(served: Served, command: str, volume: str) -> None:
    """Run a command of Cellar's about a volume."""
    endpoint = served.csi.driver.endpoint
    run(sys.executable, "-m", "driver", command, volume, "--endpoint", endpoint)


@contextmanager
def unharmed(served: Served, life: Life, name: str = "data") -> Iterator[None]:
    """The bytes of the image, and of a file in it, are what they were."""
    image = image_of(served.disk, life.volume_id, SIZE)
    before = digest(image)
    yield
    assert digest(image) == before


@pytest.fixture
def life(each: Served, request: pytest.FixtureRequest) -> Life:
    return each.life(each.csi.create(request.node.name, SIZE).volume_id)


def test_a_staged_volume_is_not_deleted(each: Served, life: Life) -> None:
    life.up()
    written = life.write()
    life.unpublish()
    run("sync", "--file-system", life.staging)
    with unharmed(each, life), refused("FAILED_PRECONDITION"):
        each.csi.delete(life.volume_id)
    life.publish()
    assert life.read() == written
    life.down()
    each.csi.delete(life.volume_id)


def test_a_held_volume_is_not_deleted_also_after_a_restart(each: Served, life: Life) -> None:
    life.up()
    written = life.write()
    life.down()
    cellar(each, "hold", life.volume_id)
    with unharmed(each, life), refused("FAILED_PRECONDITION") as refusal:
        each.csi.delete(life.volume_id)
    assert "is held" in refusal.text
    each.csi.driver.kill()
    each.csi.driver.start()
    with unharmed(each, life), refused("FAILED_PRECONDITION") as refusal:
        each.csi.delete(life.volume_id)
    assert "is held" in refusal.text
    life.up()
    assert life.read() == written
    life.down()
    cellar(each, "release", life.volume_id)
    each.csi.delete(life.volume_id)


def test_a_published_volume_is_not_deleted(each: Served, life: Life) -> None:
    life.up()
    written = life.write()
    with refused("FAILED_PRECONDITION"):
        each.csi.delete(life.volume_id)
    assert life.read() == written
    assert life.write("more")
    life.down()
    each.csi.delete(life.volume_id)


def test_a_volume_that_another_mount_namespace_holds_is_neither_detached_nor_deleted(
    each: Served, life: Life
) -> None:
    life.up()
    life.write()
    other = each.node.other_namespace()
    life.unpublish()
    with refused("FAILED_PRECONDITION") as refusal:
        life.unstage()
    assert str(other.pid) in refusal.text, "the error names who holds it"
    with unharmed(each, life), refused("FAILED_PRECONDITION"):
        each.csi.delete(life.volume_id)
    each.node.leave(other)
    wait_until(lambda: outcome(life.unstage) == "OK")  # the kernel takes a namespace down by and by
    each.csi.delete(life.volume_id)


def test_a_device_that_somebody_has_open_is_neither_detached_nor_deleted(
    each: Served, life: Life
) -> None:
    life.up()
    device = run("findmnt", "--noheadings", "--output", "SOURCE", life.target).strip()
    holder = each.node.bystander("sh", "-c", 'exec 3<"$0"; echo in; exec cat', device)
    assert holder.stdout
    assert holder.stdout.readline() == b"in\n"
    life.unpublish()
    with refused("FAILED_PRECONDITION") as refusal:
        life.unstage()
    assert str(holder.pid) in refusal.text
    with unharmed(each, life), refused("FAILED_PRECONDITION"):
        each.csi.delete(life.volume_id)
    each.node.leave(holder)
    life.unstage()
    each.csi.delete(life.volume_id)


def test_a_busy_filesystem_is_not_unmounted_lazily(each: Served, life: Life) -> None:
    life.up()
    holder = each.node.bystander(
        "sh", "-c", 'exec 3>"$0/open"; echo in; exec cat', str(life.target)
    )
    assert holder.stdout
    assert holder.stdout.readline() == b"in\n"
    with refused("FAILED_PRECONDITION") as refusal:
        life.unpublish()
    assert str(holder.pid) in refusal.text
    with refused("FAILED_PRECONDITION"):
        each.csi.delete(life.volume_id)
    assert (life.target / "open").exists()
    each.node.leave(holder)
    life.down()
    each.csi.delete(life.volume_id)


def test_a_lost_detach_by_somebody_else_does_not_lose_the_volume(each: Served, life: Life) -> None:
    """`losetup -d` on a mounted device exits 0 and detaches at the last umount."""
    life.up()
    written = life.write()
    device = run("findmnt", "--noheadings", "--output", "SOURCE", life.target).strip()
    run("losetup", "--detach", device)
    with refused("FAILED_PRECONDITION"):
        each.csi.delete(life.volume_id)
    life.down()
    life.up()
    assert life.read() == written
    life.down()
    each.csi.delete(life.volume_id)


def test_an_image_that_an_administrator_mounted_by_hand_is_not_deleted(
    each: Served, life: Life
) -> None:
    image = image_of(each.disk, life.volume_id, SIZE)
    run("mount", "-o", "loop,ro", image, life.staging)
    try:
        with unharmed(each, life), refused("FAILED_PRECONDITION"):
            each.csi.delete(life.volume_id)
    finally:
        run("umount", life.staging)
    wait_until(lambda: outcome(lambda: each.csi.delete(life.volume_id)) == "OK")


def test_an_attached_volume_is_not_deleted_before_it_is_unpublished(
    each: Served, life: Life
) -> None:
    each.csi.attach(life.volume_id)
    with unharmed(each, life), refused("FAILED_PRECONDITION"):
        each.csi.delete(life.volume_id)
    each.csi.detach(life.volume_id)
    each.csi.delete(life.volume_id)
    each.csi.delete(life.volume_id)  # and again


def test_no_second_loop_device_is_made_for_one_image(each: Served, life: Life) -> None:
    life.up()
    second = life.staging.with_name("elsewhere")
    second.mkdir()
    try:
        each.csi.stage(life.volume_id, second, **life.how)
        each.csi.unstage(life.volume_id, second)
    except Exception:  # noqa: BLE001 - refusing a second staging path is right as well
        pass
    assert len(each.node.loops()) == 1
    life.up()
    life.down()
    each.csi.delete(life.volume_id)


def test_a_snapshot_outlives_its_source(each: Served, life: Life) -> None:
    life.up()
    written = life.write()
    life.down()
    snapshot = each.csi.snapshot("outlives", life.volume_id)
    each.csi.delete(life.volume_id)
    assert snapshot.snapshot_id in each.csi.snapshots()
    restored = _restored(each, snapshot.snapshot_id)
    restored.up()
    assert restored.read() == written
    restored.down()
    each.csi.delete(restored.volume_id)
    each.csi.delete_snapshot(snapshot.snapshot_id)


def _restored(served: Served, snapshot_id: str) -> Life:
    volume = served.csi.create_patiently("again", SIZE, source=of_snapshot(snapshot_id))
    return served.life(volume.volume_id)


def test_deleting_leaves_no_open_deleted_file_behind(each: Served) -> None:
    """The room of a deleted volume is given back at once."""
    before = each.disk.free()
    volume = each.csi.create("roomy", 64 * MIB, parameters={"allocation": "thick"})
    life = each.life(volume.volume_id)
    life.up()
    life.down()
    each.csi.delete(life.volume_id)

    def given_back() -> bool:  # in the background on xfs, at the next commit on btrfs
        run("sync", "--file-system", each.disk.where)
        return before - each.disk.free() < 8 * MIB

    wait_until(given_back)
    assert not Path(each.disk.where, life.volume_id).exists()
    assert os.listdir(each.disk.where)
