"""Simulated encryption: a header, a byte pattern derived from its key, and devices by name.

Data written through an open container is not readable on the device below, and a copy opens with
the same passphrase; but it is not secure. A page that was never written reads as zeros on both
levels.
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
    """An open container: its device, the device below, and the decrypted disk."""

    device: Device
    parent: Device
    disk: _DecryptedDisk


class _DecryptedDisk(Disk):
    """The decrypted contents of the encrypted disk `outer`."""

    def __init__(self, outer: Disk, key: str) -> None:
        super().__init__(outer.size - LUKS_HEADER)
        self._outer = outer
        self._pad = int.from_bytes(hashlib.shake_256(key.encode()).digest(PAGE), "big")

    @property
    def written(self) -> Bytes:
        return self._outer.written

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
            page = self._apply_pad(bytes(pages[at : at + PAGE]))
            self._outer.write(LUKS_HEADER + first * PAGE + at, page)

    def grow(self) -> None:
        self.size = self._outer.size - LUKS_HEADER

    def _page(self, number: int) -> bytes:
        return self._apply_pad(self._outer.read(LUKS_HEADER + number * PAGE, PAGE))

    def _apply_pad(self, page: bytes) -> bytes:
        if not any(page):
            return page
        return (int.from_bytes(page, "big") ^ self._pad).to_bytes(PAGE, "big")


class MemoryCrypt:
    """Formats, opens and closes simulated LUKS containers on the devices of one simulated machine.
    Implements the interface `Crypt` of driver/core/ports.
    """

    def __init__(self, host: MemoryHost) -> None:
        self._host = host
        self._lock = threading.RLock()
        self._opened: dict[str, _Open] = {}
        self.lacking = ""  # why this machine cannot encrypt

    def lacks(self) -> str | None:
        return self.lacking or None

    @contextmanager
    def format_and_open(
        self,
        path: Path,
        secret: bytes,
        *,
        block_size: Bytes,  # noqa: ARG002
        zeros: bool,  # noqa: ARG002
    ) -> Iterator[Path]:
        """Format the image file `path`, and yield the path of the open container.

        At the end of the `with` block, what was written to the container is encrypted and stored in
        the image. `block_size` and `zeros` are ignored: sectors have one size, and unwritten pages
        read as zeros.
        """
        key = secrets.token_hex(16)
        header = _Header(str(uuid.uuid4()), key, _digest(key, secret))
        with path.open("r+b") as file:
            file.write(_encode(header))
        outer = Disk(path.stat().st_size)
        inner = Disk(outer.size - LUKS_HEADER)
        with inner.as_file(keep=True) as opened:
            yield opened
        decrypted = _DecryptedDisk(outer, key)
        for extent in inner.extents():
            decrypted.write(extent.start, inner.read(extent.start, extent.length))
        with path.open("r+b") as file:
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
        device: Device,
        name: str,
        secret: bytes,
        *,
        discards: bool,  # noqa: ARG002
    ) -> Device:
        with self._lock:
            disk = self._host.disk(device)
            key = _key(disk, device, secret)
            if opened := self.opened(name, device):
                return opened
            if name in self._opened:
                raise Refused(f"{name} lies on another device than {device.path}")
            decrypted = _DecryptedDisk(disk, key)
            mapped = self._host.plug(name, decrypted, read_only=False, parent=device)
            self._opened[name] = _Open(mapped, device, decrypted)
            return mapped

    def opened(self, name: str, device: Device | None) -> Device | None:
        with self._lock:
            container = self._opened.get(name)
            if not container or (device and container.parent.number != device.number):
                return None
            return container.device

    def resize(self, name: str, secret: bytes) -> None:
        with self._lock:
            if not (container := self._opened.get(name)):
                raise NotFound(f"{name} is not open")
            _key(self._host.disk(container.parent), container.parent, secret)
            container.disk.grow()

    def close(self, name: str) -> None:
        with self._lock:
            if container := self._opened.get(name):
                self._host.unplug(container.device)
                del self._opened[name]

    def erase(self, device: Device) -> None:
        disk = self._host.disk(device)
        if header := _decode(disk.read(0, PAGE)):
            disk.write(0, _encode(replace(header, digest="")))

    def uuid(self, path: Path) -> str:
        """Return the UUID of the container in the file `path`; "" if there is none."""
        with path.open("rb") as file:
            header = _decode(file.read(PAGE))
        return header.uuid if header else ""


def _key(disk: Disk, device: Device, secret: bytes) -> str:
    """Return the key in the header of `disk`.

    Raises: Refused if there is no container; Invalid if `secret` is not its passphrase.
    """
    if not (header := _decode(disk.read(0, PAGE))):
        raise Refused(f"{device.path} carries no container; nothing was written")
    if header.digest != _digest(header.key, secret):
        raise Invalid(f"secrets[passphrase] does not open {device.path}; nothing was changed")
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
