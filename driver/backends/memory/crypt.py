"""Encryption without a kernel: a header, a pad that the header's key gives, and devices by name.

What is written through an open container is not readable below it, and a copy opens with the same
passphrase; nothing here is secure. A page that was never written reads as zeros on both sides.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from driver.backends.memory.disk import PAGE, Disk
from driver.backends.memory.host import MemoryHost
from driver.core.devices import Device
from driver.core.errors import Invalid, NotFound, Refused
from driver.core.model import LUKS_HEADER, Bytes

_MAGIC: Final = b"memory-luks2 "


@dataclass(frozen=True, slots=True)
class _Header:
    uuid: str
    key: str
    digest: str  # of the passphrase; "" once it was erased


@dataclass(slots=True)
class _Open:
    device: Device
    below: Device
    disk: _Inside


class _Inside(Disk):
    """What an open container shows of the disk below."""

    def __init__(self, below: Disk, key: str) -> None:
        super().__init__(below.size - LUKS_HEADER)
        self._below = below
        self._pad = int.from_bytes(hashlib.shake_256(key.encode()).digest(PAGE), "big")

    @property
    def written(self) -> Bytes:
        return self._below.written

    def read(self, offset: Bytes, length: Bytes) -> bytes:
        length = max(0, min(length, self.size - offset))
        first, last = offset // PAGE, -(-(offset + length) // PAGE)
        pages = b"".join(self._page(number) for number in range(first, last))
        return pages[offset - first * PAGE :][:length]

    def write(self, offset: Bytes, data: bytes) -> None:
        first, last = offset // PAGE, -(-(offset + len(data)) // PAGE)
        pages = bytearray(self.read(first * PAGE, (last - first) * PAGE))
        start = offset - first * PAGE
        pages[start : start + len(data)] = data
        for at in range(0, len(pages), PAGE):
            page = self._padded(bytes(pages[at : at + PAGE]))
            self._below.write(LUKS_HEADER + first * PAGE + at, page)

    def grow(self) -> None:
        self.size = self._below.size - LUKS_HEADER

    def _page(self, number: int) -> bytes:
        return self._padded(self._below.read(LUKS_HEADER + number * PAGE, PAGE))

    def _padded(self, page: bytes) -> bytes:
        if not any(page):
            return page
        return (int.from_bytes(page, "big") ^ self._pad).to_bytes(PAGE, "big")


class MemoryCrypt:
    """The Crypt port for the devices of one simulated machine."""

    def __init__(self, host: MemoryHost) -> None:
        self._host = host
        self._lock = threading.RLock()
        self._opened: dict[str, _Open] = {}
        self.lacking = ""  # for tests: why this machine cannot encrypt

    def lacks(self) -> str | None:
        return self.lacking or None

    @contextmanager
    def format_and_open(
        self,
        where: Path,
        secret: bytes,
        *,
        block_size: Bytes,  # noqa: ARG002
        zeros: bool,  # noqa: ARG002
    ) -> Iterator[Path]:
        """Format the file `where`; on exit, what was written to the given path is stored in it
        encrypted.

        `block_size` and `zeros` are ignored: sectors are of one size, and what was never
        written is zeros.
        """
        key = secrets.token_hex(16)
        header = _Header(str(uuid.uuid4()), key, _digest(key, secret))
        with where.open("r+b") as file:
            file.write(_encode(header))
        outer = Disk(where.stat().st_size)
        inner = Disk(outer.size - LUKS_HEADER)
        with inner.as_file(keep=True) as path:
            yield path
        inside = _Inside(outer, key)
        for extent in inner.extents():
            inside.write(extent.start, inner.read(extent.start, extent.length))
        with where.open("r+b") as file:
            for extent in outer.extents():
                os.pwrite(file.fileno(), outer.read(extent.start, extent.length), extent.start)

    def new_uuid(self, path: Path) -> None:
        with path.open("r+b") as file:
            if not (header := _decode(file.read(PAGE))):
                raise Refused(f"{path} carries no container")
            file.seek(0)
            file.write(_encode(replace(header, uuid=str(uuid.uuid4()))))

    def open(
        self,
        below: Device,
        name: str,
        secret: bytes,
        *,
        discards: bool,  # noqa: ARG002
    ) -> Device:
        with self._lock:
            disk = self._host.disk(below)
            key = _key(disk, below, secret)
            if found := self.opened(name, below):
                return found
            if name in self._opened:
                raise Refused(f"{name} lies on another device than {below.path}")
            inside = _Inside(disk, key)
            device = self._host.plug(name, inside, read_only=False, below=below)
            self._opened[name] = _Open(device, below, inside)
            return device

    def opened(self, name: str, device: Device | None) -> Device | None:
        with self._lock:
            found = self._opened.get(name)
            if not found or (device and found.below.number != device.number):
                return None
            return found.device

    def resize(self, name: str, secret: bytes) -> None:
        with self._lock:
            if not (found := self._opened.get(name)):
                raise NotFound(f"{name} is not open")
            _key(self._host.disk(found.below), found.below, secret)
            found.disk.grow()

    def close(self, name: str) -> None:
        with self._lock:
            if found := self._opened.get(name):
                self._host.unplug(found.device)
                del self._opened[name]

    def erase(self, device: Device) -> None:
        disk = self._host.disk(device)
        if header := _decode(disk.read(0, PAGE)):
            disk.write(0, _encode(replace(header, digest="")))

    # for tests

    def uuid(self, where: Path) -> str:
        """Return the UUID of the container in a file; "" if there is none."""
        with where.open("rb") as file:
            header = _decode(file.read(PAGE))
        return header.uuid if header else ""


def _key(disk: Disk, below: Device, secret: bytes) -> str:
    """Return the key in the header of `disk`.

    Raises: Refused if there is no container; Invalid if `secret` is not its passphrase.
    """
    if not (header := _decode(disk.read(0, PAGE))):
        raise Refused(f"{below.path} carries no container; nothing was written")
    if header.digest != _digest(header.key, secret):
        raise Invalid(f"secrets[passphrase] does not open {below.path}; nothing was changed")
    return header.key


def _digest(key: str, secret: bytes) -> str:
    return hashlib.sha256(key.encode() + secret).hexdigest()


def _encode(header: _Header) -> bytes:
    fields = [header.uuid, header.key, header.digest]
    return (_MAGIC + json.dumps(fields).encode()).ljust(PAGE, b"\0")


def _decode(page: bytes) -> _Header | None:
    if not page.startswith(_MAGIC):
        return None
    return _Header(*json.loads(page.removeprefix(_MAGIC).rstrip(b"\0")))
