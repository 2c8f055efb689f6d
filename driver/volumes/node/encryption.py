"""Encrypted volumes: formatted with the secret when they are first staged, and opened at each
staging.

No pod can use a volume before it is formatted, and its record becomes `formatted` in the same
atomic step.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Final

from driver.core.devices import Device
from driver.core.errors import Damaged, Invalid, Refused
from driver.core.failpoints import FailPoint, reach
from driver.core.model import Volume
from driver.core.ports.backend_features import FormatsLater
from driver.core.ports.crypt import Crypt
from driver.core.ports.pool import Pool

SECRET: Final = "secrets[passphrase]"  # noqa: S105 - the name of the field


def require_crypt(pool: Pool) -> Crypt:
    """Return the object that opens and closes the LUKS containers of the pool's encrypted volumes.
    Raises: Refused: the pool cannot open encrypted volumes.
    """
    if pool.crypt is None:
        raise Refused(f"pool {pool.name} cannot open encrypted volumes")
    return pool.crypt


def require_encryption_support(pool: Pool) -> None:
    """Raise Invalid if no volume of this pool can be encrypted on any node."""
    if pool.crypt is None or not isinstance(pool.backend, FormatsLater):
        raise Invalid(f"parameters[encrypted]: pool {pool.name} cannot encrypt volumes")


def require_secret(volume: Volume, secret: bytes | None) -> bytes:
    """Return `secret`, the passphrase of an encrypted volume. Raises: Invalid: it is missing or
    empty.
    """
    if not secret:
        raise Invalid(f"{SECRET} is required: volume {volume.id} is encrypted")
    return secret


def ensure_formatted(pool: Pool, volume: Volume, secret: bytes) -> Volume:
    """Format the volume as LUKS with its filesystem inside, and return its new record; no-op if it
    is formatted. `secret`: the passphrase.

    Raises: Refused: the pool cannot encrypt, or the volume is attached.
    """
    if volume.formatted:
        return volume
    backend, crypt, fs = pool.backend, require_crypt(pool), volume.fs
    if not isinstance(backend, FormatsLater):
        raise Refused(f"pool {pool.name} cannot encrypt volumes")

    def prepare(path: Path) -> None:
        size = volume.block_size
        # Zeros of a sparse volume would have to be written too, and take all of its room.
        zeros = fs is None and not volume.discards
        with crypt.format_and_open(path, secret, block_size=size, zeros=zeros) as inside:
            if fs:
                pool.host.mkfs(inside, fs, block_size=size, options=volume.options.mkfs_options)

    pool.backend.detach(volume.id)  # no pod has seen it: left behind, if it is attached at all
    done = backend.replace_contents(volume, prepare)
    reach(FailPoint.STAGE_ENCRYPTED)
    return done


def ensure_new_uuid(pool: Pool, volume: Volume, device: Device) -> None:
    """Give the filesystem of an encrypted copy another UUID than its source's before the first
    mount; no-op if that was done. If the call is interrupted, the next one repeats it.

    `device`: the copy's open LUKS container.
    """
    if volume.needs_new_uuid and volume.fs:
        pool.host.new_uuid(device.path, volume.fs, block_size=volume.block_size)
        reach(FailPoint.STAGE_NEW_UUID)
        pool.backend.record(replace(volume, needs_new_uuid=False))


def erase(pool: Pool, volume: Volume) -> None:
    """Destroy the key slots of an encrypted volume that is about to be deleted; no-op if it is not
    encrypted or was never formatted.

    Its snapshots and clones have their own LUKS headers and can still be opened.
    """
    if volume.luks_key_id is None or not volume.formatted:
        return
    with suppress(Damaged):  # the image is gone already
        device = pool.backend.attach(volume, read_only=False)
        try:
            require_crypt(pool).erase(device)
        finally:
            pool.backend.detach(volume.id)
        reach(FailPoint.DELETE_ERASED)
