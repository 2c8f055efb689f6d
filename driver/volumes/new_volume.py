"""Chooses the properties of a new volume from its request and its source."""

from __future__ import annotations

from driver.core.capacity import CapacityRange
from driver.core.errors import Invalid, OutOfRange
from driver.core.ids import new_key_id
from driver.core.model import Bytes, FsType, Image
from driver.core.ports.pool import Pool
from driver.volumes.node import encryption
from driver.volumes.requests import (
    CreateVolume,
)

Origin = tuple[Pool, Image]


def choose_filesystem(request: CreateVolume, source: Image | None) -> FsType | None:
    """Return the filesystem of the new volume; None: raw block. A copy has that of its source.

    Raises: Invalid: the request asks for another one than the source has.
    """
    if source is None or request.fs in {None, source.fs}:
        return request.fs
    if source.fs and not request.fs_asked:
        return source.fs
    raise Invalid(
        f"volume_content_source: {source.id} carries {source.fs or 'no filesystem of its own'},"
        f" it cannot become a volume with {request.fs}"
    )


def choose_luks_key(pool: Pool, request: CreateVolume, source: Image | None) -> str | None:
    """Return the id of the new volume's LUKS key; None: not encrypted.

    A copy is encrypted with the same key as its source; a copy of a source that was never formatted
    gets a new key. Raises: Invalid: the request differs from the source, or the pool cannot
    encrypt.
    """
    if source is None:
        encrypted = bool(request.encrypted)
    else:
        encrypted = source.luks_key_id is not None
        if request.encrypted not in {None, encrypted}:
            raise Invalid(
                f"parameters[encrypted]: {source.id} is {'' if encrypted else 'not '}encrypted,"
                " and a volume made from it is as it is"
            )
    if not encrypted:
        return None
    encryption.require_encryption_support(pool)
    return source.luks_key_id if source and not source.unformatted else new_key_id()


def choose_block_size(
    pool: Pool, request: CreateVolume, fs: FsType | None, source: Image | None
) -> Bytes:
    """Return the logical block size of the new volume in bytes. A copy has that of its source,
    because a filesystem cannot be mounted on a device with larger blocks.

    Raises: Invalid: the request asks for another one than the source has.
    """
    if source is None:
        return request.block_size or pool.backend.block_size(fs)
    if request.block_size not in {None, source.block_size}:
        raise Invalid(
            f"parameters[blockSize]: {source.id} has blocks of {source.block_size} bytes, a volume"
            f" made from it has the same, not {request.block_size}"
        )
    return source.block_size


def choose_size(
    pool: Pool, capacity_range: CapacityRange, smallest: Bytes, origin: Origin | None
) -> Bytes:
    """Return the size of the new volume in bytes: in the requested range, and at least `smallest`
    and the size of its source.

    Raises: OutOfRange: the range has no such size.
    """
    step = pool.backend.granularity
    if origin is None:
        return capacity_range.pick(step, smallest)
    source_pool, source = origin
    asked = max(
        -(-capacity_range.required // granularity) * granularity
        for granularity in (step, source_pool.backend.granularity)
    )
    if (asked and max(asked, smallest) < source.size) or 0 < capacity_range.limit < source.size:
        raise OutOfRange(f"capacity_range: {source.id} has {source.size} bytes, which is more")
    return CapacityRange(max(capacity_range.required, source.size), capacity_range.limit).pick(
        step, smallest
    )
