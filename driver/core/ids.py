"""Ids say where the bytes are and what they were asked for: `<pool, 12 hex>-<key, 32 hex>`.

The key is a hash of the CSI name, so that a repeated create lands on the same object; the pool
part routes every later call. Volumes, inline volumes, snapshots and groups hash in domains of their
own, so that equal names never meet.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from dataclasses import dataclass
from typing import Final, TypeAlias

from driver.core.errors import NotFound

PoolId: TypeAlias = str
Key: TypeAlias = str

IMAGE_FILE: Final = "disk.img"  # of a loop-file pool, in a folder that is called by the image's id

_ID: Final = re.compile(r"([0-9a-f]{12})-([0-9a-f]{32})", re.ASCII)
_KEY: Final = re.compile(r"[0-9a-f]{32}", re.ASCII)
_INLINE: Final = re.compile(r"csi-[0-9a-f]{64}", re.ASCII)  # kubelet, makeVolumeHandle


@dataclass(frozen=True, slots=True, order=True)
class VolumeId:
    pool: PoolId
    key: Key

    def __str__(self) -> str:
        return f"{self.pool}-{self.key}"


@dataclass(frozen=True, slots=True, order=True)
class SnapshotId:
    pool: PoolId
    key: Key

    def __str__(self) -> str:
        return f"{self.pool}-{self.key}"


ImageId: TypeAlias = VolumeId | SnapshotId


def volume_key(name: str) -> Key:
    return _hash(b"volume", name)


def inline_key(handle: str) -> Key:
    """Of the volume that stands in a pod: `handle` is kubelet's name for it."""
    return _hash(b"inline", handle)


def snapshot_key(name: str) -> Key:
    return _hash(b"snapshot", name)


def group_key(name: str) -> Key:
    return _hash(b"group", name)


def member_key(group: Key, source: VolumeId) -> Key:
    """Key of the snapshot that `group` takes of `source`."""
    return _hash(b"member", f"{group}/{source}")


def new_pool_id() -> PoolId:
    return secrets.token_hex(6)


def new_incarnation() -> str:
    """Tells two lives of one name apart; 16 hex digits."""
    return secrets.token_hex(8)


def new_key_id() -> str:
    """Names the key of an encrypted volume and of all its copies; says nothing about it."""
    return secrets.token_hex(8)


def is_inline_handle(text: str) -> bool:
    """Whether kubelet made it, for an inline volume; no id of ours looks so."""
    return bool(_INLINE.fullmatch(text))


def parse_volume_id(text: str) -> VolumeId:
    """NotFound: an id that we could not have made names no volume of ours."""
    if not (match := _ID.fullmatch(text)):
        raise NotFound(f"no volume {text!r}")
    return VolumeId(*match.groups())


def parse_snapshot_id(text: str) -> SnapshotId:
    """NotFound: an id that we could not have made names no snapshot of ours."""
    if not (match := _ID.fullmatch(text)):
        raise NotFound(f"no snapshot {text!r}")
    return SnapshotId(*match.groups())


def parse_group_id(text: str) -> Key:
    """NotFound: an id that we could not have made names no group of ours."""
    if not _KEY.fullmatch(text):
        raise NotFound(f"no group snapshot {text!r}")
    return text


def _hash(domain: bytes, name: str) -> Key:
    raw = name.encode(errors="surrogatepass")
    return hashlib.sha256(domain + b"\0" + raw).hexdigest()[:32]
