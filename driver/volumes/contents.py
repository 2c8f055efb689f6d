"""What a new volume needs of its own before anyone sees it: a filesystem, or a UUID.

This is the only caller of `Host.make`, and it calls it for images that are being created.
"""

from __future__ import annotations

from pathlib import Path

from driver.core.model import Image, Prepare, Volume
from driver.core.ports import Pool


class Contents:
    def for_(self, pool: Pool, volume: Volume, source: Image | None) -> Prepare:
        """To be done with the image when it is blank or, if there is a source, has its bytes."""
        fs, size = volume.fs, volume.block_size
        if fs is None:
            return nothing
        if source:
            return lambda where: pool.host.renew(where, fs, block_size=size)
        options = volume.mkfs_options
        return lambda where: pool.host.make(where, fs, block_size=size, options=options)


def nothing(_where: Path) -> None:
    """Raw blocks and snapshots stay as they are."""
