"""The port to encryption: LUKS2 containers on devices."""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol

from driver.core.devices import Device
from driver.core.model import Bytes


class Crypt(Protocol):
    """LUKS2 between a pool's device and what is on it. `name` is the volume's id.

    No secret is ever in an argument, an error, or a log.
    """

    def lacks(self) -> str | None:
        """Return why this machine cannot encrypt; None: it can. Cheap, as each call asks it."""

    def format_and_open(
        self, path: Path, secret: bytes, *, block_size: Bytes, zeros: bool
    ) -> AbstractContextManager[Path]:
        """Format `path`, a file or a device node, as LUKS2, and provide the path of the opened
        container; it is closed on exit.

        `zeros`: whether all of it must read as zeros; else what was never written reads as noise.
        """

    def new_uuid(self, path: Path) -> None:
        """Give the container of a copy a new UUID and verify it. Raises: Refused: there is no
        container.
        """

    def open(self, device: Device, name: str, secret: bytes, *, discards: bool) -> Device:
        """Open the container on `device`; returns the present device if it is open.

        Raises: Invalid: wrong passphrase; Refused: there is no container, or another one has this
        name.
        """

    def opened(self, name: str, device: Device | None) -> Device | None:
        """Return the device of the open container, or None if it is not open, or is open on another
        device than `device`.
        """

    def resize(self, name: str, secret: bytes) -> None:
        """Grow the open container to the end of its device. Raises: Invalid: wrong passphrase."""

    def close(self, name: str) -> None:
        """Close the container; no-op if it is not open. Raises: Refused: it is in use."""

    def erase(self, device: Device) -> None:
        """Destroy all key slots, so that no passphrase opens the container any more; no-op if there
        is none.
        """
