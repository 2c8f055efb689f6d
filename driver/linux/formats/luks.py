"""LUKS2 by cryptsetup: the passphrase goes through a pipe, and stands in no argument and no error.

What is open is asked of the kernel, by name and by the device below; only what needs the key or
changes the header runs a program.
"""

from __future__ import annotations

import os
import secrets
import stat
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Semaphore
from typing import Final

from loguru import logger

from driver.core.devices import Device
from driver.core.errors import Busy, Failed, Invalid, Refused
from driver.core.model import KIB, LUKS_HEADER, MIB, Bytes
from driver.linux import command
from driver.linux.abilities import Abilities
from driver.linux.devices import block, dm, dm_ioctl, loop, raw
from driver.linux.mounts.holders import holders
from driver.linux.mounts.mount_points import CRYPT, path_of

PROGRAMS: Final = ("cryptsetup",)
SECTOR: Final = 512
_SEALED: Final = "cellar-sealed-"  # begins the name of a mapping that `sealed` makes
OWN: Final = 192 * MIB  # for this process, and other programs that it runs
PROGRAM: Final = 12 * MIB  # of cryptsetup itself; 71 MiB were measured with 64 of the derivation
USUAL_AT_ONCE: Final = 4
MOST_AT_ONCE: Final = 16
_FORMAT: Final = 300.0  # seconds; a slow machine and a costly key derivation
_OPEN: Final = 300.0
_QUICK: Final = 60.0
_DETACH: Final = 10.0

# cryptsetup(8), RETURN CODES
_WRONG_PASSPHRASE: Final = 2
_OUT_OF_MEMORY: Final = 3
_BUSY: Final = 5
# Of the LUKS2 header, on disk: its two magics, where the second stands at least, and its UUID
_MAGIC: Final = b"LUKS\xba\xbe"
_MAGIC_OF_COPY: Final = b"SKUL\xba\xbe"
_COPIES_AT: Final = tuple(16 * KIB << shift for shift in range(9))
_UUID: Final = slice(168, 208)


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """The key derivation of new containers. Opening one takes `memory` bytes while it runs.

    cryptsetup's own choice takes up to 1 GiB, and seconds to measure: too much beside others.
    """

    pbkdf: str = "argon2id"  # or pbkdf2, which takes no memory to speak of
    memory: Bytes = 64 * MIB
    iterations: int = 0  # 0: 4 of argon2id (RFC 9106 wants 3), 600,000 of pbkdf2

    def words(self) -> list[str]:
        """Return them as options of `cryptsetup luksFormat`."""
        if self.pbkdf == "pbkdf2":
            return ["--pbkdf=pbkdf2", f"--pbkdf-force-iterations={self.iterations or 600_000}"]
        return [
            f"--pbkdf={self.pbkdf}",
            f"--pbkdf-memory={self.memory // KIB}",
            "--pbkdf-parallel=1",
            f"--pbkdf-force-iterations={self.iterations or 4}",
        ]


_USUAL: Final = Options()


def at_once(options: Options, memory: Bytes | None) -> int:
    """Return how many keys may be derived at a time with `memory` bytes for all; at least one.

    None: no limit of the memory is known.
    """
    if memory is None:
        return USUAL_AT_ONCE
    cost = PROGRAM + (options.memory if options.pbkdf == "argon2id" else 0)
    return max(1, min(MOST_AT_ONCE, (memory - OWN) // cost))


def lacks_encryption() -> str | None:
    """Return why no encrypted volume can be used here, with the cure; None: one can."""
    what = "no encrypted volumes on this node"
    if missing := command.missing(PROGRAMS):
        return f"{what}: {', '.join(missing)} not found: install it"
    try:
        known = dm_ioctl.knows("crypt")
    except OSError as error:
        return f"{what}: no device-mapper ({dm_ioctl.CONTROL}: {error.strerror}): modprobe dm_mod"
    return None if known else f"{what}: its kernel has no dm-crypt: modprobe dm_crypt"


class LinuxCrypt:
    """Implement core.ports.Crypt; see there for each method.

    Everything is asked of the kernel each time, except what it can do at all. Keys are derived
    a few at once, as many as there is memory for; further calls wait.
    """

    def __init__(self, options: Options = _USUAL, memory: Bytes | None = None) -> None:
        """`memory`: bytes that this process and its children may use; None: no limit is known."""
        self._options = options
        self._abilities = Abilities()
        self._derivations = Semaphore(at_once(options, memory))

    def lacks(self) -> str | None:
        return self._abilities.lacks("encryption", lacks_encryption)

    @contextmanager
    def format_and_open(
        self, path: Path, secret: bytes, *, block_size: Bytes, zeros: bool
    ) -> Iterator[Path]:
        name = f"{_SEALED}{secrets.token_hex(8)}"
        with ExitStack() as undo:
            node = _as_node(path, block_size, undo)
            self._format(node, secret, block_size)
            self._open(node, name, secret, discards=False)
            undo.callback(self.close, name)
            inside = _node(_mapped(name))
            if zeros:
                raw.zero(inside, 0, block.size(inside))
            yield inside
            block.flush(inside)

    def new_uuid(self, path: Path) -> None:
        before = _uuid(path)
        if not before:
            raise Refused(f"{path} carries no LUKS2 container")
        _run("luksUUID", "--batch-mode", f"--uuid={uuid.uuid4()}", path, timeout=_QUICK)
        if _uuid(path) in {before, ""}:
            raise Failed(f"the LUKS2 container on {path} still shows its old UUID")

    def open(self, device: Device, name: str, secret: bytes, *, discards: bool) -> Device:
        if found := self.opened(name, device):
            self._open(device.path, "", secret, discards=discards)
            return found
        if dm.find(name):
            raise Refused(f"the device {name} is not what this driver opened: remove it first")
        if not _uuid(device.path):
            raise Refused(f"{device.path} carries no LUKS2 container; nothing was written")
        self._open(device.path, name, secret, discards=discards)
        logger.info("opened the encrypted volume {} on {}", name, device.path)
        return _device(_mapped(name))

    def opened(self, name: str, device: Device | None) -> Device | None:
        if device and not above(device.number):
            return None  # of most volumes, at the price of one look
        found = dm.find(name)
        if not found or not found.uuid.startswith(CRYPT):
            return None
        if device and device.number not in _below(found.number):
            return None
        return _device(found)

    def resize(self, name: str, secret: bytes) -> None:
        """Grow the open container; see core.ports.Crypt.

        The key is in no keyring of ours, so cryptsetup needs the passphrase again.
        """
        with _judged(f"volume {name}"):
            self._derive("resize", "--key-file=-", name, secret=secret, timeout=_OPEN)

    def close(self, name: str) -> None:
        if not (found := dm.find(name)):
            return
        try:
            _run("close", name, timeout=_QUICK)
        except command.CommandError as error:
            if not dm.find(name):
                return
            if error.status != _BUSY:
                raise
            who = ", ".join(holders(found.path, found.number)) or "nobody that can be seen here"
            raise Refused(f"{found.path} is in use, held by: {who}") from error

    def erase(self, device: Device) -> None:
        if _has_header(device.path):
            _run("erase", "--batch-mode", device.path, timeout=_QUICK)

    def _open(self, where: Path, name: str, secret: bytes, *, discards: bool) -> None:
        """Open the container under `name`; with an empty name only try the passphrase."""
        words = (name,) if name else ("--test-passphrase",)
        flags = ("--allow-discards",) if discards and name else ()
        with _judged(str(where)):
            asked = ("open", "--type=luks2", "--key-file=-", *flags, where, *words)
            self._derive(*asked, secret=secret, timeout=_OPEN)

    def _derive(self, *words: str | Path, secret: bytes, timeout: float) -> None:
        """Run a command of cryptsetup that derives a key, when its turn has come.

        `timeout`: seconds for the wait, and again for the command. Raises: Busy, if other calls
        took all of it; CommandError, CommandTimeout.
        """
        if not self._derivations.acquire(timeout=timeout):
            raise Busy("other volumes are being opened, and memory is short; try again")
        try:
            _run(*words, secret=secret, timeout=timeout)
        finally:
            self._derivations.release()

    def _format(self, where: Path, secret: bytes, block_size: Bytes) -> None:
        """Make a LUKS2 container on `where`, with sectors of `block_size` bytes."""
        self._derive(
            "luksFormat",
            "--batch-mode",
            "--type=luks2",
            "--cipher=aes-xts-plain64",
            "--key-size=512",
            f"--sector-size={block_size}",
            f"--offset={LUKS_HEADER // SECTOR}",
            *self._options.words(),
            "--key-file=-",
            where,
            secret=secret,
            timeout=_FORMAT,
        )


def abandon(where: Path) -> None:
    """Close the containers that a killed `format_and_open` left open on that image or device.

    No-op if it does not exist. Raises: OSError, CommandError.
    """
    with suppress(FileNotFoundError):
        image = os.stat(where)
        if stat.S_ISBLK(image.st_mode):
            numbers = above(image.st_rdev)
        else:
            status = loop.find((image.st_dev, image.st_ino))
            numbers = above(status.number) if status else ()
        for number in numbers:
            place = Path(block.sysfs(number), "dm/name")
            if (name := place.read_text().strip()).startswith(_SEALED):
                _run("close", name, timeout=_QUICK)


def above(number: int) -> tuple[int, ...]:
    """Return dev_t of the devices directly above the device `number`, such as an open container."""
    return _neighbours(number, "holders")


def node_of(number: int) -> Path:
    """Return the node of an open container with the dev_t `number`.

    cryptsetup makes one in /dev/mapper, which another container's /dev may lack: then it is the
    kernel's own name. Raises: OSError, if the device is gone.
    """
    place = Path(block.sysfs(number), "dm/name")
    node = Path("/dev/mapper", place.read_text().strip())
    return node if node.exists() else path_of(number)


def _below(number: int) -> tuple[int, ...]:
    return _neighbours(number, "slaves")


def _neighbours(number: int, kind: str) -> tuple[int, ...]:
    """Return dev_t of the devices above ("holders") or below ("slaves") a device."""
    place = Path(block.sysfs(number), kind)
    found = []
    with suppress(FileNotFoundError):
        for name in os.listdir(place):
            major, _, minor = (place / name / "dev").read_text().strip().partition(":")
            found.append(os.makedev(int(major), int(minor)))
    return tuple(found)


def _as_node(where: Path, block_size: Bytes, undo: ExitStack) -> Path:
    """Return `where` if it is a device; else bind it to a loop device that `undo` detaches.

    Never the image's own loop device, whose blocks we could not set. No discard reaches it: the
    mapping above passes none. Raises: OSError.
    """
    if stat.S_ISBLK(where.stat().st_mode):
        return where
    status = loop.attach(where, label="", block_size=block_size, read_only=False, discards=True)
    undo.callback(loop.detach, status, bound=_DETACH)
    return status.path


@contextmanager
def _judged(what: str) -> Iterator[None]:
    """Turn errors of cryptsetup into Invalid (wrong passphrase) or Failed (too little memory)."""
    try:
        yield
    except command.CommandError as error:
        if error.status == _WRONG_PASSPHRASE:
            raise Invalid(
                f"secrets[passphrase] does not open {what}; nothing was changed"
            ) from None
        if error.status == _OUT_OF_MEMORY:
            raise Failed(f"there is too little memory to derive the key of {what}") from error
        raise


def _run(*words: str | Path, timeout: float, secret: bytes = b"") -> None:
    """Run cryptsetup with `secret` on stdin, which it reads to the end, as it is.

    Raises: CommandError, CommandTimeout.
    """
    command.run(["cryptsetup", *words], timeout=timeout, stdin=secret)


def _mapped(name: str) -> dm.Mapped:
    """Return the device that was opened as `name`. Raises: Failed, if it is not there."""
    if not (found := dm.find(name)):
        raise Failed(f"the device {name} was opened and is not there")
    return found


def _device(found: dm.Mapped) -> Device:
    """Return it as a Device, writable: a reader's node is made read-only where it is mounted."""
    below = _below(found.number)
    return Device(_node(found), found.number, read_only=False, parent=below[0] if below else 0)


def _node(found: dm.Mapped) -> Path:
    """Return the node of an open container; it is made if it does not exist.

    A container that was replaced may lack the node of what its predecessor opened.
    """
    with suppress(FileExistsError):
        if not found.path.exists():
            os.mknod(found.path, stat.S_IFBLK | 0o600, found.number)
    return found.path


def _uuid(where: Path) -> str:
    """Return the UUID of the LUKS2 container on `where`; "" if there is none. Raises: OSError."""
    with where.open("rb") as file:
        head = file.read(_UUID.stop)
    if not head.startswith(_MAGIC):
        return ""
    return head[_UUID].rstrip(b"\0").decode("ascii", "replace")


def _has_header(where: Path) -> bool:
    """Return whether there is a LUKS2 header, or its copy, from which cryptsetup can restore it.

    Raises: OSError.
    """
    if _uuid(where):
        return True
    with where.open("rb") as file:
        for offset in _COPIES_AT:
            file.seek(offset)
            if file.read(len(_MAGIC_OF_COPY)) == _MAGIC_OF_COPY:
                return True
    return False
