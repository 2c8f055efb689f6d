"""Volume and snapshot ids, which name the pool and the request: `<pool, 12 hex>-<key, 32 hex>`.

The key is a hash of the CSI name, so that a repeated create lands on the same object; the pool
part routes every later call. Volumes, inline volumes, snapshots and groups hash in domains of their
own, so that equal names never meet.
"""

from __future__ import annotations

import hashlib
import re
import secrets
import struct
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

from driver.core.errors import NotFound

PoolId: TypeAlias = str
Key: TypeAlias = str

IMAGE_FILE: Final = "disk.img"  # of a loop-file pool, in a folder that is called by the image's id

_DIGEST_BYTES: Final = 8
_ID: Final = re.compile(r"([0-9a-f]{12})-([0-9a-f]{32})", re.ASCII)
_KEY: Final = re.compile(r"[0-9a-f]{32}", re.ASCII)
_INLINE: Final = re.compile(r"csi-[0-9a-f]{64}", re.ASCII)  # kubelet, makeVolumeHandle


@dataclass(frozen=True, slots=True, order=True)
class VolumeId:
    """The id of a volume: of its pool, and of its name."""

    pool: PoolId
    key: Key

    def __str__(self) -> str:
        return f"{self.pool}-{self.key}"


@dataclass(frozen=True, slots=True, order=True)
class SnapshotId:
    """The id of a snapshot: of its source's pool, and of its name."""

    pool: PoolId
    key: Key

    def __str__(self) -> str:
        return f"{self.pool}-{self.key}"


ImageId: TypeAlias = VolumeId | SnapshotId


@dataclass(frozen=True, slots=True)
class InlineHandle:
    """The volume id that kubelet makes for a CSI ephemeral (inline) volume (makeVolumeHandle)."""

    text: str

    @property
    def key(self) -> Key:
        """The key of the volume, which is created when it is first published."""
        return _hash(b"inline", self.text)

    def __str__(self) -> str:
        return self.text


def volume_key(name: str) -> Key:
    """Return the key of a volume by its CSI name."""
    return _hash(b"volume", name)


def snapshot_key(name: str) -> Key:
    """Return the key of a single snapshot by its CSI name."""
    return _hash(b"snapshot", name)


def group_key(name: str) -> Key:
    """Return the key of a group snapshot by its CSI name."""
    return _hash(b"group", name)


def member_key(group: Key, source: VolumeId) -> Key:
    """Return the key of the snapshot that `group` takes of `source`."""
    return _hash(b"member", f"{group}/{source}")


def new_pool_id() -> PoolId:
    """Return a random pool id of 12 hex digits."""
    return secrets.token_hex(6)


def new_incarnation() -> str:
    """Return 16 random hex digits, which tell an image from a later one with the same name."""
    return secrets.token_hex(8)


def new_key_id() -> str:
    """Return a random name for the key of an encrypted volume and of all its copies; it says
    nothing about the key.
    """
    return secrets.token_hex(8)


def parse_inline_handle(text: str) -> InlineHandle:
    """Return the handle in `text`. Raises: NotFound: kubelet makes no such ids of inline
    volumes.
    """
    if not _INLINE.fullmatch(text):
        raise NotFound(f"no inline volume {text!r}")
    return InlineHandle(text)


def parse_handle(text: str) -> VolumeId | InlineHandle:
    """Return what a volume id of the Node service refers to: a persistent or an inline volume. No
    id has both forms. Raises: NotFound: it has neither.
    """
    return InlineHandle(text) if _INLINE.fullmatch(text) else parse_volume_id(text)


def pool_part(image_id: str) -> PoolId:
    """Return the pool's id in the id of a volume or snapshot, whose form is not checked."""
    return image_id.partition("-")[0]


def parse_volume_id(text: str) -> VolumeId:
    """Return the volume id in `text`. Raises: NotFound: it has not the form of this driver's ids,
    so there is no such volume.
    """
    if not (match := _ID.fullmatch(text)):
        raise NotFound(f"no volume {text!r}")
    return VolumeId(*match.groups())


def parse_snapshot_id(text: str) -> SnapshotId:
    """Return the snapshot id in `text`. Raises: NotFound: it has not the form of this driver's
    ids, so there is no such snapshot.
    """
    if not (match := _ID.fullmatch(text)):
        raise NotFound(f"no snapshot {text!r}")
    return SnapshotId(*match.groups())


def parse_group_id(text: str) -> Key:
    """Return the group's key in `text`. Raises: NotFound: it has not the form of this driver's
    ids, so there is no such group.
    """
    if not _KEY.fullmatch(text):
        raise NotFound(f"no group snapshot {text!r}")
    return text


def is_key(text: str) -> bool:
    """Return whether the text has the form of a key."""
    return _KEY.fullmatch(text) is not None


def name_digest(key: Key) -> int:
    """Return the first 8 bytes of a key, by which nodes report the names of their images. Two
    names have the same digest once in 2 ** 64.
    """
    return int(key[: 2 * _DIGEST_BYTES], 16)


def pack_digests(digests: Collection[int]) -> bytes:
    """Return digests of names as bytes, 8 for each."""
    return struct.pack(f">{len(digests)}Q", *digests)


def unpack_digests(packed: bytes) -> Sequence[int]:
    """Return the digests in `packed`; what is left at its end is ignored."""
    count = len(packed) // _DIGEST_BYTES
    return struct.unpack(f">{count}Q", packed[: count * _DIGEST_BYTES])


def _hash(domain: bytes, name: str) -> Key:
    """Return the first 32 hex digits of the SHA-256 of the domain, a NUL, and the name."""
    raw = name.encode(errors="surrogatepass")
    return hashlib.sha256(domain + b"\0" + raw).hexdigest()[:32]
