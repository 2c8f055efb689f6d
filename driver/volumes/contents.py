"""What a new volume needs of its own before anyone sees it: a filesystem, or a UUID.

`Host.make` is called here, for images that are being created, and in `sealing`.
"""

from __future__ import annotations

from pathlib import Path

from driver.core.model import Image, Prepare, Volume
from driver.core.ports import Pool
from driver.volumes.node.encryption import require_crypt


class Contents:
    def for_(self, pool: Pool, volume: Volume, source: Image | None) -> Prepare:
        """To be done with the image when it is blank or, if there is a source, has its bytes."""
        fs, size = volume.fs, volume.block_size
        if volume.luks_key_id is not None:
            return _new_container(pool) if volume.formatted else nothing
        if fs is None:
            return nothing
        if source:
            return lambda where: pool.host.new_uuid(where, fs, block_size=size)
        options = volume.mkfs_options
        return lambda where: pool.host.mkfs(where, fs, block_size=size, options=options)


def _new_container(pool: Pool) -> Prepare:
    """What is inside waits for the secret of the first stage."""
    return lambda where: require_crypt(pool).new_uuid(where)


def nothing(_where: Path) -> None:
    """Raw blocks and snapshots stay as they are."""
