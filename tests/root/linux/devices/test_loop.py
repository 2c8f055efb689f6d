"""Loop devices on real filesystems."""

from __future__ import annotations

import errno
import fcntl
import os
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path

import pytest

from driver.linux import file_probes, files
from driver.linux.devices import block, loop, loop_attach, loop_free, loop_ioctl, loop_settings
from tests.promises.waiting import until

MIB = 1 << 20
MakePool = Callable[..., Path]


@pytest.fixture
def image(pool_dir: Path) -> Path:
    path = pool_dir / "disk.img"
    files.create(path, 16 * MIB, nocow=True, extent_hint=MIB)
    return path


@pytest.fixture
def plain(tmp_path: Path) -> Path:
    """An image where the filesystem does not matter."""
    path = tmp_path / "disk.img"
    files.create(path, 16 * MIB, nocow=True, extent_hint=MIB)
    return path


@pytest.fixture
def attached(plain: Path) -> Iterator[loop.Status]:
    status = attach(plain)
    yield status
    loop.detach(status, bound=5)


def attach(
    image: Path,
    *,
    block_size: int = 4096,
    read_only: bool = False,
    discards: bool = True,
    label: str = "a volume",
) -> loop.Status:
    return loop_attach.attach(
        image, label=label, block_size=block_size, read_only=read_only, discards=discards
    )


def backing(path: Path) -> tuple[int, int]:
    found = path.stat()
    return found.st_dev, found.st_ino


def sysfs(status: loop.Status, name: str) -> str:
    return Path(f"/sys/block/{status.path.name}/{name}").read_text().strip()


def used(path: Path) -> int:
    return path.stat().st_blocks * 512


# attach and find


def test_attach_says_what_the_kernel_says(image: Path) -> None:
    status = attach(image, label="v" * 45)
    try:
        assert status.number == status.path.stat().st_rdev
        assert status.backing == backing(image)
        assert (status.label, status.read_only, status.autoclear) == ("v" * 45, False, False)
        assert loop.status(status.path) == loop.find(backing(image)) == status
        assert status in loop.list_bound()
        assert loop.has_direct_io(status)
    finally:
        loop.detach(status, bound=5)


@pytest.mark.parametrize("size", [512, 4096])
def test_attach_gives_the_block_size_that_was_asked_for(plain: Path, size: int) -> None:
    status = attach(plain, block_size=size)
    try:
        assert int(sysfs(status, "queue/logical_block_size")) == size
        assert block.size(status.path) == 16 * MIB
    finally:
        loop.detach(status, bound=5)


def test_read_only_cannot_be_written_through(image: Path) -> None:
    status = attach(image, read_only=True)
    try:
        assert status.read_only
        assert block.is_read_only(status.path)
        with pytest.raises(PermissionError), status.path.open("r+b", buffering=0) as file:
            file.write(b"x" * 4096)
    finally:
        loop.detach(status, bound=5)


def test_attach_falls_back_to_buffered_io_below_the_sector_size(make_pool: MakePool) -> None:
    pool = make_pool("ext4", sector=4096)
    files.create(pool / "disk.img", MIB, nocow=False, extent_hint=0)
    status = attach(pool / "disk.img", block_size=512)
    try:
        assert not loop.has_direct_io(status)
    finally:
        loop.detach(status, bound=5)


def test_direct_io_can_be_left_out(plain: Path) -> None:
    status = loop_attach.attach(
        plain, label="", block_size=512, read_only=False, discards=True, direct_io=False
    )
    try:
        assert not loop.has_direct_io(status)
    finally:
        loop.detach(status, bound=5)


def test_a_file_that_is_replaced_is_another_file(image: Path) -> None:
    status = attach(image)
    try:
        image.rename(image.with_suffix(".old"))
        files.create(image, MIB, nocow=True, extent_hint=0)
        assert loop.find(backing(image)) is None
        assert loop.find(backing(image.with_suffix(".old"))) == status
    finally:
        loop.detach(status, bound=5)


def test_a_moved_or_deleted_image_is_still_found(image: Path) -> None:
    identity = backing(image)
    status = attach(image)
    try:
        image.unlink()
        assert loop.find(identity) == status
    finally:
        loop.detach(status, bound=5)


def test_a_label_that_the_kernel_would_cut_is_refused(plain: Path) -> None:
    with pytest.raises(OSError, match="63 bytes") as caught:
        attach(plain, label="v" * 64)
    assert caught.value.errno == errno.ENAMETOOLONG


def test_attach_of_nothing_claims_no_device(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        attach(tmp_path / "nothing")


def test_attach_of_a_directory_claims_no_device(tmp_path: Path) -> None:
    with pytest.raises(IsADirectoryError):
        attach(tmp_path)


def test_twenty_at_once_get_a_device_each(tmp_path: Path) -> None:
    found: list[loop.Status] = []

    def one(number: int) -> None:
        path = tmp_path / f"{number}.img"
        files.create(path, MIB, nocow=False, extent_hint=0)
        found.append(attach(path, label=path.name))

    threads = [threading.Thread(target=one, args=(number,)) for number in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    try:
        assert len({status.path for status in found}) == 20
        assert {status.label for status in found} == {f"{number}.img" for number in range(20)}
        for status in found:
            assert backing(tmp_path / status.label) == status.backing
    finally:
        for status in found:
            loop.detach(status, bound=5)


def test_a_node_that_dev_lacks_is_made(plain: Path) -> None:
    """A container's /dev is a tmpfs with the nodes of the moment when it was started."""
    status = attach(plain)
    try:
        status.path.unlink()
        assert loop.find(backing(plain)) == status
        assert status.path.stat().st_rdev == status.number
    finally:
        loop.detach(status, bound=5)


def test_nothing_is_bound_to_a_device_that_does_not_exist() -> None:
    assert loop.status(Path("/dev/loop99999")) is None


def test_a_block_size_that_cannot_be_is_refused(plain: Path) -> None:
    with pytest.raises(OSError) as caught:
        attach(plain, block_size=3)
    assert caught.value.errno == errno.EINVAL


def test_devices_that_others_took_or_removed_are_passed_over(
    plain: Path, attached: loop.Status, own_device: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = ["loop99999", attached.path.name, own_device.name]
    monkeypatch.setattr(loop_free, "candidates", lambda *_, discards: names)
    status = attach(plain)
    assert status.path == own_device
    loop.detach(status, bound=5)


def test_no_device_at_all_is_an_error(plain: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop_free, "candidates", lambda *_, discards: [])
    with pytest.raises(OSError, match="no loop device") as caught:
        attach(plain)
    assert caught.value.errno == errno.EBUSY


def test_nodes_can_be_made_only_of_what_the_kernel_knows() -> None:
    with pytest.raises(FileNotFoundError), loop_ioctl.opened("/dev/loop99999", os.O_RDONLY):
        pass


@pytest.fixture
def own_device(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """One that nobody else takes: they begin with the lowest numbers."""
    with open(loop_ioctl.CONTROL, "rb") as control:
        number = fcntl.ioctl(control, loop_ioctl.LOOP_CTL_ADD, 9000)
        monkeypatch.setattr(loop_free, "candidates", lambda *_, discards: [f"loop{number}"])
        yield Path(f"/dev/loop{number}")
        fcntl.ioctl(control, 0x4C81, number)  # LOOP_CTL_REMOVE


# discards


def discard(device: Path, start: int, length: int) -> None:
    with device.open("r+b") as file:
        fcntl.ioctl(file, 0x1277, start.to_bytes(8, "little") + length.to_bytes(8, "little"))


@pytest.fixture
def full(image: Path) -> Path:
    files.allocate(image, 16 * MIB)
    image.write_bytes(b"x" * (16 * MIB))
    files.sync(image)
    return image


def test_without_discards_nothing_gives_space_back(full: Path) -> None:
    status = attach(full, discards=False)
    try:
        assert sysfs(status, "queue/discard_max_bytes") == "0"
        with pytest.raises(OSError):
            discard(status.path, 0, MIB)
        words = ["fallocate", "--punch-hole", "--offset", "0", "--length", str(MIB)]
        with pytest.raises(subprocess.CalledProcessError):
            subprocess.run([*words, status.path], check=True, capture_output=True)
        subprocess.run(["blkdiscard", "--zeroout", "-l", str(MIB), status.path], check=True)
        block.flush(status.path)
        assert used(full) >= 16 * MIB
        with full.open("rb") as file:
            assert file.read(2 * MIB) == bytes(MIB) + b"x" * MIB
    finally:
        loop.detach(status, bound=5)


def test_with_discards_space_comes_back(full: Path) -> None:
    status = attach(full, discards=True)
    try:
        discard(status.path, 0, 8 * MIB)
        files.sync(full)
        assert used(full) <= 9 * MIB
    finally:
        loop.detach(status, bound=5)


def test_a_device_that_was_without_discards_is_not_used_for_one_with_them(plain: Path) -> None:
    """They cannot be turned on again (Linux 6.9 and later)."""
    for discards in (True, False, True, False):
        status = attach(plain, discards=discards)
        assert (sysfs(status, "queue/discard_max_bytes") != "0") is discards
        loop.detach(status, bound=5)


def test_a_device_that_was_set_read_only_can_be_written_in_its_next_life(plain: Path) -> None:
    """BLKROSET outlives the binding; losetup(8) would meet it too."""
    status = attach(plain)
    block.set_read_only(status.path, read_only=True)
    loop.detach(status, bound=5)
    assert not block.is_read_only(status.path)


def test_discards_that_stay_on_are_an_error(
    plain: Path, own_device: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop_ioctl, "attribute", lambda *_: b"4096")
    with pytest.raises(OSError, match="discards cannot be turned off"):
        attach(plain, discards=False)
    assert loop.find(backing(plain)) is None


def test_attach_lifts_what_others_left_read_only(plain: Path, own_device: Path) -> None:
    subprocess.run(["losetup", own_device, plain], check=True)
    block.set_read_only(own_device, read_only=True)
    subprocess.run(["losetup", "--detach", own_device], check=True)
    assert block.is_read_only(own_device)
    status = attach(plain)
    assert not block.is_read_only(own_device)
    loop.detach(status, bound=5)


def test_a_device_that_was_never_used_gets_no_discards_either(
    plain: Path, own_device: Path
) -> None:
    status = attach(plain, discards=False)
    assert sysfs(status, "queue/discard_max_bytes") == "0"
    loop.detach(status, bound=5)


# detach


def test_detach_is_done_when_it_comes_back(image: Path) -> None:
    status = attach(image)
    loop.detach(status, bound=5)
    assert loop.status(status.path) is None
    with image.open("r+b") as file:
        assert not file_probes.is_open_elsewhere(file.fileno())


def test_detach_twice_is_content(plain: Path) -> None:
    status = attach(plain)
    loop.detach(status, bound=5)
    loop.detach(status, bound=5)


def test_detach_leaves_alone_what_is_another_file_by_now(plain: Path, tmp_path: Path) -> None:
    status = attach(plain)
    loop.detach(status, bound=5)
    other = tmp_path / "other.img"
    files.create(other, MIB, nocow=False, extent_hint=0)
    later = attach(other)
    try:
        stale = loop.Status(later.path, later.number, status.backing, "")
        loop.detach(stale, bound=5)
        assert loop.status(later.path) == later
    finally:
        loop.detach(later, bound=5)


def test_detach_of_a_mounted_device_is_refused_at_once(plain: Path, tmp_path: Path) -> None:
    status = attach(plain)
    subprocess.run(["mkfs.ext4", "-q", status.path], check=True)
    (tmp_path / "there").mkdir()
    subprocess.run(["mount", status.path, tmp_path / "there"], check=True)
    with pytest.raises(OSError) as caught:
        loop.detach(status, bound=5)
    assert caught.value.errno == errno.EBUSY
    assert loop.status(status.path) == status  # no autoclear: nothing was done
    subprocess.run(["umount", tmp_path / "there"], check=True)
    loop.detach(status, bound=5)


def test_detach_of_an_open_device_gives_up_after_its_bound(attached: loop.Status) -> None:
    start = time.monotonic()
    with attached.path.open("rb"):
        with pytest.raises(OSError) as caught:
            loop.detach(attached, bound=0.1)
        assert caught.value.errno == errno.EBUSY
        assert 0.1 <= time.monotonic() - start < 2
        left = loop.status(attached.path)
        assert left is not None
        assert left.autoclear


def test_detach_waits_for_the_one_who_has_it_open(plain: Path) -> None:
    status = attach(plain)
    fd = os.open(status.path, os.O_RDONLY)
    closer = threading.Timer(0.1, os.close, (fd,))
    closer.start()
    loop.detach(status, bound=10)
    closer.join()
    assert loop.find(backing(plain)) is None


def test_keep_takes_back_a_detach(attached: loop.Status) -> None:
    with attached.path.open("rb"):
        with pytest.raises(OSError):
            loop.detach(attached, bound=0)
        loop_settings.reset(attached, label=attached.label)
    assert loop.status(attached.path) == attached


def test_what_was_not_kept_goes_with_its_last_user(plain: Path) -> None:
    status = attach(plain)
    with ExitStack() as user:
        user.enter_context(status.path.open("rb"))
        with pytest.raises(OSError):
            loop.detach(status, bound=0)
    until(lambda: loop.status(status.path) is None)  # whoever looks at it just now is a user too


# grow and stacks


def test_grow_takes_over_the_size_of_the_file(image: Path) -> None:
    status = attach(image)
    try:
        files.extend(image, 32 * MIB)
        assert block.size(status.path) == 16 * MIB
        loop.update_size(status)
        assert block.size(status.path) == 32 * MIB
    finally:
        loop.detach(status, bound=5)


def test_a_device_over_a_device_is_told_apart(attached: loop.Status) -> None:
    """Kubelet does that on raw block volumes."""
    above = attach(attached.path, label="kubelet's")
    try:
        assert list(loop.list_on_device(attached.number)) == [above]
        assert above.backing != attached.backing
        assert loop.find(attached.backing) == attached
    finally:
        loop.detach(above, bound=5)
    assert list(loop.list_on_device(attached.number)) == []


def test_a_dead_pool_does_not_spoil_the_scan(
    make_pool: MakePool,
    plain: Path,
) -> None:
    """A shut down xfs answers EIO for LOOP_GET_STATUS64 of its images."""
    pool = make_pool("xfs")
    files.create(pool / "dead.img", MIB, nocow=False, extent_hint=0)
    dead, alive = attach(pool / "dead.img"), attach(plain)
    try:
        subprocess.run(["xfs_io", "-x", "-c", "shutdown", pool], check=True)
        assert loop.find(alive.backing) == alive
        assert dead not in list(loop.list_bound())
    finally:
        loop.detach(alive, bound=5)
        loop.detach(dead, bound=5)
    assert Path(f"/sys/block/{dead.path.name}/loop").exists() is False


def test_a_search_asks_no_device_of_another_volumes_image(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The filesystem of that may hang, and LOOP_GET_STATUS64 asks it."""
    folders = [tmp_path / f"{'0' * 12}-{digit * 32}" for digit in "ab"]
    with ExitStack() as undo:
        found = []
        for folder in folders:
            folder.mkdir()
            files.create(folder / "disk.img", MIB, nocow=True, extent_hint=MIB)
            found.append(attach(folder / "disk.img"))
            undo.callback(loop.detach, found[-1], bound=5)
        asked = list[str]()
        usual = loop_ioctl.opened

        def noted(path: str, flags: int) -> AbstractContextManager[int]:
            asked.append(path)
            return usual(path, flags)

        monkeypatch.setattr(loop_ioctl, "opened", noted)
        mine = folders[0] / "disk.img"
        assert loop.find(backing(mine), folders[0].name) == found[0]
        assert loop.find((0, 0), folders[0].name) is None
        list(loop.list_on_device(0))
        assert str(found[0].path) in asked
        assert str(found[1].path) not in asked
        (folders[1] / "disk.img").unlink()
        assert loop.find((0, 0), folders[0].name) is None
        assert str(found[1].path) not in asked
        assert loop.find(found[1].backing) == found[1]
        monkeypatch.undo()
