"""Host: where a device is shown, as a filesystem or as a node, and that nothing else is touched."""

from __future__ import annotations

from pathlib import Path

import pytest

from driver.core.devices import Device
from driver.core.errors import CellarError, Invalid, Refused
from driver.core.model import MIB, FsType, Volume
from tests.contract.backends_under_test import BackendUnderTest
from tests.contract.images import cloned, create_volume, formatted

FS = FsType.EXT4


@pytest.fixture
def under_test(host_under_test: BackendUnderTest) -> BackendUnderTest:
    return host_under_test


@pytest.fixture
def volume(under_test: BackendUnderTest) -> Volume:
    return formatted(under_test, FS, size=32 * MIB)


@pytest.fixture
def device(under_test: BackendUnderTest, volume: Volume) -> Device:
    return under_test.pool.backend.attach(volume, read_only=False)


@pytest.fixture
def raw(under_test: BackendUnderTest) -> Device:
    return under_test.pool.backend.attach(create_volume(under_test, "raw"), read_only=False)


def mounted(under_test: BackendUnderTest, device: Device, target: Path) -> Path:
    under_test.pool.host.mount(device, target, FS, [], read_only=False)
    return target


# mounted


def test_a_directory_is_not_a_mount_point(under_test: BackendUnderTest, targets: Path) -> None:
    assert under_test.pool.host.mounted_at(targets) is None
    assert under_test.pool.host.mounted_at(targets / "missing") is None


def test_a_new_device_is_shown_nowhere(under_test: BackendUnderTest, device: Device) -> None:
    assert under_test.pool.host.mount_points(device) == ()


@pytest.mark.parametrize("fs", FsType)
def test_a_mounted_device_is_shown_where_it_was_mounted(
    under_test: BackendUnderTest, targets: Path, fs: FsType
) -> None:
    volume = formatted(under_test, fs, "of its kind")
    device = under_test.pool.backend.attach(volume, read_only=False)
    under_test.pool.host.mount(device, targets / "v", fs, [], read_only=False)
    mount = under_test.pool.host.mounted_at(targets / "v")
    assert mount
    assert mount.target == targets / "v"
    assert mount.number == device.number
    assert under_test.pool.host.volume_label(mount) == str(volume.id)
    assert not mount.node and not mount.read_only
    assert mount.root == "/"
    assert under_test.pool.host.mount_points(device) == (mount,)


def test_mount_makes_the_last_component_of_its_target(
    under_test: BackendUnderTest, device: Device, targets: Path
) -> None:
    assert mounted(under_test, device, targets / "new").is_dir()


def test_mount_takes_a_directory_that_is_there(
    under_test: BackendUnderTest, device: Device, targets: Path
) -> None:
    (targets / "old").mkdir()
    assert under_test.pool.host.mounted_at(mounted(under_test, device, targets / "old"))


def test_mount_makes_no_parents(
    under_test: BackendUnderTest, device: Device, targets: Path
) -> None:
    with pytest.raises((CellarError, OSError)):
        mounted(under_test, device, targets / "parent" / "child")
    assert not (targets / "parent").exists()


def test_a_file_shows_no_filesystem(
    under_test: BackendUnderTest, device: Device, targets: Path
) -> None:
    (targets / "file").touch()
    with pytest.raises((CellarError, OSError)):
        mounted(under_test, device, targets / "file")
    assert under_test.pool.host.mount_points(device) == ()


def test_mount_options_are_shown(
    under_test: BackendUnderTest, device: Device, targets: Path
) -> None:
    under_test.pool.host.mount(device, targets / "v", FS, ["noatime"], read_only=False)
    mount = under_test.pool.host.mounted_at(targets / "v")
    assert mount and "noatime" in mount.options and "ro" not in mount.options


def test_an_option_that_the_kernel_does_not_know_is_invalid_and_leaves_nothing(
    under_test: BackendUnderTest, device: Device, targets: Path
) -> None:
    with pytest.raises(Invalid, match="no_such_option"):
        under_test.pool.host.mount(device, targets / "v", FS, ["no_such_option"], read_only=False)
    assert under_test.pool.host.mount_points(device) == ()
    assert not (targets / "v").exists()


def test_a_blank_device_is_not_mounted(
    under_test: BackendUnderTest, raw: Device, targets: Path
) -> None:
    with pytest.raises(CellarError):
        mounted(under_test, raw, targets / "v")
    assert under_test.pool.host.mounted_at(targets / "v") is None


def test_a_read_only_mount_cannot_be_written_to(
    under_test: BackendUnderTest, device: Device, targets: Path
) -> None:
    under_test.pool.host.mount(device, targets / "v", FS, [], read_only=True)
    mount = under_test.pool.host.mounted_at(targets / "v")
    assert mount and mount.read_only and "ro" in mount.options
    with pytest.raises(OSError):
        under_test.write_file(targets / "v", b"x")


def test_a_device_that_is_mounted_cannot_be_detached(
    under_test: BackendUnderTest, volume: Volume, device: Device, targets: Path
) -> None:
    mounted(under_test, device, targets / "v")
    with pytest.raises(Refused):
        under_test.pool.backend.detach(volume.id)
    assert under_test.pool.backend.attached(volume.id) == device
    under_test.write_file(targets / "v", b"still there")


def test_a_device_that_is_mounted_is_not_attached_the_other_way(
    under_test: BackendUnderTest, volume: Volume, device: Device, targets: Path
) -> None:
    mounted(under_test, device, targets / "v")
    with pytest.raises(Refused):
        under_test.pool.backend.attach(volume, read_only=True)
    under_test.write_file(targets / "v", b"still there")


def test_files_outlast_unmount_and_detach(
    under_test: BackendUnderTest, volume: Volume, device: Device, targets: Path
) -> None:
    under_test.write_file(mounted(under_test, device, targets / "v"), b"kept")
    under_test.pool.host.unmount(targets / "v")
    under_test.pool.backend.detach(volume.id)
    device = under_test.pool.backend.attach(volume, read_only=False)
    assert under_test.read_file(mounted(under_test, device, targets / "v")) == b"kept"


# bound


def test_a_bind_shows_the_same_device(
    under_test: BackendUnderTest, device: Device, targets: Path
) -> None:
    staging = mounted(under_test, device, targets / "staging")
    under_test.pool.host.bind(staging, targets / "pod", read_only=False)
    mount = under_test.pool.host.mounted_at(targets / "pod")
    assert mount and mount.number == device.number and not mount.read_only
    under_test.write_file(targets / "pod", b"hello")
    assert under_test.read_file(staging) == b"hello"
    assert {mount.target for mount in under_test.pool.host.mount_points(device)} == {
        staging,
        targets / "pod",
    }


def test_a_read_only_bind_cannot_be_written_to_and_leaves_its_source_writable(
    under_test: BackendUnderTest, device: Device, targets: Path
) -> None:
    staging = mounted(under_test, device, targets / "staging")
    under_test.pool.host.bind(staging, targets / "pod", read_only=True)
    mount = under_test.pool.host.mounted_at(targets / "pod")
    assert mount and mount.read_only
    with pytest.raises(OSError):
        under_test.write_file(targets / "pod", b"x")
    under_test.write_file(staging, b"hello")
    assert under_test.read_file(targets / "pod") == b"hello"


def test_a_bind_of_a_read_only_mount_is_read_only(
    under_test: BackendUnderTest, device: Device, targets: Path
) -> None:
    under_test.pool.host.mount(device, targets / "staging", FS, [], read_only=True)
    under_test.pool.host.bind(targets / "staging", targets / "pod", read_only=False)
    mount = under_test.pool.host.mounted_at(targets / "pod")
    assert mount and mount.read_only


def test_a_directory_that_is_no_mount_is_never_shown(
    under_test: BackendUnderTest, targets: Path
) -> None:
    (targets / "of the host").mkdir()
    with pytest.raises(Refused):
        under_test.pool.host.bind(targets / "of the host", targets / "pod", read_only=False)
    assert not (targets / "pod").exists()


def test_a_bind_outlasts_its_source(
    under_test: BackendUnderTest, device: Device, targets: Path
) -> None:
    staging = mounted(under_test, device, targets / "staging")
    under_test.pool.host.bind(staging, targets / "pod", read_only=False)
    under_test.pool.host.unmount(staging)
    under_test.write_file(targets / "pod", b"hello")
    assert [mount.target for mount in under_test.pool.host.mount_points(device)] == [
        targets / "pod"
    ]


# exposed


def test_an_exposed_device_is_a_node_at_a_file(
    under_test: BackendUnderTest, raw: Device, targets: Path
) -> None:
    under_test.pool.host.bind_device(raw, targets / "block", read_only=False)
    mount = under_test.pool.host.mounted_at(targets / "block")
    assert mount and mount.node and mount.number == raw.number and not mount.read_only
    assert not (targets / "block").is_dir()
    assert under_test.pool.host.mount_points(raw) == (mount,)


def test_an_exposed_device_cannot_be_detached(
    under_test: BackendUnderTest, raw: Device, targets: Path
) -> None:
    under_test.pool.host.bind_device(raw, targets / "block", read_only=False)
    [volume] = (image for image in under_test.pool.backend.images() if image.name == "raw")
    with pytest.raises(Refused):
        under_test.pool.backend.detach(volume.id)
    under_test.pool.host.unmount(targets / "block")
    under_test.pool.backend.detach(volume.id)


def test_a_directory_shows_no_node(
    under_test: BackendUnderTest, raw: Device, targets: Path
) -> None:
    (targets / "directory").mkdir()
    with pytest.raises((CellarError, OSError)):
        under_test.pool.host.bind_device(raw, targets / "directory", read_only=False)
    assert under_test.pool.host.mount_points(raw) == ()


def test_a_device_can_be_exposed_twice_the_same_way(
    under_test: BackendUnderTest, raw: Device, targets: Path
) -> None:
    for name in "ab":
        under_test.pool.host.bind_device(raw, targets / name, read_only=True)
    assert {mount.read_only for mount in under_test.pool.host.mount_points(raw)} == {True}


@pytest.mark.parametrize("read_only", [True, False])
def test_a_device_is_not_exposed_read_only_and_writable_at_once(
    under_test: BackendUnderTest, raw: Device, targets: Path, *, read_only: bool
) -> None:
    under_test.pool.host.bind_device(raw, targets / "first", read_only=read_only)
    with pytest.raises(Refused):
        under_test.pool.host.bind_device(raw, targets / "second", read_only=not read_only)
    assert not (targets / "second").exists()
    mount = under_test.pool.host.mounted_at(targets / "first")
    assert mount and mount.read_only is read_only


def test_a_device_exposed_read_only_is_writable_again_for_the_next(
    under_test: BackendUnderTest, raw: Device, targets: Path
) -> None:
    under_test.pool.host.bind_device(raw, targets / "first", read_only=True)
    under_test.pool.host.unmount(targets / "first")
    under_test.pool.host.bind_device(raw, targets / "second", read_only=False)
    mount = under_test.pool.host.mounted_at(targets / "second")
    assert mount and not mount.read_only
    under_test.write(raw, 0, b"x")


def test_the_next_volume_is_writable_on_a_device_that_was_exposed_read_only(
    under_test: BackendUnderTest, raw: Device, targets: Path
) -> None:
    under_test.pool.host.bind_device(raw, targets / "block", read_only=True)
    under_test.pool.host.unmount(targets / "block")
    [volume] = under_test.pool.backend.images()
    under_test.pool.backend.detach(volume.id)
    device = under_test.pool.backend.attach(create_volume(under_test, "next"), read_only=False)
    under_test.write(device, 0, b"x")


# taken down


def test_unmount_takes_down_every_layer(
    under_test: BackendUnderTest, device: Device, targets: Path
) -> None:
    target = mounted(under_test, device, targets / "v")
    for _ in range(3):
        under_test.pool.host.bind(target, target, read_only=False)
    assert (
        len(under_test.pool.host.mount_points(device)) >= 4
    )  # on a shared mount each bind doubles them
    under_test.pool.host.unmount(target)
    assert under_test.pool.host.mounted_at(target) is None
    assert under_test.pool.host.mount_points(device) == ()


def test_the_topmost_layer_is_what_is_shown(
    under_test: BackendUnderTest, device: Device, targets: Path
) -> None:
    [source] = under_test.pool.backend.images()
    other = under_test.pool.backend.attach(cloned(under_test, source), read_only=False)
    mounted(under_test, device, targets / "v")
    mounted(under_test, other, targets / "v")
    mount = under_test.pool.host.mounted_at(targets / "v")
    assert mount and mount.number == other.number


def test_a_device_is_not_mounted_twice_at_the_same_place(
    under_test: BackendUnderTest, device: Device, targets: Path
) -> None:
    mounted(under_test, device, targets / "v")
    with pytest.raises(Refused):
        mounted(under_test, device, targets / "v")
    assert len(under_test.pool.host.mount_points(device)) == 1


def test_unmount_leaves_other_places_alone(
    under_test: BackendUnderTest, device: Device, targets: Path
) -> None:
    mounted(under_test, device, targets / "v")
    under_test.pool.host.bind(targets / "v", targets / "v2", read_only=False)
    under_test.pool.host.unmount(targets / "v")
    assert [mount.target for mount in under_test.pool.host.mount_points(device)] == [targets / "v2"]


def test_unmount_is_content_where_nothing_is_mounted(
    under_test: BackendUnderTest, targets: Path
) -> None:
    under_test.pool.host.unmount(targets)
    under_test.pool.host.unmount(targets / "missing")
    under_test.pool.host.unmount(targets / "missing" / "deeper")


def test_a_busy_place_is_not_unmounted(
    under_test: BackendUnderTest, device: Device, targets: Path
) -> None:
    mounted(under_test, device, targets / "v")
    with under_test.working_in(targets / "v"), pytest.raises(Refused):
        under_test.pool.host.unmount(targets / "v")
    assert under_test.pool.host.mounted_at(targets / "v")
    under_test.pool.host.unmount(targets / "v")


def test_a_place_is_thawed_whether_it_was_frozen_or_not(
    under_test: BackendUnderTest, device: Device, targets: Path
) -> None:
    mounted(under_test, device, targets / "v")
    for path in ("v", "v", "missing"):
        under_test.pool.host.thaw(targets / path)
    under_test.write_file(targets / "v", b"x")


def test_remove_takes_away_directories_and_files(
    under_test: BackendUnderTest, device: Device, raw: Device, targets: Path
) -> None:
    mounted(under_test, device, targets / "v")
    under_test.pool.host.bind_device(raw, targets / "block", read_only=False)
    for name in ("v", "block"):
        under_test.pool.host.unmount(targets / name)
        assert (targets / name).exists()
        under_test.pool.host.remove(targets / name)
    assert list(targets.iterdir()) == []


def test_remove_is_content_where_nothing_is(under_test: BackendUnderTest, targets: Path) -> None:
    under_test.pool.host.remove(targets / "missing")
    under_test.pool.host.remove(targets / "missing" / "deeper")


def test_a_mount_point_is_not_removed(
    under_test: BackendUnderTest, device: Device, targets: Path
) -> None:
    under_test.write_file(mounted(under_test, device, targets / "v"), b"kept")
    with pytest.raises(Refused):
        under_test.pool.host.remove(targets / "v")
    assert under_test.read_file(targets / "v") == b"kept"


def test_a_directory_with_something_in_it_is_not_removed(
    under_test: BackendUnderTest, targets: Path
) -> None:
    (targets / "full").mkdir()
    (targets / "full" / "file").touch()
    with pytest.raises(Refused):
        under_test.pool.host.remove(targets / "full")
    assert (targets / "full" / "file").exists()
