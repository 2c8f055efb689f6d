"""Volume and snapshot ids. They consist of the pool's id and a key: `<pool, 12 hex>-<key, 32 hex>`.

The key is a hash of the CSI name, so a repeated create finds the same object; the pool's id routes
later calls. Volumes, inline volumes, snapshots and groups are hashed with different prefixes, so
that equal names get different keys.
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
    """The id of a volume: the id of its pool, and `key`, the hash of its CSI name."""

    pool: PoolId
    key: Key

    def __str__(self) -> str:
        return f"{self.pool}-{self.key}"


@dataclass(frozen=True, slots=True, order=True)
class SnapshotId:
    """The id of a snapshot: the id of its pool, which is that of its source, and `key`, the hash
    of its CSI name.
    """

    pool: PoolId
    key: Key

    def __str__(self) -> str:
        return f"{self.pool}-{self.key}"


ImageId: TypeAlias = VolumeId | SnapshotId


@dataclass(frozen=True, slots=True)
class InlineHandle:
    """The volume id that kubelet generates for a CSI ephemeral (inline) volume
    (makeVolumeHandle).
    """

    text: str

    @property
    def key(self) -> Key:
        """Return the key by which the inline volume is found: the hash of the handle. The rest of
        the volume's id is known only once the volume is created, when it is first published.
        """
        return _hash(b"inline", self.text)

    def __str__(self) -> str:
        return self.text


def volume_key(name: str) -> Key:
    """Return the key of the volume with the CSI name `name`: a hash, in hex, that is part of its
    id.
    """
    return _hash(b"volume", name)


def snapshot_key(name: str) -> Key:
    """Return the key of the snapshot with the CSI name `name` that belongs to no group snapshot: a
    hash, in hex, that is part of its id.
    """
    return _hash(b"snapshot", name)


def group_key(name: str) -> Key:
    """Return the key of the group snapshot with the CSI name `name`: a hash, in hex, that is its
    id.
    """
    return _hash(b"group", name)


def member_key(group: Key, source: VolumeId) -> Key:
    """Return the key of the snapshot of the volume `source` that belongs to the group snapshot with
    the key `group`: a hash, in hex, of both.
    """
    return _hash(b"member", f"{group}/{source}")


def new_pool_id() -> PoolId:
    """Return a random pool id of 12 hex digits."""
    return secrets.token_hex(6)


def new_incarnation() -> str:
    """Return 16 random hex digits, which distinguish an image from a later one with the same
    name.
    """
    return secrets.token_hex(8)


def new_key_id() -> str:
    """Return a random id for the LUKS key that an encrypted volume shares with all its copies. It
    is not derived from the key.
    """
    return secrets.token_hex(8)


def parse_inline_handle(text: str) -> InlineHandle:
    """Return the handle in `text`. Raises: NotFound: it does not have the form that kubelet
    generates for inline volumes.
    """
    if not _INLINE.fullmatch(text):
        raise NotFound(f"no inline volume {text!r}")
    return InlineHandle(text)


def parse_handle(text: str) -> VolumeId | InlineHandle:
    """Return the id in `text`, of a persistent or of an inline volume; no text has both forms.

    Raises: NotFound: it has neither form.
    """
    return InlineHandle(text) if _INLINE.fullmatch(text) else parse_volume_id(text)


def pool_part(image_id: str) -> PoolId:
    """Return the first part of a volume or snapshot id, which is the id of its pool, without
    checking the form of the id.
    """
    return image_id.partition("-")[0]


def parse_volume_id(text: str) -> VolumeId:
    """Return the volume id in `text`. Raises: NotFound: it does not have the form of this driver's
    ids, so there is no such volume.
    """
    if not (match := _ID.fullmatch(text)):
        raise NotFound(f"no volume {text!r}")
    return VolumeId(*match.groups())


def parse_snapshot_id(text: str) -> SnapshotId:
    """Return the snapshot id in `text`. Raises: NotFound: it does not have the form of this
    driver's ids, so there is no such snapshot.
    """
    if not (match := _ID.fullmatch(text)):
        raise NotFound(f"no snapshot {text!r}")
    return SnapshotId(*match.groups())


def parse_group_id(text: str) -> Key:
    """Return the group snapshot id in `text`, which is the hash of the group snapshot's name.
    Raises: NotFound: `text` does not have this form, so there is no such group snapshot.
    """
    if not _KEY.fullmatch(text):
        raise NotFound(f"no group snapshot {text!r}")
    return text


def is_key(text: str) -> bool:
    """Return whether `text` has the form of a key, the hash of a volume's or snapshot's name."""
    return _KEY.fullmatch(text) is not None


def name_digest(key: Key) -> int:
    """Return the first 8 bytes of a key, the hash of a volume's or snapshot's name, as an integer.
    Nodes report in this form which images they have.

    Two different keys have the same digest with a probability of 2 ** -64.
    """
    return int(key[: 2 * _DIGEST_BYTES], 16)


def pack_digests(digests: Collection[int]) -> bytes:
    """Return `digests`, each a hash of a volume's or snapshot's name, as bytes: 8 for each,
    big-endian.
    """
    return struct.pack(f">{len(digests)}Q", *digests)


def unpack_digests(packed: bytes) -> Sequence[int]:
    """Return the integers in `packed`, each the 8-byte hash of a volume's or snapshot's name; an
    incomplete one at the end is ignored.
    """
    count = len(packed) // _DIGEST_BYTES
    return struct.unpack(f">{count}Q", packed[: count * _DIGEST_BYTES])


def _hash(domain: bytes, name: str) -> Key:
    """Return the first 32 hex digits of the SHA-256 of the domain, a NUL, and the name."""
    raw = name.encode(errors="surrogatepass")
    return hashlib.sha256(domain + b"\0" + raw).hexdigest()[:32]
