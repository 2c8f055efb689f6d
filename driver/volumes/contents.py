"""The first contents of a new volume: a filesystem, or a UUID of its own.

`Host.mkfs` is called here, for images that are being created, and in node/encryption.
"""

from __future__ import annotations

from pathlib import Path

from driver.core.model import Image, Prepare, Volume
from driver.core.ports.pool import Pool
from driver.volumes.node.encryption import require_crypt


class Contents:
    """Chooses how the contents of a new image are prepared."""

    def for_(self, pool: Pool, volume: Volume, source: Image | None) -> Prepare:
        """Return what `Backend.create` has to run on the new image: mkfs if it is blank (`source`
        is None), else a new filesystem UUID once it has the source's bytes.

        A raw block volume is left as it is. An encrypted one gets a new LUKS UUID if it is
        formatted; what is inside needs the secret, and waits for the first stage.
        """
        fs, size = volume.fs, volume.block_size
        if volume.luks_key_id is not None:
            return _new_container(pool) if volume.formatted else nothing
        if fs is None:
            return nothing
        if source:
            return lambda location: pool.host.new_uuid(location, fs, block_size=size)
        options = volume.options.mkfs_options
        return lambda location: pool.host.mkfs(location, fs, block_size=size, options=options)


def _new_container(pool: Pool) -> Prepare:
    """Return what gives the copied LUKS container a new UUID. The filesystem inside gets its own
    at the first stage, which has the secret.
    """
    return lambda location: require_crypt(pool).new_uuid(location)


def nothing(_location: Path) -> None:
    """No-op: the contents of raw block volumes and snapshots stay as they are."""
