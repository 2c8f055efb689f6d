"""Encryption on a kernel that has dm-crypt: pools on xfs and of LVM, all use cases."""

from __future__ import annotations

import os
import shutil
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from driver.backends.lvm import tags
from driver.core.capacity import CapacityRange
from driver.core.errors import Invalid, Refused
from driver.core.model import LUKS_HEADER, MIB, Allocation, FsType, Volume, VolumeOptions
from driver.linux.formats.luks import LinuxCrypt, Options
from driver.linux.mounts.freeze import Freezer
from tests.lvm.conftest import layers, lvm, volumes
from tests.lvm.encrypted_pools import (
    MARKS,
    PASSPHRASE,
    SECRET,
    SIZE,
    EncryptedLoopfilePool,
    EncryptedLvmPool,
    EncryptedPool,
    disk,
    mappings,
    read,
    run,
)

pytestmark = MARKS

__all__ = ["disk"]  # a fixture


@pytest.fixture(scope="module")
def freezer() -> Iterator[Freezer]:
    freezer = Freezer()
    yield freezer
    freezer.close()


@pytest.fixture
def tmp() -> Iterator[Path]:
    tmp = Path(tempfile.mkdtemp(prefix="cellar-targets-", dir="/run"))
    yield tmp
    shutil.rmtree(tmp)


@pytest.fixture
def loopfile_world(disk: Path, tmp: Path, freezer: Freezer) -> Iterator[EncryptedLoopfilePool]:
    location = Path(tempfile.mkdtemp(prefix="pool-", dir=disk))
    world = EncryptedLoopfilePool(location, tmp, freezer)
    yield world
    world.close()
    shutil.rmtree(location)
    assert mappings() == []
    assert str(location) not in run("losetup", "--list", "--noheadings")


@pytest.fixture
def thin_world(
    lasting_group: Callable[[str], str], tmp: Path, freezer: Freezer
) -> Iterator[EncryptedLvmPool]:
    yield from lvm_world(lasting_group("thin"), tmp, freezer)


@pytest.fixture
def thick_world(
    lasting_group: Callable[[str], str], tmp: Path, freezer: Freezer
) -> Iterator[EncryptedLvmPool]:
    yield from lvm_world(lasting_group("thick"), tmp, freezer)


def lvm_world(location: str, tmp: Path, freezer: Freezer) -> Iterator[EncryptedLvmPool]:
    world = EncryptedLvmPool(location, tmp, freezer)
    yield world
    world.close()
    assert volumes(location) == []
    assert layers() == []
    assert mappings() == []


@pytest.fixture(
    params=[
        "thin",
        *(pytest.param(kind, marks=pytest.mark.slow) for kind in ("loopfile", "thick")),
    ],
)
def world(request: pytest.FixtureRequest) -> EncryptedPool:
    world = request.getfixturevalue(f"{request.param}_world")
    assert isinstance(world, EncryptedPool)
    return world


@pytest.fixture(params=list(FsType))
def fs(request: pytest.FixtureRequest) -> FsType:
    return FsType(request.param)


def staged(world: EncryptedPool, name: str = "v", fs: FsType | None = FsType.EXT4) -> Volume:
    volume = world.create(name, fs)
    at = world.stage(volume)
    if fs:
        (at / "file").write_text("kept")
    return world.now(volume)


def test_a_life(world: EncryptedPool, fs: FsType) -> None:
    volume = world.create(fs=fs)
    assert volume.luks_key_id and not volume.formatted
    assert not any(world.head(volume.id))
    at = world.stage(volume)
    assert world.now(volume).formatted
    assert world.device(volume).number == os.stat(at).st_dev or fs is FsType.BTRFS
    target = world.publish(volume)
    (target / "file").write_bytes(b"plain text " * 1000)
    os.sync()
    assert world.total(volume) > SIZE // 2
    world.unpublish(volume)
    world.unstage(volume)
    assert mappings() == []
    assert run("grep", "-c", "plain text", str(world.image(volume.id)), ok=False).strip() == "0"
    assert (world.stage(volume) / "file").read_bytes() == b"plain text " * 1000
    world.unstage(volume)
    world.delete(volume.id)


def test_a_wrong_passphrase_changes_nothing(world: EncryptedPool) -> None:
    volume = staged(world)
    world.unstage(volume)
    before = world.head(volume.id)
    with pytest.raises(Invalid, match=r"secrets\[passphrase\]") as caught:
        world.stage(volume, b"wrong-passphrase")
    assert "wrong-passphrase" not in str(caught.value)
    with pytest.raises(Invalid, match=r"secrets\[passphrase\]"):
        world.stage(volume, None)
    assert world.head(volume.id) == before
    assert mappings() == []
    assert world.backend.attached(volume.id) is None
    assert (world.stage(volume) / "file").read_text() == "kept"


def test_a_passphrase_is_taken_byte_for_byte(world: EncryptedPool) -> None:
    volume = world.create()
    world.stage(volume, b"two\nlines\n")
    world.unstage(volume)
    with pytest.raises(Invalid):
        world.stage(volume, b"two\nlines")
    world.stage(volume, b"two\nlines\n")


def test_a_repeated_stage_is_content_but_tries_the_passphrase(world: EncryptedPool) -> None:
    volume = staged(world)
    world.stage(volume)
    with pytest.raises(Invalid):
        world.stage(volume, b"wrong")
    assert (world.staging(volume) / "file").read_text() == "kept"


def test_a_restarted_driver_finds_what_is_open(world: EncryptedPool) -> None:
    volume = staged(world)
    before = world.device(volume)
    world.restart()
    assert world.device(volume) == before
    world.stage(volume)
    target = world.publish(volume)
    assert (target / "file").read_text() == "kept"
    world.restart()
    world.unpublish(volume)
    world.unstage(volume)
    assert mappings() == []


def test_publish_does_not_stage_it_again(world: EncryptedPool) -> None:
    volume = staged(world)
    world.unstage(volume)
    with pytest.raises(Refused, match="NodeStageVolume"):
        world.publish(volume)


def test_a_raw_block_volume(world: EncryptedPool) -> None:
    volume = world.create(fs=None, allocation=world.thick, range=CapacityRange(40 * MIB))
    world.stage(volume)
    target = world.publish(volume)
    assert world.total(volume) == 40 * MIB - LUKS_HEADER
    if world.thick:
        assert not any(read(target, 24 * MIB))  # written zeros, not noise
        assert world.occupied(volume.id) >= 40 * MIB
    fd = os.open(target, os.O_RDWR | os.O_SYNC)
    os.pwrite(fd, b"kept" * 1024, 0)
    os.close(fd)
    world.unpublish(volume)
    world.publish(volume, read_only=True)
    fd = os.open(world.target(volume), os.O_RDWR)
    with pytest.raises(PermissionError):
        os.pwrite(fd, b"lost" * 1024, 0)
    os.close(fd)
    world.stage(volume)  # a repeat, while it is shown read-only
    world.unpublish(volume)
    world.unstage(volume)
    assert b"keptkept" not in world.image(volume.id).read_bytes()
    world.stage(volume)
    assert read(world.publish(volume), 4096) == b"kept" * 1024


def test_it_grows_while_it_is_mounted(world: EncryptedPool) -> None:
    volume = staged(world, fs=FsType.XFS)
    before = world.total(volume)
    with pytest.raises(Invalid, match=r"secrets\[passphrase\]"):
        world.grow(volume, 600 * MIB, secret=None)
    with pytest.raises(Invalid, match=r"secrets\[passphrase\]"):
        world.grow(volume, 600 * MIB, secret=b"wrong")
    world.grow(volume, 600 * MIB)
    assert world.total(volume) >= before + 190 * MIB
    world.grow(volume, 600 * MIB, secret=None)  # a repeat has nothing to open
    assert (world.staging(volume) / "file").read_text() == "kept"


def test_it_grows_at_its_next_stage(world: EncryptedPool) -> None:
    volume = staged(world, fs=FsType.XFS)
    before = world.total(volume)
    with pytest.raises(Invalid):
        world.grow(volume, 600 * MIB, secret=None)
    world.unstage(volume)
    world.stage(volume)
    assert world.total(volume) >= before + 190 * MIB


def test_a_raw_block_volume_grows(world: EncryptedPool) -> None:
    volume = world.create(fs=None, range=CapacityRange(40 * MIB))
    world.stage(volume)
    world.publish(volume)
    world.grow(volume, 80 * MIB)
    assert world.total(volume) == 80 * MIB - LUKS_HEADER


def test_source_snapshot_and_clones_side_by_side(world: EncryptedPool, fs: FsType) -> None:
    volume = staged(world, fs=fs)
    (world.staging(volume) / "late").write_text("unsynced")
    if not world.backend.shares(volume.id):  # a copy of 400 MiB takes longer than writers may wait
        world.unstage(volume)
    snapshot = world.snapshot(volume)
    assert snapshot.luks_key_id == volume.luks_key_id
    restored = world.create("restored", fs, source=snapshot.id)
    cloned = world.create("cloned", fs, source=volume.id)
    for copy in (restored, cloned):
        assert copy.luks_key_id == volume.luks_key_id and copy.needs_new_uuid and copy.formatted
        with pytest.raises(Invalid):
            world.stage(copy, b"wrong")
        assert (world.stage(copy) / "late").read_text() == "unsynced"
        assert not world.now(copy).needs_new_uuid
    world.stage(volume)
    assert len(mappings()) == 3
    every = (volume, restored, cloned)
    inner = {_blkid(world.device(volume).path) for volume in every}
    outer = {_blkid(world.device_below(volume).path) for volume in every}
    assert len(inner) == len(outer) == 3
    world.unstage(volume)
    world.delete(volume.id)
    world.unstage(restored)
    assert (world.stage(restored) / "file").read_text() == "kept"


def test_a_copy_of_nothing_is_as_new(world: EncryptedPool) -> None:
    volume = world.create()
    snapshot = world.snapshot(volume)
    restored = world.create("restored", source=snapshot.id)
    assert (
        restored.luks_key_id
        and restored.luks_key_id != volume.luks_key_id
        and not restored.formatted
    )
    world.stage(restored, b"another passphrase")
    world.stage(volume)


def test_deletion_erases_the_keys_and_a_snapshot_keeps_its_own(world: EncryptedPool) -> None:
    volume = staged(world)
    world.unstage(volume)
    snapshot = world.snapshot(volume)
    kept = world.head(snapshot.id)
    dumps = []
    was = world.backend.delete

    def delete(image_id: object) -> None:
        dumps.append(run("cryptsetup", "luksDump", str(world.image(volume.id))))
        was(volume.id)

    world.backend.delete = delete  # type: ignore[method-assign]
    world.delete(volume.id)
    world.backend.delete = was  # type: ignore[method-assign]
    assert "argon" not in dumps[0] and "Area offset" not in dumps[0]
    assert world.head(snapshot.id) == kept
    restored = world.create("restored", source=snapshot.id)
    assert (world.stage(restored) / "file").read_text() == "kept"


def test_what_is_in_use_is_not_deleted(world: EncryptedPool) -> None:
    volume = staged(world)
    before = world.head(volume.id)
    with pytest.raises(Refused):
        world.delete(volume.id)
    assert world.head(volume.id) == before
    assert (world.staging(volume) / "file").read_text() == "kept"


def test_thick_stays_thick_and_sparse_gives_back(loopfile_world: EncryptedLoopfilePool) -> None:
    world = loopfile_world
    for allocation in (Allocation.THICK, Allocation.SPARSE):
        volume = world.create(allocation.value, allocation=allocation)
        at = world.stage(volume)
        (at / "big").write_bytes(os.urandom(64 * MIB))
        os.sync()
        full = os.stat(world.image(volume.id)).st_blocks
        (at / "big").unlink()
        os.sync()
        run("fstrim", str(at), ok=False)
        os.sync()
        now = os.stat(world.image(volume.id)).st_blocks
        if allocation is Allocation.THICK:
            assert now * 512 >= SIZE
        else:
            assert now < full - (32 * MIB) // 512
        world.unstage(volume)


def test_a_killed_first_stage_is_made_again(
    loopfile_world: EncryptedLoopfilePool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a kill leaves: an open container over the sibling. A start closes and sweeps it."""
    world = loopfile_world
    volume = world.create(allocation=Allocation.THICK)
    building = world.location / f".new-{volume.id}"
    building.mkdir()
    half = building / "disk.img"
    with half.open("wb") as file:
        file.truncate(64 * MIB)
    left = world.crypt.format_and_open(half, SECRET, block_size=4096, zeros=False)
    left.__enter__()
    assert len(mappings()) == 1
    with world.image(volume.id).open("r+b") as file:  # its room was given up already
        file.truncate(0)
        file.truncate(SIZE)
    world.restart()
    assert mappings() == []
    assert not building.exists()
    assert os.stat(world.image(volume.id)).st_blocks * 512 >= SIZE
    (world.stage(volume) / "file").write_text("kept")


def test_a_killed_first_stage_on_a_logical_volume_is_made_again(
    thin_world: EncryptedLvmPool,
) -> None:
    """What a kill leaves: an open container on the volume, and its tag. A start empties it."""
    world = thin_world
    volume = world.create()
    group = world.location.partition("/")[0]
    lvm("lvchange", "--addtag", tags.FILLING, f"{group}/{tags.lv_name(volume.id)}")
    left = world.crypt.format_and_open(world.image(volume.id), SECRET, block_size=4096, zeros=False)
    left.__enter__()
    assert len(mappings()) == 1
    world.restart()
    assert mappings() == []
    assert not any(world.head(volume.id))
    (world.stage(volume) / "file").write_text("kept")


def test_discards_reach_the_thin_pool(thin_world: EncryptedLvmPool) -> None:
    world = thin_world
    volume = world.create()
    at = world.stage(volume)
    (at / "big").write_bytes(os.urandom(64 * MIB))
    os.sync()
    full = world.occupied(volume.id)
    (at / "big").unlink()
    os.sync()
    run("fstrim", str(at))
    assert world.occupied(volume.id) < full - 32 * MIB


def test_a_failed_first_stage_leaves_nothing(world: EncryptedPool) -> None:
    volume = world.create(options=VolumeOptions(mkfs_options=("-N", "999999999999")))
    with pytest.raises(Invalid, match="mkfsOptions"):
        world.stage(volume)
    assert mappings() == []
    assert not world.now(volume).formatted
    assert not any(world.head(volume.id))


def test_a_device_of_somebody_elses_is_left_alone(world: EncryptedPool) -> None:
    volume = staged(world)
    world.unstage(volume)
    other = world.create("other", fs=None, range=CapacityRange(40 * MIB))
    world.stage(other)
    device_below = world.device_below(other).path
    run(
        "dmsetup",
        "create",
        str(volume.id),
        "--table",
        f"0 2048 linear {device_below} 40960",
        ok=False,
    )
    if str(volume.id) in mappings(""):
        with pytest.raises(Refused, match="not what this driver opened"):
            world.stage(volume)
        run("dmsetup", "remove", str(volume.id))
    assert world.backend.attached(volume.id) is None


def test_the_passphrase_is_in_no_command_line_and_no_error(world: EncryptedPool) -> None:
    texts: list[str] = []
    verbs: set[str] = set()
    stop = threading.Event()

    def watch() -> None:
        while not stop.is_set():
            for process in Path("/proc").glob("[0-9]*"):
                for name in ("cmdline", "environ"):
                    try:
                        text = (process / name).read_bytes()
                    except OSError:
                        continue
                    if b"cryptsetup" in text[:64]:
                        verbs.add(text.split(b"\0")[1].decode())
                    if SECRET in text and process.name != str(os.getpid()):
                        texts.append(text.decode(errors="replace"))

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        volume = staged(world)
        world.grow(volume, 2 * SIZE)
        world.unstage(volume)
        errors = []
        for secret in (SECRET + b"x", None):
            with pytest.raises(Invalid) as caught:
                world.stage(volume, secret)
            errors.append(repr(caught.value))
    finally:
        stop.set()
        watcher.join()
    assert texts == []
    assert verbs & {"luksFormat", "open"}
    assert not any(PASSPHRASE in error for error in errors)
    assert PASSPHRASE not in run("dmesg", ok=False)


def test_argon2id_takes_the_memory_that_was_asked_for(tmp: Path) -> None:
    image = tmp / "image"
    with image.open("wb") as file:
        file.truncate(32 * MIB)
    crypt = LinuxCrypt(Options(memory=8 * MIB))
    with crypt.format_and_open(image, SECRET, block_size=512, zeros=True) as inside:
        assert not any(read(inside, 16 * MIB))
    said = run("cryptsetup", "luksDump", str(image))
    assert "argon2id" in said and "8192" in said


def _blkid(location: Path) -> str:
    return run("blkid", "-p", "-o", "value", "-s", "UUID", str(location)).strip()
