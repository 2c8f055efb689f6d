"""Encrypted volumes: unformatted until their first stage, opened with one passphrase, kept apart."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from driver.core.capacity import CapacityRange
from driver.core.devices import Device
from driver.core.errors import Conflict, Failed, Invalid, OutOfRange, Refused
from driver.core.faults import Fault, FaultKind
from driver.core.ids import ImageId, volume_key
from driver.core.model import LUKS_HEADER, MIB, Allocation, FsType, Volume
from driver.core.ports.pool import Pool
from driver.volumes.node import attachment
from driver.volumes.node_requests import GetVolumeStats, NodeExpand, Stage
from driver.volumes.pools.registry import Pools
from driver.volumes.requests import (
    DeleteVolume,
    Expand,
    GetCapacity,
    GetVolume,
    ValidateCapabilities,
)
from tests.unit.volumes.world import BLOCK, MOUNT, READER, SIZE, World

SECRET = b"open sesame"
LARGE = CapacityRange(2 * SIZE)
PLACE = 20 * MIB  # where tests write, inside


@pytest.fixture
def volume(world: World) -> Volume:
    return world.create(encrypted=True, range=LARGE, pool="fast")


@pytest.fixture
def raw(world: World) -> Volume:
    return world.create("raw", encrypted=True, fs=None, range=LARGE, pool="fast")


def pool_of(world: World, volume: Volume) -> Pool:
    return world.pools.with_id(volume.id.pool)


def now(world: World, volume: Volume) -> Volume:
    found = pool_of(world, volume).backend.find(volume.id)
    assert found
    return found


def top(world: World, volume: Volume) -> Device | None:
    return attachment.contents_device(pool_of(world, volume), now(world, volume))


def below(world: World, volume: Volume) -> Device | None:
    return pool_of(world, volume).backend.attached(volume.id)


def bytes_of(world: World, volume: Volume, image_id: ImageId | None = None) -> bytes:
    with pool_of(world, volume).backend.reading(image_id or volume.id) as path:
        return path.read_bytes()


def write(world: World, volume: Volume, data: bytes) -> None:
    device = top(world, volume)
    assert device
    world.host.write(device.path, PLACE, data)


def read(world: World, volume: Volume, length: int = 4) -> bytes:
    device = top(world, volume)
    assert device
    return world.host.read(device.path, PLACE, length)


def staged(world: World, volume: Volume, data: bytes = b"data") -> Volume:
    world.stage(volume, MOUNT if volume.fs else BLOCK, secret=SECRET)
    write(world, volume, data)
    return now(world, volume)


# made


def test_a_new_one_is_blank_and_has_a_key_id_of_its_own(world: World, volume: Volume) -> None:
    assert (
        volume.luks_key_id
        and volume.unformatted
        and not volume.formatted
        and not volume.needs_new_uuid
    )
    assert volume.luks_key_id not in str(volume.id)
    assert not any(bytes_of(world, volume))
    other = world.create("other", encrypted=True, range=LARGE)
    assert other.luks_key_id != volume.luks_key_id
    assert world.create(encrypted=True, range=LARGE) == volume


def test_what_is_encrypted_differs_from_what_is_not(world: World, volume: Volume) -> None:
    for encrypted in (None, False):
        with pytest.raises(Conflict, match="encrypted"):
            world.create(encrypted=encrypted, range=LARGE)
    plain = world.create("plain")
    with pytest.raises(Conflict, match="not encrypted"):
        world.create("plain", encrypted=True)
    wanted = world.wanted(encrypted=True)
    said = ValidateCapabilities(
        volume_id=plain.id, capabilities=(MOUNT,), context={}, parameters=wanted
    )
    assert "encrypted" in str(world.volumes.validate(said))


def test_the_header_is_a_part_of_the_volume(world: World, volume: Volume) -> None:
    assert volume.usable_size == volume.size - LUKS_HEADER
    staged(world, volume)
    assert world.host.usage(world.staging).total == volume.usable_size
    with pytest.raises(OutOfRange):
        world.create("small", encrypted=True, range=CapacityRange(0, 20 * MIB))
    assert world.create("least", encrypted=True, range=CapacityRange(MIB)).size == 32 * MIB
    plain = world.volumes.capacity(GetCapacity(fs=FsType.EXT4))
    sealed = world.volumes.capacity(GetCapacity(fs=FsType.EXT4, encrypted=True))
    assert sealed.smallest == plain.smallest + LUKS_HEADER


def test_a_pool_without_encryption_says_so(world: World) -> None:
    world.volumes._pools = Pools([replace(world.fast, crypt=None)])
    with pytest.raises(Invalid, match=r"parameters\[encrypted\].*fast"):
        world.create(encrypted=True, range=LARGE)
    assert world.events == []


# staged


@pytest.mark.parametrize("secret", [None, b""])
def test_no_stage_without_the_secret(world: World, volume: Volume, secret: bytes | None) -> None:
    with pytest.raises(Invalid, match=r"^secrets\[passphrase\] is required"):
        world.stage(volume, secret=secret)
    assert now(world, volume) == volume
    assert below(world, volume) is None
    staged(world, volume)
    with pytest.raises(Invalid, match=r"^secrets\[passphrase\]"):  # a repeat too
        world.stage(volume, secret=secret)


def test_the_first_stage_formats_and_the_next_ones_open(world: World, volume: Volume) -> None:
    sealed = staged(world, volume)
    assert sealed == replace(volume, formatted=True)
    shown = world.host.mounted_at(world.staging)
    device = top(world, volume)
    assert shown and device and shown.number == device.number
    assert device != below(world, volume)
    world.unstage(volume)
    assert top(world, volume) is below(world, volume) is None
    assert b"data" not in bytes_of(world, volume)
    world.stage(volume, secret=SECRET)
    assert read(world, volume) == b"data"


def test_a_wrong_passphrase_changes_nothing(world: World, volume: Volume) -> None:
    staged(world, volume)
    world.unstage(volume)
    before = bytes_of(world, volume)
    with pytest.raises(Invalid, match=r"secrets\[passphrase\]") as caught:
        world.stage(volume, secret=b"guess")
    assert "guess" not in str(caught.value)
    assert bytes_of(world, volume) == before
    assert below(world, volume) is None


def test_a_repeated_stage_tries_the_passphrase(world: World, volume: Volume) -> None:
    staged(world, volume)
    world.stage(volume, secret=SECRET)
    with pytest.raises(Invalid):
        world.stage(volume, secret=b"guess")
    assert read(world, volume) == b"data"
    assert world.host.mounted_at(world.staging)


def test_what_was_attached_before_it_was_ever_formatted_is_let_go(
    world: World, volume: Volume
) -> None:
    pool_of(world, volume).backend.attach(volume, read_only=False)
    staged(world, volume)


def test_a_first_stage_that_fails_can_be_repeated(
    world: World, volume: Volume, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(*_: Any, **__: Any) -> None:
        raise Failed("mkfs was killed")

    with monkeypatch.context() as broken:
        broken.setattr(world.host, "mkfs", failing)
        with pytest.raises(Failed):
            world.stage(volume, secret=SECRET)
    assert now(world, volume) == volume
    assert not any(bytes_of(world, volume))
    staged(world, volume)


def test_a_stage_that_fails_later_closes_what_it_opened(world: World, volume: Volume) -> None:
    world.host.errors["mount"] = Failed("no")
    with pytest.raises(Failed):
        world.stage(volume, secret=SECRET)
    assert top(world, volume) is below(world, volume) is None
    assert now(world, volume).formatted
    del world.host.errors["mount"]
    staged(world, volume)


def test_what_shows_something_else_is_never_formatted(world: World, volume: Volume) -> None:
    """The header is gone: the record says that it was formatted, so nothing is written."""
    staged(world, volume)
    world.unstage(volume)
    backend = pool_of(world, volume).backend
    device = backend.attach(volume, read_only=False)
    world.host.write(device.path, 0, bytes(4096))
    backend.detach(volume.id)
    before = bytes_of(world, volume)
    with pytest.raises(Refused, match="nothing was written"):
        world.stage(volume, secret=SECRET)
    assert bytes_of(world, volume) == before


# shown


def test_publish_shows_what_is_inside(world: World, volume: Volume) -> None:
    staged(world, volume)
    target = world.publish(volume)
    shown = world.host.mounted_at(target)
    assert shown and shown.number == getattr(top(world, volume), "number", None)
    world.publish(volume)
    numbers = world.mounter.stats(GetVolumeStats(volume.id, target))
    assert numbers.usage and numbers.usage.total == volume.usable_size
    with pytest.raises(Refused):
        world.volumes.delete(DeleteVolume(volume.id))
    world.unpublish(volume)
    world.unstage(volume)
    world.unstage(volume)


def test_publish_does_not_stage_again_what_needs_a_secret(world: World, volume: Volume) -> None:
    with pytest.raises(Refused, match="NodeStageVolume"):
        world.publish(volume)
    staged(world, volume)
    world.unstage(volume)
    with pytest.raises(Refused, match="NodeStageVolume"):
        world.publish(volume)
    assert now(world, volume).formatted
    assert below(world, volume) is None


def test_the_device_below_is_not_the_volume(world: World, volume: Volume) -> None:
    """A place that shows the bytes as they lie in the pool is no place of the volume."""
    staged(world, volume)
    lower = below(world, volume)
    assert lower
    world.host._show(lower, world.target, "/", read_only=False)
    with pytest.raises(Refused, match="is not a mount of"):
        world.publish(volume)


def test_raw_blocks(world: World, raw: Volume) -> None:
    sealed = staged(world, raw)
    assert sealed.formatted
    target = world.publish(raw, BLOCK)
    shown = world.host.mounted_at(target)
    assert shown and shown.node
    assert world.host.read(target, PLACE, 4) == b"data"
    assert world.mounter.stats(GetVolumeStats(raw.id, target)).size == raw.usable_size
    with pytest.raises(Refused):
        world.volumes.delete(DeleteVolume(raw.id))
    world.unpublish(raw)
    with pytest.raises(Refused, match="staged"):
        world.volumes.delete(DeleteVolume(raw.id))
    world.unstage(raw)
    assert top(world, raw) is None
    world.volumes.delete(DeleteVolume(raw.id))


def test_a_reader_of_raw_blocks_comes_after_a_writer(world: World, raw: Volume) -> None:
    staged(world, raw)
    world.unstage(raw)
    reader = replace(READER, block=True)
    world.stage(raw, reader, secret=SECRET)
    target = world.publish(raw, reader)
    with pytest.raises(OSError, match="ead-only"):
        world.host.write(target, PLACE, b"lost")
    world.unpublish(raw)
    world.stage(raw, BLOCK, secret=SECRET)
    assert read(world, raw) == b"data"


# taken down


@pytest.mark.parametrize("closed", [False, True])
def test_an_unstage_that_was_cut_short_goes_on(
    world: World, volume: Volume, *, closed: bool
) -> None:
    staged(world, volume)
    world.host.unmount(world.staging)
    crypt = pool_of(world, volume).crypt
    assert crypt
    if closed:
        crypt.close(str(volume.id))
    world.unstage(volume)
    assert below(world, volume) is None


def test_without_its_pool_it_comes_down_and_is_closed(world: World, volume: Volume) -> None:
    staged(world, volume)
    world.publish(volume)
    world.backend(world.fast).make_unavailable()
    world.unpublish(volume)
    world.unstage(volume)
    assert world.host.mounted_at(world.staging) is None
    crypt = world.fast.crypt
    assert crypt and crypt.opened(str(volume.id), None) is None
    world.backend(world.fast).make_available()
    world.volumes.delete(DeleteVolume(volume.id))


def test_deletion_erases_the_keys_first(
    world: World, volume: Volume, monkeypatch: pytest.MonkeyPatch
) -> None:
    staged(world, volume)
    snapshot = world.snapshot("s", volume.id)
    world.unstage(volume)
    with monkeypatch.context() as broken:
        broken.setattr(world.fast.backend, "delete", _fail)
        with pytest.raises(Failed):
            world.volumes.delete(DeleteVolume(volume.id))
    with pytest.raises(Invalid):
        world.stage(volume, secret=SECRET)
    world.volumes.delete(DeleteVolume(volume.id))
    restored = world.create("r", source=snapshot.id, range=LARGE)
    world.stage(restored, secret=SECRET)
    assert read(world, restored) == b"data"


def test_what_is_blank_or_lost_is_deleted_too(world: World, volume: Volume, raw: Volume) -> None:
    world.volumes.delete(DeleteVolume(volume.id))
    staged(world, raw)
    world.unstage(raw)
    world.backend(world.fast).lose_bytes(raw.id)
    world.volumes.delete(DeleteVolume(raw.id))


# copied


@pytest.mark.parametrize("pool", ["fast", "slow"])
def test_copies_keep_the_key_and_get_uuids_of_their_own(world: World, pool: str) -> None:
    volume = world.create(encrypted=True, range=LARGE, pool=pool, fs=FsType.XFS)
    staged(world, volume)
    snapshot = world.snapshot("s", volume.id)
    assert snapshot.luks_key_id == volume.luks_key_id and not snapshot.unformatted
    uuids, places = {_uuid(world, volume)}, []
    for name, source in (("clone", volume.id), ("restore", snapshot.id)):
        copy = world.create(name, source=source, fs=FsType.XFS, range=LARGE)
        assert (copy.luks_key_id, copy.needs_new_uuid, copy.formatted) == (
            volume.luks_key_id,
            True,
            True,
        )
        places.append(world.stage(copy, secret=SECRET, at=world.tmp / name))
        assert read(world, copy) == b"data"
        assert now(world, copy) == replace(copy, needs_new_uuid=False)
        uuids.add(_uuid(world, copy))
    assert len(uuids) == 3
    containers = {_container(world, one) for one in ("v", "clone", "restore")}
    assert len(containers) == 3


def test_a_renewal_that_was_cut_short_is_done_again(
    world: World, volume: Volume, monkeypatch: pytest.MonkeyPatch
) -> None:
    staged(world, volume)
    copy = world.create("copy", source=volume.id, range=LARGE)
    with monkeypatch.context() as broken:
        broken.setattr(world.host, "new_uuid", _fail)
        with pytest.raises(Failed):
            world.stage(copy, secret=SECRET, at=world.tmp / "copy")
    assert now(world, copy).needs_new_uuid
    world.stage(copy, secret=SECRET, at=world.tmp / "copy")
    assert not now(world, copy).needs_new_uuid


def test_copies_of_nothing_are_as_new(world: World, volume: Volume) -> None:
    snapshot = world.snapshot("s", volume.id)
    assert snapshot.unformatted
    for name, source in (("clone", volume.id), ("restore", snapshot.id)):
        copy = world.create(name, source=source, range=LARGE)
        assert copy.luks_key_id not in {None, volume.luks_key_id}
        assert copy.unformatted and not copy.needs_new_uuid
        world.stage(copy, secret=name.encode(), at=world.tmp / name)
    staged(world, volume)


def test_a_filesystem_may_be_had_as_raw_blocks(world: World, volume: Volume) -> None:
    staged(world, volume)
    copy = world.create("copy", source=volume.id, fs=None, range=LARGE)
    assert not copy.needs_new_uuid and copy.formatted
    world.stage(copy, BLOCK, secret=SECRET, at=world.tmp / "copy")
    assert read(world, copy) == b"data"


@pytest.mark.parametrize("encrypted", [False, True])
def test_a_copy_is_encrypted_as_its_source_is(
    world: World, volume: Volume, *, encrypted: bool
) -> None:
    source = world.create("plain", pool="fast") if encrypted else volume
    with pytest.raises(Invalid, match=r"parameters\[encrypted\]"):
        world.create("copy", source=source.id, encrypted=encrypted)
    size = CapacityRange(source.size)
    made = world.create("copy", source=source.id, encrypted=not encrypted, range=size)
    assert (made.luks_key_id is None) is encrypted
    assert world.create("copy", source=source.id, range=size) == made


# grown


def test_growth_needs_the_secret_once(world: World, volume: Volume) -> None:
    staged(world, volume)
    answer = world.volumes.expand(Expand(volume.id, CapacityRange(4 * SIZE)))
    assert answer.node_expansion_required
    for secret in (None, b"guess"):
        with pytest.raises(Invalid, match=r"secrets\[passphrase\]"):
            grow(world, volume, secret)
    assert grow(world, volume, SECRET) == 4 * SIZE
    assert world.host.usage(world.staging).total == 4 * SIZE - LUKS_HEADER
    assert grow(world, volume, None) == 4 * SIZE  # a repeat


def test_growth_comes_with_the_next_stage_too(world: World, volume: Volume) -> None:
    staged(world, volume)
    world.volumes.expand(Expand(volume.id, CapacityRange(4 * SIZE)))
    world.stage(volume, secret=SECRET)
    assert world.host.usage(world.staging).total == 4 * SIZE - LUKS_HEADER


def test_raw_blocks_grow_on_the_node(world: World, raw: Volume) -> None:
    staged(world, raw)
    target = world.publish(raw, BLOCK)
    assert world.volumes.expand(Expand(raw.id, CapacityRange(4 * SIZE))).node_expansion_required
    wanted = NodeExpand(raw.id, target, CapacityRange(), BLOCK, SECRET)
    assert world.mounter.expand(wanted) == 4 * SIZE
    assert world.mounter.stats(GetVolumeStats(raw.id, target)).size == 4 * SIZE - LUKS_HEADER


# said


def test_faults_are_those_of_the_open_device(world: World, volume: Volume) -> None:

    staged(world, volume)
    device = top(world, volume)
    assert device
    world.host.set_faults(device, Fault(FaultKind.FILESYSTEM_ERRORS, "x"))
    _, faults = world.volumes.get(GetVolume(volume.id))
    assert [one.kind for one in faults] == ["FilesystemErrors"]


def test_an_intent_does_not_show_its_secret(volume: Volume) -> None:

    stage = Stage(volume_id=volume.id, staging=Path("/s"), capability=MOUNT, secret=SECRET)
    expand = NodeExpand(volume.id, Path("/s"), CapacityRange(), None, SECRET)
    assert "sesame" not in repr(stage) + repr(expand)


def test_thick_ones_too(world: World) -> None:
    size = CapacityRange(2 * SIZE)
    raw = world.create("t", encrypted=True, fs=None, range=size, allocation=Allocation.THICK)
    world.stage(raw, BLOCK, secret=SECRET)
    device = top(world, raw)
    assert device and not any(world.host.read(device.path, 0, raw.usable_size))


def grow(world: World, volume: Volume, secret: bytes | None) -> int:
    wanted = NodeExpand(volume.id, world.staging, CapacityRange(4 * SIZE), None, secret)
    return world.mounter.expand(wanted)


def _uuid(world: World, volume: Volume) -> str:
    device = top(world, volume)
    assert device
    header = world.host.probe(device.path)
    assert header
    return header.uuid


def _container(world: World, name: str) -> bytes:
    found = world.pools.find_volume(volume_key(name))
    assert found
    pool, volume = found
    with pool.backend.reading(volume.id) as path, path.open("rb") as file:
        return file.read(80)


def _fail(*_: Any, **__: Any) -> None:
    raise Failed("it was killed")
