"""The first contents of a new volume: a filesystem, or for a copy a new filesystem UUID.

`Host.mkfs` is called only here, for images that are being created, and in node/encryption.
"""

from __future__ import annotations

from pathlib import Path

from driver.core.model import Image, Prepare, Volume
from driver.core.ports.pool import Pool
from driver.volumes.node.encryption import require_crypt


class Contents:
    """Chooses how the contents of a new image are prepared, e.g. by mkfs or by a new filesystem
    UUID.
    """

    def for_(self, pool: Pool, volume: Volume, source: Image | None) -> Prepare:
        """Return the function that `Backend.create` calls on the new image to prepare its
        contents.

        It runs mkfs if the image is blank (`source` is None), gives a copy a new filesystem
        UUID, and leaves a raw block volume as it is. An encrypted copy gets a new LUKS UUID if
        it is formatted; to replace the UUID of the filesystem inside, the passphrase is needed,
        so that is done when the volume is first staged.
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
    """Do nothing: raw block volumes and snapshots need no preparation."""
