"""One implementation each, with what a test must be able to do around the ports.

The suites know a `BackendUnderTest` only: how bytes get through a device or into a mounted filesystem, how
time passes, how a pool goes away, differs from one to the other and is not part of the contract.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from driver.backends.loopfile import backend as loopfile
from driver.backends.loopfile.images import layout
from driver.backends.loopfile.options import Options
from driver.backends.loopfile.pool import marker
from driver.backends.memory import options as memory_options
from driver.backends.memory.host import MemoryHost
from driver.core.devices import Device
from driver.core.ids import ImageId
from driver.core.model import GIB, MIB, Allocation, Bytes, FsType, Image, Volume
from driver.core.ports.pool import Pool
from driver.linux.formats.luks import LinuxCrypt
from driver.linux.formats.luks import Options as CryptOptions
from driver.linux.host import LinuxHost
from driver.linux.mounts.freeze import Freezer
from tests.support.failing_backend import FailingBackend, failing_pool
from tests.support.free_space import finish_deletes
from tests.support.waiting import wait_until

CAP_SYS_RESOURCE = 24  # <linux/capability.h>
OWNER = "cellar.test"
CHEAP = CryptOptions(pbkdf="pbkdf2", iterations=1000)
_FILE_AT = MIB  # where the simulator keeps the one file of a mounted filesystem
_DISK = 4 * GIB  # of the filesystems below the real pools; a sparse file itself


class BackendUnderTest(ABC):
    """A pool, and the world around it. `pool` is another object after `restart`."""

    pool: Pool
    allocations: tuple[Allocation, ...] = (Allocation.THICK, Allocation.SPARSE)  # that it has
    patience: float = 5.0  # seconds for a snapshot while writers stand still
    lives: int = 12  # examples of the stateful test that are worth its time
    drift: Bytes  # what the pool may gain or lose by itself between two questions

    def needs(self, *allocations: Allocation) -> None:
        """Skip where the pool does not have them."""
        if missing := set(allocations) - set(self.allocations):
            pytest.skip(f"the pool has no {', '.join(sorted(missing))} volumes")

    def finish_deletes(self) -> None:  # noqa: B027 - not abstract: most pools have nothing to do
        """Return when what was deleted before is free; at once, where it always is."""

    @abstractmethod
    def restart(self) -> None:
        """The process ends and begins again, where it can be told."""

    @abstractmethod
    def read(self, device: Device, offset: Bytes, length: Bytes) -> bytes: ...
    @abstractmethod
    def write(self, device: Device, offset: Bytes, data: bytes) -> None:
        """As an application would: nothing is flushed."""

    @abstractmethod
    def discard(self, device: Device, offset: Bytes, length: Bytes) -> None: ...

    @abstractmethod
    def read_file(self, target: Path) -> bytes:
        """What was last written to the filesystem shown at `target`; b"": nothing."""

    @abstractmethod
    def write_file(self, target: Path, data: bytes) -> None:
        """Not flushed; OSError where it is shown read-only."""

    @abstractmethod
    def uuid(self, path: Path) -> str:
        """Of the filesystem on a device or in a file."""

    @abstractmethod
    def pass_time(self, seconds: float) -> None: ...
    @abstractmethod
    def measure_shared(self) -> None:
        """Have the pool measure by now what its images share, where it does so by and by."""

    @abstractmethod
    def working_in(self, target: Path) -> AbstractContextManager[None]:
        """Somebody keeps `target` busy."""

    @abstractmethod
    def lose(self, image_id: ImageId) -> None:
        """The bytes of an image vanish behind the driver's back."""

    @abstractmethod
    def damage(self, image_id: ImageId) -> None:
        """Its record cannot be read any more. The process begins again where that is noticed so."""

    @abstractmethod
    def mend(self, image_id: ImageId) -> None:
        """Its record is what it was."""

    @abstractmethod
    def take_away(self) -> None: ...
    @abstractmethod
    def bring_back(self) -> None: ...

    @abstractmethod
    def turn_read_only(self) -> None:
        """The pool is there, and takes no writes."""

    @abstractmethod
    def turn_writable(self) -> None: ...

    @abstractmethod
    def require_growing(self, fs: FsType) -> None:
        """Skip where this process may not grow a mounted filesystem of that kind."""

    def clear(self) -> None:
        """Take down and delete all that a test or an example left."""
        backend, host = self.pool.backend, self.pool.host
        for image in tuple(backend.images()):
            if device := backend.attached(image.id):
                for mount in reversed(host.mount_points(device)):
                    host.unmount(mount.target)
                    host.remove(mount.target)
                backend.detach(image.id)
            backend.delete(image.id)


class MemoryUnderTest(BackendUnderTest):
    drift = 0

    def __init__(
        self, size: Bytes, *, reflink: bool = True, host: MemoryHost | None = None
    ) -> None:
        self._now = 0.0
        options = memory_options.Options(
            allocation=Allocation.SPARSE, reflink=reflink, overcommit=1.5, clock=lambda: self._now
        )
        self._host = host or MemoryHost()
        self.pool = failing_pool("sim", size, options, host=self._host)

    @property
    def _backend(self) -> FailingBackend:
        assert isinstance(self.pool.backend, FailingBackend)
        return self.pool.backend

    def restart(self) -> None:
        """Gone would be gone; nothing to see."""

    def read(self, device: Device, offset: Bytes, length: Bytes) -> bytes:
        return self._host.read(device.path, offset, length)

    def write(self, device: Device, offset: Bytes, data: bytes) -> None:
        self._host.write(device.path, offset, data)

    def discard(self, device: Device, offset: Bytes, length: Bytes) -> None:
        self._host.discard(device.path, offset, length)

    def read_file(self, target: Path) -> bytes:
        return self._host.read(target, _FILE_AT, 4096).rstrip(b"\0")

    def write_file(self, target: Path, data: bytes) -> None:
        self._host.write(target, _FILE_AT, data.ljust(4096, b"\0"))

    def uuid(self, path: Path) -> str:
        header = self._host.probe(path)
        return header.uuid if header else ""

    def pass_time(self, seconds: float) -> None:
        self._now += seconds

    def measure_shared(self) -> None:
        """It always knows."""

    def working_in(self, target: Path) -> AbstractContextManager[None]:
        return self._host.keep_busy(target)

    def lose(self, image_id: ImageId) -> None:
        self._backend.lose_bytes(image_id)

    def damage(self, image_id: ImageId) -> None:
        self._backend.damage_record(image_id)

    def mend(self, image_id: ImageId) -> None:
        self._backend.repair_record(image_id)

    def take_away(self) -> None:
        self._backend.make_unavailable()

    def bring_back(self) -> None:
        self._backend.make_available()

    def turn_read_only(self) -> None:
        self._backend.make_read_only()

    def turn_writable(self) -> None:
        self._backend.make_writable()

    def require_growing(self, fs: FsType) -> None:
        """Nobody forbids it here."""


class RealUnderTest(BackendUnderTest):
    """A pool whose devices, mounts and bytes are the kernel's."""

    def read(self, device: Device, offset: Bytes, length: Bytes) -> bytes:
        with opened(device.path, os.O_RDONLY) as fd:
            return os.pread(fd, length, offset)

    def write(self, device: Device, offset: Bytes, data: bytes) -> None:
        with opened(device.path, os.O_RDWR) as fd:
            os.pwrite(fd, data, offset)

    def discard(self, device: Device, offset: Bytes, length: Bytes) -> None:
        run("blkdiscard", "-o", str(offset), "-l", str(length), os.fspath(device.path))

    def read_file(self, target: Path) -> bytes:
        file = target / "file"
        return file.read_bytes() if file.exists() else b""

    def write_file(self, target: Path, data: bytes) -> None:
        (target / "file").write_bytes(data)

    def uuid(self, path: Path) -> str:
        return run("blkid", "-p", "-o", "value", "-s", "UUID", os.fspath(path.resolve())).strip()

    def pass_time(self, seconds: float) -> None:
        time.sleep(seconds)

    @contextmanager
    def working_in(self, target: Path) -> Iterator[None]:
        with opened(target, os.O_RDONLY | os.O_DIRECTORY):
            yield

    def require_growing(self, fs: FsType) -> None:
        if fs is FsType.EXT4 and not has_capability(CAP_SYS_RESOURCE):
            pytest.skip("needs CAP_SYS_RESOURCE: EXT4_IOC_RESIZE_FS is refused without")

    def clear(self) -> None:
        for image in self.pool.backend.images():  # whoever has the device next may write
            if (device := self.pool.backend.attached(image.id)) and not device.read_only:
                run("blockdev", "--setrw", os.fspath(device.path))
        super().clear()


class LoopfileUnderTest(RealUnderTest):
    """A folder on a real filesystem."""

    drift = MIB  # inodes and directories are freed later than files

    def __init__(self, path: Path, freezer: Freezer) -> None:
        self.directory = path
        self._freezer = freezer
        self._host = LinuxHost()
        marker.initialise(path, OWNER)
        self._open()

    def restart(self) -> None:
        self._backend.close()
        self._open()

    def finish_deletes(self) -> None:
        finish_deletes(self.directory)

    def measure_shared(self) -> None:
        accounts = self._backend._accounts
        accounts._measured.clear()
        accounts._looked_through = -1, 0.0

        def measured() -> bool:
            accounts.catch_up()
            return not accounts._is_behind()

        wait_until(measured)

    def lose(self, image_id: ImageId) -> None:
        (self.directory / str(image_id) / layout.DISK).unlink()

    def damage(self, image_id: ImageId) -> None:
        record = self.directory / str(image_id) / layout.RECORD
        record.rename(record.with_suffix(".good"))
        record.write_text("{")
        self.restart()

    def mend(self, image_id: ImageId) -> None:
        record = self.directory / str(image_id) / layout.RECORD
        record.with_suffix(".good").rename(record)

    def take_away(self) -> None:
        self.directory.rename(self.directory.with_suffix(".away"))
        self.directory.mkdir()  # what an unmounted disk leaves

    def bring_back(self) -> None:
        self.directory.rmdir()
        self.directory.with_suffix(".away").rename(self.directory)

    def turn_read_only(self) -> None:
        run("mount", "--bind", os.fspath(self.directory), os.fspath(self.directory))
        run("mount", "-o", "remount,bind,ro", os.fspath(self.directory))

    def turn_writable(self) -> None:
        run("umount", os.fspath(self.directory))

    def close(self) -> None:
        self.clear()
        self._backend.close()
        shutil.rmtree(self.directory)
        assert str(self.directory) not in run("losetup", "--list", "--noheadings")

    @property
    def _backend(self) -> loopfile.Loopfile:
        assert isinstance(self.pool.backend, loopfile.Loopfile)
        return self.pool.backend

    def _open(self) -> None:
        options = Options(allocation=Allocation.SPARSE, overcommit=1.5)
        backend = loopfile.open_pool("loop", self.directory, options, self._freezer, OWNER)
        self.pool = Pool("loop", backend, self._host, LinuxCrypt(CHEAP))


@dataclass
class SharedDisks:
    """What the backends of one test session share, made when it is first asked for."""

    directory: Path
    _undo: ExitStack = field(default_factory=ExitStack)
    _disks: dict[str, Path] = field(default_factory=dict)
    _freezer: Freezer | None = None

    def close(self) -> None:
        self._undo.close()
        for disk in self._disks.values():
            disk.rmdir()
        self.directory.rmdir()

    def disk(self, fs: str) -> Path:
        """A mounted filesystem of this kind, for pools."""
        if fs not in self._disks:
            image, target = self.directory / f"{fs}.disk", self.directory / fs
            with image.open("wb") as file:
                file.truncate(_DISK)
            target.mkdir()
            run(f"mkfs.{fs}", "-q", os.fspath(image))
            run("mount", "-o", "loop,discard", os.fspath(image), os.fspath(target))
            self._undo.callback(image.unlink)
            self._undo.callback(run, "umount", os.fspath(target))
            self._disks[fs] = target
        return self._disks[fs]

    def freezer(self) -> Freezer:
        if not self._freezer:
            self._freezer = Freezer()
            self._undo.callback(self._freezer.close)
        return self._freezer


Opener = Callable[[SharedDisks], AbstractContextManager[BackendUnderTest]]


def loopfile_on(fs: str) -> Opener:
    @contextmanager
    def opener(shared_disks: SharedDisks) -> Iterator[BackendUnderTest]:
        disk = shared_disks.disk(fs)
        run("sync", "-f", os.fspath(disk))  # what the last test deleted is free by now
        path = Path(tempfile.mkdtemp(prefix="pool-", dir=disk))
        under_test = LoopfileUnderTest(path, shared_disks.freezer())
        try:
            yield under_test
        finally:
            under_test.close()

    return opener


def simulated(*, reflink: bool) -> Opener:
    @contextmanager
    def opener(_shared_disks: SharedDisks) -> Iterator[BackendUnderTest]:
        yield MemoryUnderTest(_DISK, reflink=reflink)

    return opener


def on_lvm(pool: str) -> Opener:
    @contextmanager
    def opener(shared_disks: SharedDisks) -> Iterator[BackendUnderTest]:
        from tests.contract import lvm_under_test  # noqa: PLC0415 - it stands on this module

        with lvm_under_test.on_lvm(shared_disks, pool) as under_test:
            yield under_test

    return opener


BACKENDS: dict[str, Opener] = {
    "memory": simulated(reflink=True),
    "memory-without-reflink": simulated(reflink=False),
    "loopfile-on-ext4": loopfile_on("ext4"),
    "loopfile-on-xfs": loopfile_on("xfs"),
    "loopfile-on-btrfs": loopfile_on("btrfs"),
    "lvm-thick": on_lvm(""),
    "lvm-thin": on_lvm("pool.0"),
}
ROOT = [
    pytest.mark.root,
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root: loop devices and mounts"),
]
LVM = [
    pytest.mark.lvm,
    pytest.mark.skipif(
        not Path("/dev/mapper/control").exists() or os.geteuid() != 0,
        reason="needs root and device-mapper: `make test-lvm`",
    ),
]
MARKS = {name: ROOT for name in BACKENDS if name.startswith("loopfile")}
MARKS |= {"lvm-thick": [*LVM, pytest.mark.slow], "lvm-thin": LVM}
EVERY = [pytest.param(name, marks=MARKS.get(name, [])) for name in BACKENDS]
# For pools that know where bytes lie.
LOCATING = [pytest.param(name, marks=MARKS.get(name, [])) for name in BACKENDS if "lvm" not in name]
# One for each Host: what lies below the pool is not its business.
HOSTS = [
    pytest.param("memory"),
    pytest.param("loopfile-on-xfs", marks=ROOT),
    pytest.param("lvm-thin", marks=[*LVM, pytest.mark.slow]),
]
# For each Crypt: the real one needs a kernel with dm-crypt.
ENCRYPTED = [
    "memory",
    *(
        pytest.param(
            name,
            marks=[
                *LVM,
                *slow,
                pytest.mark.skipif(not shutil.which("cryptsetup"), reason="needs cryptsetup"),
            ],
        )
        for name, slow in (
            ("loopfile-on-xfs", []),
            ("lvm-thick", [pytest.mark.slow]),
            ("lvm-thin", []),
        )
    ),
]


@contextmanager
def opened(path: Path, flags: int) -> Iterator[int]:
    fd = os.open(path, flags | os.O_CLOEXEC)
    try:
        yield fd
    finally:
        os.close(fd)


def has_capability(number: int) -> bool:
    status = Path("/proc/self/status").read_text()
    [effective] = re.findall(r"^CapEff:\s*([0-9a-f]+)$", status, re.MULTILINE)
    return bool(int(effective, 16) >> number & 1)


def run(*words: str) -> str:
    done = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, f"{words}: {done.stderr}"
    return done.stdout


def had_by(name: str) -> tuple[Allocation, ...]:
    """The allocations of a pool, before there is one."""
    thin = (Allocation.THIN,) if name == "lvm-thin" else BackendUnderTest.allocations
    return (Allocation.THICK,) if name == "lvm-thick" else thin


def size_of(path: Path) -> Bytes:
    """Of a file or a block device."""
    with opened(path, os.O_RDONLY) as fd:
        return os.lseek(fd, 0, os.SEEK_END)


def whole(under_test: BackendUnderTest, image: Image) -> bytes:
    """All bytes of an image: through its device if it has one, else as the pool gives them."""
    backend = under_test.pool.backend
    if isinstance(image, Volume) and (device := backend.attached(image.id)):
        return under_test.read(device, 0, image.size)
    with backend.reading(image.id) as path:
        return path.read_bytes()
