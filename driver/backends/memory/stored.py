"""An image as a simulated pool stores it."""

from __future__ import annotations

from dataclasses import dataclass, replace

from driver.backends.memory.disk import Disk
from driver.core.devices import Device
from driver.core.errors import Refused
from driver.core.model import Bytes, Image, Volume


@dataclass(slots=True)
class Stored:
    """An image of a simulated pool with its bytes. `cost`: how many bytes of the pool are
    committed to the image; `device`: the device to which it is attached, or None; `readers`:
    how many calls read it now.
    """

    image: Image
    disk: Disk
    cost: Bytes
    device: Device | None = None
    readers: int = 0

    def withdraw(self, node: str | None) -> None:
        """Record that the volume is not published any more, if it is published to `node` (None: to
        any node).
        """
        published = self.image.published if isinstance(self.image, Volume) else None
        if isinstance(self.image, Volume) and published and node in {None, published.node}:
            self.image = replace(self.image, published=None)

    def require_unformatted(self, volume: Volume) -> Stored:
        """Return this image if it is the volume `volume`, was never formatted, and is not in use.

        Raises: Refused if it was formatted, is in use, or was deleted and created again.
        """
        if not isinstance(self.image, Volume) or self.image.formatted:
            raise Refused(f"{volume.id} was formatted before; nothing was changed")
        if self.image.incarnation != volume.incarnation:
            raise Refused(f"{volume.id} was deleted and created again; nothing was changed")
        if self.device or self.readers:
            raise Refused(f"{volume.id} is in use; nothing was changed")
        return self
