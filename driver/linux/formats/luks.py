"""LUKS2 by cryptsetup. The passphrase goes through a pipe, never an argument or an error text.

The kernel is asked which containers are open, by name and by the device below; a program is run
only if the key is needed or the header is changed.
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
from driver.linux.devices import block, dm, dm_ioctl, loop, loop_attach, raw
from driver.linux.devices.stacked import devices_above, devices_below
from driver.linux.formats import luks_header
from driver.linux.mounts.holders import name_holders
from driver.linux.mounts.mount_points import CRYPT

PROGRAMS: Final = ("cryptsetup",)
SECTOR: Final = 512
_TEMPORARY: Final = "cellar-sealed-"  # begins the name of a mapping that `format_and_open` makes
OWN_MEMORY: Final = 192 * MIB  # for this process, and other programs that it runs
PROGRAM_MEMORY: Final = 12 * MIB  # of cryptsetup without the derivation: 71 - 64 were measured
DEFAULT_PARALLEL: Final = 4
MAX_PARALLEL: Final = 16
_FORMAT_TIMEOUT: Final = 300.0  # seconds; a slow machine and a costly key derivation
_OPEN_TIMEOUT: Final = 300.0
_QUICK_TIMEOUT: Final = 60.0
_DETACH_TIMEOUT: Final = 10.0

# cryptsetup(8), RETURN CODES
_WRONG_PASSPHRASE: Final = 2
_OUT_OF_MEMORY: Final = 3
_BUSY: Final = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How the key of a new LUKS container is derived from the passphrase. `pbkdf`: the algorithm;
    `memory`: the bytes that it needs, also to open the container; `iterations`: its repetitions.
    """

    pbkdf: str = "argon2id"  # or pbkdf2, which takes no memory to speak of
    memory: Bytes = 64 * MIB
    iterations: int = 0  # 0: 4 of argon2id (RFC 9106 wants 3), 600,000 of pbkdf2

    def words(self) -> list[str]:
        """Return the parameters of the key derivation as options of `cryptsetup luksFormat`."""
        if self.pbkdf == "pbkdf2":
            return ["--pbkdf=pbkdf2", f"--pbkdf-force-iterations={self.iterations or 600_000}"]
        return [
            f"--pbkdf={self.pbkdf}",
            f"--pbkdf-memory={self.memory // KIB}",
            "--pbkdf-parallel=1",
            f"--pbkdf-force-iterations={self.iterations or 4}",
        ]


def parallel_derivations(options: Options, memory: Bytes | None) -> int:
    """Return how many keys may be derived from passphrases at the same time if all derivations
    together may use `memory` bytes (None: no limit is known); at least one.
    """
    if memory is None:
        return DEFAULT_PARALLEL
    cost = PROGRAM_MEMORY + (options.memory if options.pbkdf == "argon2id" else 0)
    return max(1, min(MAX_PARALLEL, (memory - OWN_MEMORY) // cost))


def lacks_encryption() -> str | None:
    """Return why encrypted volumes cannot be used on this machine, and what to do; None: they can
    be used.
    """
    effect = "no encrypted volumes on this node"
    if missing := command.missing(PROGRAMS):
        return f"{effect}: {', '.join(missing)} not found: install it"
    try:
        is_known = dm_ioctl.knows("crypt")
    except OSError as error:
        return f"{effect}: no device-mapper ({dm_ioctl.CONTROL}: {error.strerror}): modprobe dm_mod"
    return None if is_known else f"{effect}: its kernel has no dm-crypt: modprobe dm_crypt"


class LinuxCrypt:
    """Formats, opens and closes LUKS2 containers (the Crypt port of driver/core/ports).

    The kernel is asked at each call; only the features that it supports are remembered. As many
    keys are derived at the same time as there is memory for; further calls wait.
    """

    def __init__(self, options: Options | None = None, memory: Bytes | None = None) -> None:
        """`memory`: bytes that this process and its children may use; None: no limit is known."""
        self._options = options or Options()
        self._abilities = Abilities()
        self._derivations = Semaphore(parallel_derivations(self._options, memory))

    def lacks(self) -> str | None:
        return self._abilities.lacks("encryption", lacks_encryption)

    @contextmanager
    def format_and_open(
        self, path: Path, secret: bytes, *, block_size: Bytes, zeros: bool
    ) -> Iterator[Path]:
        name = f"{_TEMPORARY}{secrets.token_hex(8)}"
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
        before = luks_header.read_uuid(path)
        if not before:
            raise Refused(f"{path} carries no LUKS2 container")
        _run("luksUUID", "--batch-mode", f"--uuid={uuid.uuid4()}", path, timeout=_QUICK_TIMEOUT)
        if luks_header.read_uuid(path) in {before, ""}:
            raise Failed(f"the LUKS2 container on {path} still shows its old UUID")

    def open(self, device: Device, name: str, secret: bytes, *, discards: bool) -> Device:
        if device_ := self.opened(name, device):
            self._open(device.path, "", secret, discards=discards)
            return device_
        if dm.find(name):
            raise Refused(f"the device {name} is not what this driver opened: remove it first")
        if not luks_header.read_uuid(device.path):
            raise Refused(f"{device.path} carries no LUKS2 container; nothing was written")
        self._open(device.path, name, secret, discards=discards)
        logger.info("opened the encrypted volume {} on {}", name, device.path)
        return _device(_mapped(name))

    def opened(self, name: str, device: Device | None) -> Device | None:
        if device and not devices_above(device.number):
            return None  # of most volumes, at the price of one look
        mapped = dm.find(name)
        if not mapped or not mapped.uuid.startswith(CRYPT):
            return None
        if device and device.number not in devices_below(mapped.number):
            return None
        return _device(mapped)

    def resize(self, name: str, secret: bytes) -> None:
        """Grow the open container `name` to the end of its device. cryptsetup needs the passphrase
        `secret`, because the key is in no keyring.
        """
        with _translate_errors(f"volume {name}"):
            self._derive("resize", "--key-file=-", name, secret=secret, timeout=_OPEN_TIMEOUT)

    def close(self, name: str) -> None:
        if not (mapped := dm.find(name)):
            return
        try:
            _run("close", name, timeout=_QUICK_TIMEOUT)
        except command.CommandError as error:
            if not dm.find(name):
                return
            if error.status != _BUSY:
                raise
            users = name_holders(mapped.path, mapped.number)
            raise Refused(f"{mapped.path} is in use, held by: {users}") from error

    def erase(self, device: Device) -> None:
        if luks_header.is_present(device.path):
            _run("erase", "--batch-mode", device.path, timeout=_QUICK_TIMEOUT)

    def _open(self, path: Path, name: str, secret: bytes, *, discards: bool) -> None:
        """Open the container under `name`; with an empty name only try the passphrase."""
        words = (name,) if name else ("--test-passphrase",)
        flags = ("--allow-discards",) if discards and name else ()
        with _translate_errors(str(path)):
            asked = ("open", "--type=luks2", "--key-file=-", *flags, path, *words)
            self._derive(*asked, secret=secret, timeout=_OPEN_TIMEOUT)

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

    def _format(self, path: Path, secret: bytes, block_size: Bytes) -> None:
        """Make a LUKS2 container on `path`, with sectors of `block_size` bytes."""
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
            path,
            secret=secret,
            timeout=_FORMAT_TIMEOUT,
        )


def close_leftovers(path: Path) -> None:
    """Close the LUKS containers on an image or a device that a process left open because it was
    killed while it formatted them.

    No-op if there are no such containers. Raises: OSError, CommandError.
    """
    with suppress(FileNotFoundError):
        image = os.stat(path)
        if stat.S_ISBLK(image.st_mode):
            numbers = devices_above(image.st_rdev)
        else:
            status = loop.find((image.st_dev, image.st_ino))
            numbers = devices_above(status.number) if status else ()
        for number in numbers:
            name_file = Path(block.sysfs(number), "dm/name")
            if (name := name_file.read_text().strip()).startswith(_TEMPORARY):
                _run("close", name, timeout=_QUICK_TIMEOUT)


def _as_node(path: Path, block_size: Bytes, undo: ExitStack) -> Path:
    """Return `path` if it is a device; else bind it to a loop device that `undo` detaches.

    Never the image's own loop device, whose blocks we could not set. No discard reaches it: the
    mapping above passes none. Raises: OSError.
    """
    if stat.S_ISBLK(path.stat().st_mode):
        return path
    status = loop_attach.attach(
        path, label="", block_size=block_size, read_only=False, discards=True
    )
    undo.callback(loop.detach, status, bound=_DETACH_TIMEOUT)
    return status.path


@contextmanager
def _translate_errors(subject: str) -> Iterator[None]:
    """Turn errors of cryptsetup into Invalid (wrong passphrase) or Failed (too little memory)."""
    try:
        yield
    except command.CommandError as error:
        if error.status == _WRONG_PASSPHRASE:
            raise Invalid(
                f"secrets[passphrase] does not open {subject}; nothing was changed"
            ) from None
        if error.status == _OUT_OF_MEMORY:
            raise Failed(f"there is too little memory to derive the key of {subject}") from error
        raise


def _run(*words: str | Path, timeout: float, secret: bytes = b"") -> None:
    """Run cryptsetup with `secret` on stdin, which it reads to the end, as it is.

    Raises: CommandError, CommandTimeout.
    """
    command.run(["cryptsetup", *words], timeout=timeout, stdin=secret)


def _mapped(name: str) -> dm.Mapped:
    """Return the device that was opened as `name`. Raises: Failed, if it is not there."""
    if not (mapped := dm.find(name)):
        raise Failed(f"the device {name} was opened and is not there")
    return mapped


def _device(mapped: dm.Mapped) -> Device:
    """Return it as a Device, writable: a reader's node is made read-only where it is mounted."""
    parent = next(iter(devices_below(mapped.number)), 0)
    return Device(_node(mapped), mapped.number, read_only=False, parent=parent)


def _node(mapped: dm.Mapped) -> Path:
    """Return the node of an open container; it is made if it does not exist.

    A container that was replaced may lack the node of what its predecessor opened.
    """
    with suppress(FileExistsError):
        if not mapped.path.exists():
            os.mknod(mapped.path, stat.S_IFBLK | 0o600, mapped.number)
    return mapped.path
