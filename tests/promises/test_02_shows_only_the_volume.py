"""Promise 2: a pod is shown its volume or nothing, once, and as it asked for it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.promises.conftest import Served
from tests.support.client import outcome, refused
from tests.support.disks import MIB, run
from tests.support.node import Life, layers, mount_points


@pytest.fixture
def life(one: Served, request: pytest.FixtureRequest) -> Iterator[Life]:
    """A fresh ext4 volume, taken down whatever the test did."""
    life = one.life(one.csi.create(request.node.name).volume_id)
    yield life
    for place in (life.target, life.staging):
        while layers(place):
            run("umount", place)
    life.down()
    one.csi.delete(life.volume_id)


def _published_right(life: Life, secret: Path) -> bool:
    """OK: then the volume is shown. Refused: then nothing is."""
    if (code := outcome(life.publish)) != "OK":
        assert code == "FAILED_PRECONDITION"
        assert layers(life.target) == 0
        return False
    assert layers(life.target) == 1
    assert not (life.target / secret.name).exists()
    assert os.stat(life.target).st_dev != os.stat(life.target.parent).st_dev
    (life.target / "probe").write_text("the pod's")
    life.unpublish()
    return True


def test_a_plain_directory_at_the_staging_path_is_never_shown(life: Life) -> None:
    secret = life.staging / "host-file"
    secret.write_text("the host's")
    _published_right(life, secret)
    while layers(life.staging):
        run("umount", life.staging)
    assert os.listdir(life.staging) == ["host-file"]
    assert secret.read_text() == "the host's"
    secret.unlink()


def test_a_staging_path_that_is_not_there_is_never_shown(life: Life) -> None:
    life.staging.rmdir()
    _published_right(life, life.staging / "nothing")


def test_a_staging_mount_that_somebody_took_away_is_never_replaced_by_the_directory(
    life: Life,
) -> None:
    life.up()
    life.write("before")
    life.unpublish()
    run("umount", life.staging)
    if _published_right(life, life.staging / "host-file"):
        life.publish()
        assert (life.target / "before").exists()


def test_a_tmpfs_at_the_staging_path_is_never_shown(life: Life) -> None:
    run("mount", "-t", "tmpfs", "none", life.staging)
    (life.staging / "host-file").write_text("the host's")
    with refused("FAILED_PRECONDITION", "ALREADY_EXISTS"):
        life.publish()
    assert layers(life.target) == 0
    run("umount", life.staging)


def test_another_volume_at_the_staging_path_is_never_shown(one: Served, life: Life) -> None:
    other = one.life(one.csi.create("other").volume_id, pod="other")
    other.stage()
    run("mount", "--bind", other.staging, life.staging)
    with refused("FAILED_PRECONDITION", "ALREADY_EXISTS"):
        life.publish()
    assert layers(life.target) == 0
    run("umount", life.staging)
    other.unstage()
    one.csi.delete(other.volume_id)


def test_a_part_of_the_volume_at_the_staging_path_is_never_shown_as_the_whole(life: Life) -> None:
    life.stage()
    (life.staging / "part").mkdir()
    aside = life.staging.with_name("aside")
    aside.mkdir()
    run("mount", "--bind", life.staging, aside)
    run("umount", life.staging)
    run("mount", "--bind", aside / "part", life.staging)
    try:
        with refused("FAILED_PRECONDITION", "ALREADY_EXISTS"):
            life.publish()
        assert layers(life.target) == 0
    finally:
        run("umount", life.staging)
        run("umount", aside)
        aside.rmdir()


def test_a_target_that_shows_something_else_is_left_alone(life: Life) -> None:
    life.stage()
    life.target.mkdir()
    run("mount", "-t", "tmpfs", "none", life.target)
    (life.target / "theirs").touch()
    with refused("ALREADY_EXISTS", "FAILED_PRECONDITION", "INTERNAL"):
        life.publish()
    assert (life.target / "theirs").exists()
    assert layers(life.target) == 1
    run("umount", life.target)


def test_a_staging_path_that_shows_something_else_is_left_alone(one: Served, life: Life) -> None:
    run("mount", "-t", "tmpfs", "none", life.staging)
    with refused("ALREADY_EXISTS", "FAILED_PRECONDITION"):
        life.stage()
    assert layers(life.staging) == 1
    assert one.node.loops() == []
    run("umount", life.staging)


def test_twenty_publishes_leave_one_mount_and_one_unpublish_none(life: Life) -> None:
    for _ in range(20):
        life.up()
    assert layers(life.staging) == 1
    assert layers(life.target) == 1
    life.unpublish()
    assert layers(life.target) == 0
    assert not life.target.exists()
    life.unstage()
    assert layers(life.staging) == 0


def test_stacked_binds_are_all_removed(life: Life) -> None:
    life.up()
    for _ in range(3):
        run("mount", "--bind", life.staging, life.target)
    assert layers(life.target) == 4
    life.unpublish()
    assert layers(life.target) == 0
    run("mount", "--bind", life.staging, life.staging)
    life.unstage()
    assert layers(life.staging) == 0


def test_twenty_publishes_of_a_block_volume_leave_one_mount(one: Served) -> None:
    life = one.life(one.csi.create("block20", 4 * MIB, block=True).volume_id, block=True)
    for _ in range(20):
        life.up()
    assert layers(life.target) == 1
    assert life.target.is_block_device()
    life.down()
    assert not life.target.exists()
    one.csi.delete(life.volume_id)


def test_taking_down_what_was_never_up_deletes_no_file(life: Life) -> None:
    life.target.mkdir()
    for place in (life.target, life.staging):
        (place / "precious").write_text("the host's")
    for call in (life.unpublish, life.unstage):
        outcome(call)  # OK, since nothing was mounted, or a refusal
    for place in (life.target, life.staging):
        assert (place / "precious").read_text() == "the host's"
        (place / "precious").unlink()


def test_repeated_unpublish_and_unstage_are_content(life: Life) -> None:
    life.up()
    for _ in range(3):
        life.unpublish()
    for _ in range(3):
        life.unstage()


def test_unpublish_works_where_the_path_cannot_be_looked_at(life: Life) -> None:
    """A filesystem that was shut down answers EIO to stat; mountinfo does not."""
    life.up()
    life.write()
    run("xfs_io", "-x", "-c", "shutdown", life.staging)
    life.down()
    assert not [one for one in mount_points() if one.startswith(str(life.staging))]


def test_a_read_only_publish_refuses_writes(life: Life) -> None:
    life.stage()
    life.publish(read_only=True)
    with pytest.raises(OSError, match="Read-only"):
        (life.target / "file").touch()
    with refused("ALREADY_EXISTS"):
        life.publish(read_only=False)
    life.unpublish()
    life.publish()
    (life.target / "file").touch()


def test_a_read_only_publish_of_a_block_volume_refuses_writes(one: Served) -> None:
    life = one.life(one.csi.create("block-ro", 4 * MIB, block=True).volume_id, block=True)
    life.stage()
    life.publish(read_only=True)
    try:
        descriptor = os.open(life.target, os.O_WRONLY)
    except OSError:
        pass  # EROFS or EACCES at open is as good
    else:
        with pytest.raises(OSError):  # noqa: PT012 - either of the two may say no
            os.pwrite(descriptor, b"x" * 4096, 0)
            os.fsync(descriptor)
        os.close(descriptor)
    life.down()
    one.csi.delete(life.volume_id)


def test_a_single_writer_is_alone(one: Served) -> None:
    volume = one.csi.create("single", mode="SINGLE_NODE_SINGLE_WRITER")
    life = one.life(volume.volume_id, mode="SINGLE_NODE_SINGLE_WRITER")
    life.up()
    second = life.target.with_name("second")
    with refused("FAILED_PRECONDITION"):
        life.publish(target=second)
    assert layers(second) == 0
    life.publish()  # the same one again is no second one
    life.down()
    one.csi.delete(life.volume_id)


def test_many_writers_of_a_node_share_one_volume(one: Served) -> None:
    volume = one.csi.create("many", mode="SINGLE_NODE_MULTI_WRITER")
    life = one.life(volume.volume_id, mode="SINGLE_NODE_MULTI_WRITER")
    life.up()
    second = life.publish(target=life.target.with_name("second-pod"))
    (life.target / "said").write_text("hello")
    assert (second / "said").read_text() == "hello"
    one.csi.unpublish(life.volume_id, second)
    assert (life.target / "said").exists()
    life.down()
    one.csi.delete(life.volume_id)


def test_stats_of_a_path_that_is_not_ours_are_not_found(one: Served, life: Life) -> None:
    life.up()
    assert one.csi.stats(life.volume_id, life.target).usage
    for path in (life.target.parent, life.target / "no", one.node.base / "never"):
        with refused("NOT_FOUND"):
            one.csi.stats(life.volume_id, path)


def test_a_mount_that_the_driver_does_not_own_is_not_taken_down(one: Served, life: Life) -> None:
    """Unpublish of our volume at somebody else's mount must not unmount it."""
    life.target.mkdir()
    run("mount", "-t", "tmpfs", "none", life.target)
    (life.target / "theirs").touch()
    outcome(life.unpublish)  # OK may only mean: not published there
    assert (life.target / "theirs").exists()
    run("umount", life.target)
