"""Features that volumes of a pool cannot have on this node, such as a filesystem without its mkfs.

A request for such a volume fails with NoSpace, so that the scheduler tries another node.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from loguru import logger

from driver.core.errors import NoSpace
from driver.core.model import FsType
from driver.core.ports.backend_features import FormatsLater
from driver.core.ports.pool import Pool

ENCRYPTION: Final = "encryption"


def lacking(pool: Pool) -> Iterator[str]:
    """Yield the features that volumes of the pool cannot have on this node: names of filesystem
    types, and "encryption". A router does not choose this node for volumes that need one of them.
    """
    yield from (fs for fs in FsType if pool.host.lacks(fs))
    if lacks_encryption(pool):
        yield ENCRYPTION


def lacks(pool: Pool, fs: FsType | None, *, encrypted: bool) -> str | None:
    """Return why the pool cannot have a volume with `fs` (None: raw block) on this node, whatever
    its size; None: it can.

    `encrypted`: whether the volume is encrypted.
    """
    why = pool.host.lacks(fs) if fs else None
    return why or (lacks_encryption(pool) if encrypted else None)


def lacks_encryption(pool: Pool) -> str | None:
    """Return why the pool cannot have encrypted volumes on this node; None: it can."""
    if pool.crypt is None or not isinstance(pool.backend, FormatsLater):
        return f"pool {pool.name} cannot encrypt volumes"
    return pool.crypt.lacks()


def refuse(pool: Pool, fs: FsType | None, *, encrypted: bool) -> None:
    """Raise NoSpace if the pool cannot have a volume with `fs` (None: raw block) on this node, so
    that the scheduler tries another node.
    """
    if why := lacks(pool, fs, encrypted=encrypted):
        raise NoSpace(why)


def log_missing(pools: Sequence[Pool]) -> None:
    """Log which features (filesystem types, encryption) volumes of the pools cannot have, once for
    all pools of a machine.
    """
    for host in {id(pool.host): pool.host for pool in pools}.values():
        for fs in FsType:
            if why := host.lacks(fs):
                logger.warning("{}", why)
    for crypt in {id(pool.crypt): pool.crypt for pool in pools if pool.crypt}.values():
        if why := crypt.lacks():
            logger.warning("{}", why)


def none_can(pools: Sequence[Pool], fs: FsType | None, *, encrypted: bool) -> bool:
    """Return whether none of the pools can have a volume with `fs` (None: raw block) on this
    node.
    """
    return all(lacks(pool, fs, encrypted=encrypted) for pool in pools)
