"""An image as a flat map of short strings: the same for `volume.json` and for LV tags.

The schema number stands in every record; a newer one than ours is refused, an older one is
migrated by a function `n -> n+1`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Final

from driver.core.errors import CellarError, Damaged
from driver.core.ids import ImageId, SnapshotId, parse_snapshot_id, parse_volume_id
from driver.core.model import (
    AccessMode,
    Allocation,
    FsType,
    Image,
    Inline,
    Limits,
    Publication,
    Snapshot,
    Volume,
)

SCHEMA: Final = 1
MIGRATIONS: Final[dict[int, Callable[[dict[str, str]], dict[str, str]]]] = {}


def encode(image: Image) -> dict[str, str]:
    """All of an image but `published`, which has a record of its own; empty values are left out."""
    common = {
        "schema": str(SCHEMA),
        "id": str(image.id),
        "name": image.name,
        "size": str(image.size),
        "fs": image.fs or "",
        "allocation": image.allocation.value,
        "blockSize": str(image.block_size),
        "luksKey": image.key or "",
        "created": repr(image.created),
        "incarnation": image.incarnation,
    }
    own = _snapshot_fields(image) if isinstance(image, Snapshot) else _volume_fields(image)
    return {name: value for name, value in (common | own).items() if value}


def decode(flat: Mapping[str, str]) -> Image:
    """Damaged: a record that lacks something, or is of a newer schema than this program knows."""
    try:
        flat = _migrated(dict(flat))
        return _snapshot(flat) if flat["kind"] == "snapshot" else _volume(flat)
    except (KeyError, ValueError, CellarError) as error:
        raise Damaged(f"the record cannot be read: {error!r}") from error


def to_json(image: Image) -> bytes:
    return json.dumps(encode(image), indent=1, ensure_ascii=False).encode() + b"\n"


def from_json(text: bytes) -> Image:
    """Damaged: not the JSON that `to_json` writes."""
    try:
        flat = json.loads(text)
    except ValueError as error:
        raise Damaged(f"the record is not JSON: {error}") from error
    if not isinstance(flat, dict):
        raise Damaged("the record is not a JSON object")
    return decode(flat)


def publication_to_json(publication: Publication) -> bytes:
    flat = {
        "node": publication.node,
        "readOnly": publication.read_only,
        "mode": publication.mode.value,
    }
    return json.dumps(flat).encode()


def publication_from_json(text: bytes) -> Publication | None:
    """None for what a power cut left: etcd has the attachment, and the attacher says it again."""
    try:
        flat = json.loads(text)
        return Publication(str(flat["node"]), bool(flat["readOnly"]), AccessMode(flat["mode"]))
    except (ValueError, KeyError, TypeError):
        return None


def _migrated(flat: dict[str, str]) -> dict[str, str]:
    while (schema := int(flat["schema"])) < SCHEMA:
        flat = MIGRATIONS[schema](flat)
    if schema > SCHEMA:
        raise Damaged(f"schema {schema} is newer than this program's {SCHEMA}: upgrade it")
    return flat


def _volume_fields(volume: Volume) -> dict[str, str]:
    limits = volume.limits
    numbers = (limits.read_iops, limits.write_iops, limits.read_bps, limits.write_bps)
    return {
        "kind": "volume",
        "source": _reference(volume.source),
        "mkfsOptions": " ".join(volume.mkfs_options),
        "formatted": "yes" if volume.formatted else "",
        "renewal": "yes" if volume.renewal else "",
        "inline": volume.inline or "",
        "limits": ",".join(map(str, numbers)) if any(numbers) else "",
    }


def _snapshot_fields(snapshot: Snapshot) -> dict[str, str]:
    return {
        "kind": "snapshot",
        "blank": "yes" if snapshot.blank else "",
        "source": str(snapshot.source),
        "group": snapshot.group or "",
        "groupName": snapshot.group_name,
        "members": ",".join(map(str, snapshot.members)),
    }


def _volume(flat: Mapping[str, str]) -> Volume:
    return Volume(
        id=parse_volume_id(flat["id"]),
        name=flat["name"],
        size=int(flat["size"]),
        fs=FsType(flat["fs"]) if "fs" in flat else None,
        allocation=Allocation(flat["allocation"]),
        block_size=int(flat["blockSize"]),
        source=_parse_reference(flat.get("source", "")),
        mkfs_options=tuple(flat.get("mkfsOptions", "").split()),
        formatted="formatted" in flat,
        limits=Limits(*map(int, flat.get("limits", "0,0,0,0").split(","))),
        key=flat.get("luksKey"),
        renewal="renewal" in flat,
        inline=Inline(flat["inline"]) if "inline" in flat else None,
        created=float(flat["created"]),
        incarnation=flat["incarnation"],
    )


def _snapshot(flat: Mapping[str, str]) -> Snapshot:
    members = flat.get("members", "")
    return Snapshot(
        id=parse_snapshot_id(flat["id"]),
        name=flat["name"],
        size=int(flat["size"]),
        source=parse_volume_id(flat["source"]),
        created=float(flat["created"]),
        fs=FsType(flat["fs"]) if "fs" in flat else None,
        allocation=Allocation(flat["allocation"]),
        block_size=int(flat["blockSize"]),
        key=flat.get("luksKey"),
        blank="blank" in flat,
        group=flat.get("group"),
        group_name=flat.get("groupName", ""),
        members=tuple(parse_snapshot_id(one) for one in members.split(",") if one),
        incarnation=flat["incarnation"],
    )


def _reference(source: ImageId | None) -> str:
    if source is None:
        return ""
    return f"{'snapshot' if isinstance(source, SnapshotId) else 'volume'}:{source}"


def _parse_reference(text: str) -> ImageId | None:
    kind, _, which = text.partition(":")
    if not which:
        return None
    return parse_snapshot_id(which) if kind == "snapshot" else parse_volume_id(which)
