"""Host: where a device is shown, as a filesystem or as a node, and that nothing else is touched."""

from __future__ import annotations

from pathlib import Path

import pytest

from driver.core.devices import Device
from driver.core.errors import CellarError, Invalid, Refused
from driver.core.model import MIB, FsType, Volume
from tests.contract.grounds import Ground
from tests.contract.images import cloned, create_volume, formatted

FS = FsType.EXT4


@pytest.fixture
def ground(host_ground: Ground) -> Ground:
    return host_ground


@pytest.fixture
def volume(ground: Ground) -> Volume:
    return formatted(ground, FS, size=32 * MIB)


@pytest.fixture
def device(ground: Ground, volume: Volume) -> Device:
    return ground.pool.backend.attach(volume, read_only=False)


@pytest.fixture
def raw(ground: Ground) -> Device:
    return ground.pool.backend.attach(create_volume(ground, "raw"), read_only=False)


def mounted(ground: Ground, device: Device, target: Path) -> Path:
    ground.pool.host.mount(device, target, FS, [], read_only=False)
    return target


# mounted


def test_a_directory_is_not_a_mount_point(ground: Ground, targets: Path) -> None:
    assert ground.pool.host.mounted_at(targets) is None
    assert ground.pool.host.mounted_at(targets / "missing") is None


def test_a_new_device_is_shown_nowhere(ground: Ground, device: Device) -> None:
    assert ground.pool.host.mount_points(device) == ()


@pytest.mark.parametrize("fs", FsType)
def test_a_mounted_device_is_shown_where_it_was_mounted(
    ground: Ground, targets: Path, fs: FsType
) -> None:
    volume = formatted(ground, fs, "of its kind")
    device = ground.pool.backend.attach(volume, read_only=False)
    ground.pool.host.mount(device, targets / "v", fs, [], read_only=False)
    mount = ground.pool.host.mounted_at(targets / "v")
    assert mount
    assert mount.target == targets / "v"
    assert mount.number == device.number
    assert ground.pool.host.volume_label(mount) == str(volume.id)
    assert not mount.node and not mount.read_only
    assert mount.root == "/"
    assert ground.pool.host.mount_points(device) == (mount,)


def test_mount_makes_the_last_component_of_its_target(
    ground: Ground, device: Device, targets: Path
) -> None:
    assert mounted(ground, device, targets / "new").is_dir()


def test_mount_takes_a_directory_that_is_there(
    ground: Ground, device: Device, targets: Path
) -> None:
    (targets / "old").mkdir()
    assert ground.pool.host.mounted_at(mounted(ground, device, targets / "old"))


def test_mount_makes_no_parents(ground: Ground, device: Device, targets: Path) -> None:
    with pytest.raises((CellarError, OSError)):
        mounted(ground, device, targets / "parent" / "child")
    assert not (targets / "parent").exists()


def test_a_file_shows_no_filesystem(ground: Ground, device: Device, targets: Path) -> None:
    (targets / "file").touch()
    with pytest.raises((CellarError, OSError)):
        mounted(ground, device, targets / "file")
    assert ground.pool.host.mount_points(device) == ()


def test_mount_options_are_shown(ground: Ground, device: Device, targets: Path) -> None:
    ground.pool.host.mount(device, targets / "v", FS, ["noatime"], read_only=False)
    mount = ground.pool.host.mounted_at(targets / "v")
    assert mount and "noatime" in mount.options and "ro" not in mount.options


def test_an_option_that_the_kernel_does_not_know_is_invalid_and_leaves_nothing(
    ground: Ground, device: Device, targets: Path
) -> None:
    with pytest.raises(Invalid, match="no_such_option"):
        ground.pool.host.mount(device, targets / "v", FS, ["no_such_option"], read_only=False)
    assert ground.pool.host.mount_points(device) == ()
    assert not (targets / "v").exists()


def test_a_blank_device_is_not_mounted(ground: Ground, raw: Device, targets: Path) -> None:
    with pytest.raises(CellarError):
        mounted(ground, raw, targets / "v")
    assert ground.pool.host.mounted_at(targets / "v") is None


def test_a_read_only_mount_cannot_be_written_to(
    ground: Ground, device: Device, targets: Path
) -> None:
    ground.pool.host.mount(device, targets / "v", FS, [], read_only=True)
    mount = ground.pool.host.mounted_at(targets / "v")
    assert mount and mount.read_only and "ro" in mount.options
    with pytest.raises(OSError):
        ground.write_file(targets / "v", b"x")


def test_a_device_that_is_mounted_cannot_be_detached(
    ground: Ground, volume: Volume, device: Device, targets: Path
) -> None:
    mounted(ground, device, targets / "v")
    with pytest.raises(Refused):
        ground.pool.backend.detach(volume.id)
    assert ground.pool.backend.attached(volume.id) == device
    ground.write_file(targets / "v", b"still there")


def test_a_device_that_is_mounted_is_not_attached_the_other_way(
    ground: Ground, volume: Volume, device: Device, targets: Path
) -> None:
    mounted(ground, device, targets / "v")
    with pytest.raises(Refused):
        ground.pool.backend.attach(volume, read_only=True)
    ground.write_file(targets / "v", b"still there")


def test_files_outlast_unmount_and_detach(
    ground: Ground, volume: Volume, device: Device, targets: Path
) -> None:
    ground.write_file(mounted(ground, device, targets / "v"), b"kept")
    ground.pool.host.unmount(targets / "v")
    ground.pool.backend.detach(volume.id)
    device = ground.pool.backend.attach(volume, read_only=False)
    assert ground.read_file(mounted(ground, device, targets / "v")) == b"kept"


# bound


def test_a_bind_shows_the_same_device(ground: Ground, device: Device, targets: Path) -> None:
    staging = mounted(ground, device, targets / "staging")
    ground.pool.host.bind(staging, targets / "pod", read_only=False)
    mount = ground.pool.host.mounted_at(targets / "pod")
    assert mount and mount.number == device.number and not mount.read_only
    ground.write_file(targets / "pod", b"hello")
    assert ground.read_file(staging) == b"hello"
    assert {mount.target for mount in ground.pool.host.mount_points(device)} == {
        staging,
        targets / "pod",
    }


def test_a_read_only_bind_cannot_be_written_to_and_leaves_its_source_writable(
    ground: Ground, device: Device, targets: Path
) -> None:
    staging = mounted(ground, device, targets / "staging")
    ground.pool.host.bind(staging, targets / "pod", read_only=True)
    mount = ground.pool.host.mounted_at(targets / "pod")
    assert mount and mount.read_only
    with pytest.raises(OSError):
        ground.write_file(targets / "pod", b"x")
    ground.write_file(staging, b"hello")
    assert ground.read_file(targets / "pod") == b"hello"


def test_a_bind_of_a_read_only_mount_is_read_only(
    ground: Ground, device: Device, targets: Path
) -> None:
    ground.pool.host.mount(device, targets / "staging", FS, [], read_only=True)
    ground.pool.host.bind(targets / "staging", targets / "pod", read_only=False)
    mount = ground.pool.host.mounted_at(targets / "pod")
    assert mount and mount.read_only


def test_a_directory_that_is_no_mount_is_never_shown(ground: Ground, targets: Path) -> None:
    (targets / "of the host").mkdir()
    with pytest.raises(Refused):
        ground.pool.host.bind(targets / "of the host", targets / "pod", read_only=False)
    assert not (targets / "pod").exists()


def test_a_bind_outlasts_its_source(ground: Ground, device: Device, targets: Path) -> None:
    staging = mounted(ground, device, targets / "staging")
    ground.pool.host.bind(staging, targets / "pod", read_only=False)
    ground.pool.host.unmount(staging)
    ground.write_file(targets / "pod", b"hello")
    assert [mount.target for mount in ground.pool.host.mount_points(device)] == [targets / "pod"]


# exposed


def test_an_exposed_device_is_a_node_at_a_file(ground: Ground, raw: Device, targets: Path) -> None:
    ground.pool.host.bind_device(raw, targets / "block", read_only=False)
    mount = ground.pool.host.mounted_at(targets / "block")
    assert mount and mount.node and mount.number == raw.number and not mount.read_only
    assert not (targets / "block").is_dir()
    assert ground.pool.host.mount_points(raw) == (mount,)


def test_an_exposed_device_cannot_be_detached(ground: Ground, raw: Device, targets: Path) -> None:
    ground.pool.host.bind_device(raw, targets / "block", read_only=False)
    [volume] = (image for image in ground.pool.backend.images() if image.name == "raw")
    with pytest.raises(Refused):
        ground.pool.backend.detach(volume.id)
    ground.pool.host.unmount(targets / "block")
    ground.pool.backend.detach(volume.id)


def test_a_directory_shows_no_node(ground: Ground, raw: Device, targets: Path) -> None:
    (targets / "directory").mkdir()
    with pytest.raises((CellarError, OSError)):
        ground.pool.host.bind_device(raw, targets / "directory", read_only=False)
    assert ground.pool.host.mount_points(raw) == ()


def test_a_device_can_be_exposed_twice_the_same_way(
    ground: Ground, raw: Device, targets: Path
) -> None:
    for name in "ab":
        ground.pool.host.bind_device(raw, targets / name, read_only=True)
    assert {mount.read_only for mount in ground.pool.host.mount_points(raw)} == {True}


@pytest.mark.parametrize("read_only", [True, False])
def test_a_device_is_not_exposed_read_only_and_writable_at_once(
    ground: Ground, raw: Device, targets: Path, *, read_only: bool
) -> None:
    ground.pool.host.bind_device(raw, targets / "first", read_only=read_only)
    with pytest.raises(Refused):
        ground.pool.host.bind_device(raw, targets / "second", read_only=not read_only)
    assert not (targets / "second").exists()
    mount = ground.pool.host.mounted_at(targets / "first")
    assert mount and mount.read_only is read_only


def test_a_device_exposed_read_only_is_writable_again_for_the_next(
    ground: Ground, raw: Device, targets: Path
) -> None:
    ground.pool.host.bind_device(raw, targets / "first", read_only=True)
    ground.pool.host.unmount(targets / "first")
    ground.pool.host.bind_device(raw, targets / "second", read_only=False)
    mount = ground.pool.host.mounted_at(targets / "second")
    assert mount and not mount.read_only
    ground.write(raw, 0, b"x")


def test_the_next_volume_is_writable_on_a_device_that_was_exposed_read_only(
    ground: Ground, raw: Device, targets: Path
) -> None:
    ground.pool.host.bind_device(raw, targets / "block", read_only=True)
    ground.pool.host.unmount(targets / "block")
    [volume] = ground.pool.backend.images()
    ground.pool.backend.detach(volume.id)
    device = ground.pool.backend.attach(create_volume(ground, "next"), read_only=False)
    ground.write(device, 0, b"x")


# taken down


def test_unmount_takes_down_every_layer(ground: Ground, device: Device, targets: Path) -> None:
    target = mounted(ground, device, targets / "v")
    for _ in range(3):
        ground.pool.host.bind(target, target, read_only=False)
    assert (
        len(ground.pool.host.mount_points(device)) >= 4
    )  # on a shared mount each bind doubles them
    ground.pool.host.unmount(target)
    assert ground.pool.host.mounted_at(target) is None
    assert ground.pool.host.mount_points(device) == ()


def test_the_topmost_layer_is_what_is_shown(ground: Ground, device: Device, targets: Path) -> None:
    [source] = ground.pool.backend.images()
    other = ground.pool.backend.attach(cloned(ground, source), read_only=False)
    mounted(ground, device, targets / "v")
    mounted(ground, other, targets / "v")
    mount = ground.pool.host.mounted_at(targets / "v")
    assert mount and mount.number == other.number


def test_a_device_is_not_mounted_twice_at_the_same_place(
    ground: Ground, device: Device, targets: Path
) -> None:
    mounted(ground, device, targets / "v")
    with pytest.raises(Refused):
        mounted(ground, device, targets / "v")
    assert len(ground.pool.host.mount_points(device)) == 1


def test_unmount_leaves_other_places_alone(ground: Ground, device: Device, targets: Path) -> None:
    mounted(ground, device, targets / "v")
    ground.pool.host.bind(targets / "v", targets / "v2", read_only=False)
    ground.pool.host.unmount(targets / "v")
    assert [mount.target for mount in ground.pool.host.mount_points(device)] == [targets / "v2"]


def test_unmount_is_content_where_nothing_is_mounted(ground: Ground, targets: Path) -> None:
    ground.pool.host.unmount(targets)
    ground.pool.host.unmount(targets / "missing")
    ground.pool.host.unmount(targets / "missing" / "deeper")


def test_a_busy_place_is_not_unmounted(ground: Ground, device: Device, targets: Path) -> None:
    mounted(ground, device, targets / "v")
    with ground.working_in(targets / "v"), pytest.raises(Refused):
        ground.pool.host.unmount(targets / "v")
    assert ground.pool.host.mounted_at(targets / "v")
    ground.pool.host.unmount(targets / "v")


def test_a_place_is_thawed_whether_it_was_frozen_or_not(
    ground: Ground, device: Device, targets: Path
) -> None:
    mounted(ground, device, targets / "v")
    for path in ("v", "v", "missing"):
        ground.pool.host.thaw(targets / path)
    ground.write_file(targets / "v", b"x")


def test_remove_takes_away_directories_and_files(
    ground: Ground, device: Device, raw: Device, targets: Path
) -> None:
    mounted(ground, device, targets / "v")
    ground.pool.host.bind_device(raw, targets / "block", read_only=False)
    for name in ("v", "block"):
        ground.pool.host.unmount(targets / name)
        assert (targets / name).exists()
        ground.pool.host.remove(targets / name)
    assert list(targets.iterdir()) == []


def test_remove_is_content_where_nothing_is(ground: Ground, targets: Path) -> None:
    ground.pool.host.remove(targets / "missing")
    ground.pool.host.remove(targets / "missing" / "deeper")


def test_a_mount_point_is_not_removed(ground: Ground, device: Device, targets: Path) -> None:
    ground.write_file(mounted(ground, device, targets / "v"), b"kept")
    with pytest.raises(Refused):
        ground.pool.host.remove(targets / "v")
    assert ground.read_file(targets / "v") == b"kept"


def test_a_directory_with_something_in_it_is_not_removed(ground: Ground, targets: Path) -> None:
    (targets / "full").mkdir()
    (targets / "full" / "file").touch()
    with pytest.raises(Refused):
        ground.pool.host.remove(targets / "full")
    assert (targets / "full" / "file").exists()
