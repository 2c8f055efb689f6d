"""The record of an image as a flat map of short strings, the same in `volume.json` and in LV tags.

Each record contains its schema number. A record of a newer schema is refused; one of an older
schema is migrated step by step, by one function for each version.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Final

from driver.core.errors import CellarError, Damaged
from driver.core.ids import ImageId, SnapshotId, VolumeId, parse_snapshot_id, parse_volume_id
from driver.core.model import (
    NO_OBJECTS,
    AccessMode,
    Allocation,
    Bytes,
    FsType,
    Image,
    Inline,
    Limits,
    ObjectNames,
    Publication,
    Snapshot,
    Unreadable,
    Volume,
)
from driver.core.options.storage_class_parameters import dump_options, load_options

SCHEMA: Final = 1
SCHEMA_HELD: Final = 2  # of a held volume: versions that know no holds must not delete it
MIGRATIONS: Final[dict[int, Callable[[dict[str, str]], dict[str, str]]]] = {}
CURE: Final = (
    "nothing was changed: put its record right or take the image away by hand, see 'A record that"
    " cannot be read' in docs/operations.md"
)
_INCARNATION: Final = re.compile(r"[A-Za-z0-9_-]{1,64}", re.ASCII)
_BLOCKS: Final = frozenset(1 << power for power in range(9, 17))
_LAST: Final = 253_402_300_800.0  # seconds; what a protobuf Timestamp can say ends with year 9999


class Newer(Damaged):
    """The record of an image has a schema that this version does not know."""


def encode(image: Image) -> dict[str, str]:
    """Return the record of an image as texts by field, without empty fields and without
    `published`, which is recorded separately.
    """
    common = {
        "schema": str(SCHEMA_HELD if isinstance(image, Volume) and image.held else SCHEMA),
        "id": str(image.id),
        "name": image.name,
        "size": str(image.size),
        "fs": image.fs or "",
        "allocation": image.allocation.value,
        "blockSize": str(image.block_size),
        "luksKey": image.luks_key_id or "",
        "created": repr(image.created),
        "incarnation": image.incarnation,
        "claim": str(image.objects),
        "persistent": image.objects.persistent,
    }
    own = _snapshot_fields(image) if isinstance(image, Snapshot) else _volume_fields(image)
    return {name: value for name, value in (common | own).items() if value}


def decode(flat: Mapping[str, str]) -> Image:
    """Return the image that a record describes; a record of an older schema is migrated.

    Raises: Damaged if a field is missing or has an impossible value; Newer if the schema is newer
    than this program.
    """
    try:
        flat = _migrated(dict(flat))
        image = _snapshot(flat) if flat["kind"] == "snapshot" else _volume(flat)
        _check(image)
    except Damaged:
        raise
    except (KeyError, ValueError, TypeError, AttributeError, OverflowError, CellarError) as error:
        raise Damaged(f"the record cannot be read: {error!r}") from error
    return image


def to_json(image: Image) -> bytes:
    """Return the record of an image as JSON, the contents of `volume.json`."""
    return json.dumps(encode(image), indent=1, ensure_ascii=False).encode() + b"\n"


def from_json(text: bytes) -> Image:
    """Parse the JSON of `volume.json` and return the image. Raises: Damaged if it is no valid
    record.
    """
    try:
        flat = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise Damaged(f"the record is not JSON: {error}") from error
    if not isinstance(flat, dict):
        raise Damaged("the record is not a JSON object")
    return decode(flat)


def unreadable(name: str, text: bytes, error: Exception, size: Bytes) -> Unreadable:
    """Return what can be read of the image `name` whose JSON record `text` was refused with
    `error`.

    `size`: that of its file, in bytes.
    """
    flat: object = None
    with suppress(ValueError, RecursionError):
        flat = json.loads(text)
    return glimpse(name, flat if isinstance(flat, dict) else {}, error, size)


def glimpse(name: str, flat: Mapping[str, object], error: Exception, size: Bytes) -> Unreadable:
    """Return what can be read of the image `name` whose record `flat` was refused with `error`.

    `size`: of its file or logical volume, in bytes.
    """
    why = f"{name}: {error}" if isinstance(error, Newer) else f"{name}: {error}; {CURE}"
    if flat.get("kind") != "snapshot":
        return Unreadable(id=parse_volume_id(name), why=why, size=size)
    source: VolumeId | None = None
    created = 0.0
    with suppress(CellarError):
        source = parse_volume_id(str(flat.get("source")))
    with suppress(ValueError):
        created = float(str(flat.get("created")))
    return Unreadable(
        id=parse_snapshot_id(name),
        why=why,
        size=size,
        source=source,
        created=created if 0 <= created < _LAST else 0.0,
        group=str(flat["group"]) if flat.get("group") else None,
    )


def publication_to_json(publication: Publication) -> bytes:
    """Return the record of the node to which a volume is published as JSON, the contents of
    `attached.json`.
    """
    flat = {
        "node": publication.node,
        "readOnly": publication.read_only,
        "mode": publication.mode.value,
    }
    return json.dumps(flat).encode()


def publication_from_json(text: bytes) -> Publication | None:
    """Return the record of the node to which a volume is published from the JSON of
    `attached.json`; None if the JSON cannot be parsed.

    The file is not synced, so after a power cut it may contain anything. That is harmless: the
    VolumeAttachment in etcd is durable, and the external-attacher calls ControllerPublishVolume
    again.
    """
    try:
        flat = json.loads(text)
        return Publication(str(flat["node"]), bool(flat["readOnly"]), AccessMode(flat["mode"]))
    except (ValueError, KeyError, TypeError):
        return None


def _migrated(flat: dict[str, str]) -> dict[str, str]:
    """Return the record in the current schema. Raises: Newer; KeyError, ValueError if it is
    malformed.
    """
    while (schema := int(flat["schema"])) < SCHEMA:
        flat = MIGRATIONS[schema](flat)
    if schema > (SCHEMA_HELD if "hold" in flat else SCHEMA):
        raise Newer(
            f"its record is of schema {schema}, written by a newer version of Cellar; this one"
            f" knows schemas up to {SCHEMA_HELD}: upgrade it; nothing was changed"
        )
    values: Mapping[str, object] = flat
    if strange := [name for name, value in values.items() if not isinstance(value, str)]:
        raise ValueError(f"no text: {', '.join(sorted(strange))}")
    return flat


def _check(image: Image) -> None:
    """Raise ValueError for values that no record of ours has, and that other code relies on."""
    image.name.encode()
    if not 0 < image.size < 1 << 63:
        raise ValueError(f"size {image.size}")
    if image.block_size not in _BLOCKS:
        raise ValueError(f"blockSize {image.block_size}")
    if not 0 <= image.created < _LAST:
        raise ValueError(f"created {image.created}")
    if not _INCARNATION.fullmatch(image.incarnation):
        raise ValueError(f"incarnation {image.incarnation!r}")


def _objects(flat: Mapping[str, str]) -> ObjectNames:
    """Return the names in Kubernetes. They are for people: what cannot be read is as good as
    none.
    """
    namespace, _, claim = flat.get("claim", "").partition("/")
    if not claim:
        return NO_OBJECTS
    return ObjectNames(sys.intern(namespace), claim, flat.get("persistent", ""))


def _volume_fields(volume: Volume) -> dict[str, str]:
    limits = volume.limits
    values = (limits.read_iops, limits.write_iops, limits.read_bps, limits.write_bps)
    return {
        "kind": "volume",
        "source": _reference(volume.source),
        **dump_options(volume.options),
        "formatted": "yes" if volume.formatted else "",
        "renewal": "yes" if volume.needs_new_uuid else "",
        "inline": volume.inline or "",
        "hold": "yes" if volume.held else "",
        "limits": ",".join(map(str, values)) if any(values) else "",
    }


def _snapshot_fields(snapshot: Snapshot) -> dict[str, str]:
    return {
        "kind": "snapshot",
        "blank": "yes" if snapshot.unformatted else "",
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
        options=load_options(flat),
        formatted="formatted" in flat,
        limits=Limits(*map(int, flat.get("limits", "0,0,0,0").split(","))),
        luks_key_id=flat.get("luksKey"),
        needs_new_uuid="renewal" in flat,
        inline=Inline(flat["inline"]) if "inline" in flat else None,
        held="hold" in flat,
        objects=_objects(flat),
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
        luks_key_id=flat.get("luksKey"),
        unformatted="blank" in flat,
        group=flat.get("group"),
        group_name=flat.get("groupName", ""),
        members=tuple(parse_snapshot_id(member) for member in members.split(",") if member),
        objects=_objects(flat),
        incarnation=flat["incarnation"],
    )


def _reference(source: ImageId | None) -> str:
    if source is None:
        return ""
    return f"{'snapshot' if isinstance(source, SnapshotId) else 'volume'}:{source}"


def _parse_reference(text: str) -> ImageId | None:
    kind, _, image_id = text.partition(":")
    if not image_id:
        return None
    return parse_snapshot_id(image_id) if kind == "snapshot" else parse_volume_id(image_id)
