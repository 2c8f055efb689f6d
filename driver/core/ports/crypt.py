"""The port to encryption: LUKS2 containers on devices."""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol

from driver.core.devices import Device
from driver.core.model import Bytes


class Crypt(Protocol):
    """Formats, opens and closes LUKS2 containers on the devices of pools. In all methods `name` is
    the id of the volume in the container.

    No secret is ever in a program's arguments, an error text, or a log.
    """

    def lacks(self) -> str | None:
        """Return why this machine cannot encrypt; None: it can. Cheap enough to be called for each
        request.
        """

    def format_and_open(
        self, path: Path, secret: bytes, *, block_size: Bytes, zeros: bool
    ) -> AbstractContextManager[Path]:
        """Format `path`, a file or a device node, as LUKS2, and provide the path of the opened
        container for the duration of the `with` block.

        `secret`: the passphrase. `block_size`: of the container's sectors, in bytes. `zeros`:
        whether unwritten parts must read as zeros; otherwise they read as random bytes.
        """

    def new_uuid(self, path: Path) -> None:
        """Give the container at `path`, which is a copy of another, a new UUID, and verify it by
        reading it back. Raises: Refused: there is no container.
        """

    def open(self, device: Device, name: str, secret: bytes, *, discards: bool) -> Device:
        """Open the container on `device`, and return the device of the opened container. If it is
        open already, return its present device.

        `secret`: the passphrase. `discards`: whether discards are passed on to `device`. Raises:
        Invalid: wrong passphrase; Refused: there is no container, or another container is open with
        this name.
        """

    def opened(self, name: str, device: Device | None) -> Device | None:
        """Return the device of the opened container `name`; None: it is not open, or is open on
        another device than `device`.
        """

    def resize(self, name: str, secret: bytes) -> None:
        """Grow the open container to the end of its device. `secret`: the passphrase. Raises:
        Invalid: the passphrase is wrong.
        """

    def close(self, name: str) -> None:
        """Close the container `name`; no-op if it is not open. Raises: Refused: the container is
        in use.
        """

    def erase(self, device: Device) -> None:
        """Destroy all key slots of the container on `device`, so that no passphrase opens the
        container any more; no-op if there is no container.
        """
