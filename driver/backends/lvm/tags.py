"""The record of an image as LVM tags, kept short because a group's metadata area is small.

`cellar.0=...` is the record, split into several tags where one would be too long; its fields have
names of one letter and are separated by `&`. `cellar.p=` is the publication by
ControllerPublishVolume. `cellar.k=` has the names in Kubernetes, in a tag of its own, so that
versions which do not know it ignore it. `cellar.hold` marks a held volume; such a volume's record
has a newer schema, so that versions which do not know the mark refuse to delete it. Size and id are
not in the record: LVM has the size, and the logical volume is named `cellar-ID`. LVM allows
letters, digits and _+.-/=!:#& in tags; any other character is escaped as #XX.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import replace
from typing import Final

from driver.backends import record
from driver.core.errors import Damaged
from driver.core.ids import ImageId, PoolId
from driver.core.model import AccessMode, Bytes, Image, Publication, Snapshot, Unreadable, Volume
from driver.core.options.storage_class_parameters import OPTIONS
from driver.linux.devices.lvm import LogicalVolume

PREFIX: Final = "cellar-"  # begins the names of logical volumes, and of our layers
COPY_SNAPSHOT: Final = ".still-"  # in the name of a temporary snapshot to copy from
BUILDING: Final = "cellar.new"  # it was never visible as a volume: it may be removed
FILLING: Final = "cellar.fill"  # its first contents are being written: so far they are void
FREEZING: Final = "cellar.freezing"  # its filesystem may have been left frozen
_HELD: Final = "cellar.hold"
_RECORD: Final = re.compile(r"cellar\.([0-9]{1,2})=(.*)")
_PUBLISHED: Final = "cellar.p="
_OBJECTS: Final = "cellar.k="
_OWNER: Final = "cellar.owner="
_UNFINISHED: Final = "cellar.unfinished="
_LIMIT: Final = 200  # bytes of all tags; with more, the names in Kubernetes are left out
_PUBLISHED_SIZE: Final = 36  # bytes that are kept free for a tag `cellar.p=`
_PIECE: Final = 1000  # characters; LVM allows 1024 with the name

_LETTERS: Final = {
    "schema": "s",
    "kind": "k",
    "name": "n",
    "fs": "f",
    "allocation": "a",
    "blockSize": "b",
    "luksKey": "y",
    "created": "c",
    "incarnation": "i",
    "source": "o",
    "formatted": "F",
    "limits": "l",
    "group": "g",
    "groupName": "G",
    "members": "M",
    "renewal": "r",
    "blank": "B",
    "inline": "I",
    **{option.key: option.tag for option in OPTIONS.values()},
}
_FIELDS: Final = {letter: name for name, letter in _LETTERS.items()}
_OMITTED: Final = ("id", "size")  # they are in the name, and in the size of the LV
_OBJECT_FIELDS: Final = ("claim", "persistent")  # they are in a tag of their own
# As short as the first version had them; some later ones wrote the full names.
_MODES: Final = {
    AccessMode.SINGLE_NODE_WRITER: "SNW",
    AccessMode.SINGLE_NODE_READER_ONLY: "SNRO",
    AccessMode.MULTI_NODE_READER_ONLY: "MNRO",
    AccessMode.MULTI_NODE_SINGLE_WRITER: "MNSW",
    AccessMode.MULTI_NODE_MULTI_WRITER: "MNMW",
    AccessMode.SINGLE_NODE_SINGLE_WRITER: "SNSW",
    AccessMode.SINGLE_NODE_MULTI_WRITER: "SNMW",
}
_RESERVATION: Final = "w"  # bytes that a snapshot may cost a thin pool
_UNSAFE: Final = re.compile(r"[^A-Za-z0-9_+.:/=-]")
_ESCAPED: Final = re.compile(rb"#([0-9A-F]{2})")


def lv_name(image_id: ImageId) -> str:
    """Return the name of an image's logical volume, which the driver's device-mapper device over it
    has too.
    """
    return f"{PREFIX}{image_id}"


def extension_name(name: str) -> str:
    """Return the name of the temporary LV whose zeroed extents are then added to the LV `name`."""
    return f"{name}.more"


def owner_tag(driver: str) -> str:
    """Return the tag that marks a pool as the driver's."""
    return _OWNER + _escape(driver)


def unfinished_tag(driver: str) -> str:
    """Return the tag of a volume group whose thin pool this driver still has to create or to
    extend.
    """
    return _UNFINISHED + _escape(driver)


def find_owner(tags: Iterable[str]) -> str | None:
    """Return the name of the driver that owns a pool with these tags; None: the tags name no
    owner.
    """
    for tag in tags:
        if tag.startswith(_OWNER):
            return _unescape(tag.removeprefix(_OWNER))
    return None


def encode(image: Image, reservation: Bytes = 0) -> tuple[str, ...]:
    """Return all tags that record an existing image. `reservation`: how many bytes a snapshot may
    occupy in a thin pool; 0: no tag records that.
    """
    flat = record.encode(image)
    fields = [
        _LETTERS[name] + _escape(_shorten(value, image.id.pool))
        for name, value in flat.items()
        if name not in (*_OMITTED, *_OBJECT_FIELDS, "hold")
    ]
    text = "&".join([*fields, *([f"{_RESERVATION}{reservation}"] if reservation else [])])
    pieces = [text[at : at + _PIECE] for at in range(0, len(text), _PIECE)]
    tags = [f"cellar.{number}={piece}" for number, piece in enumerate(pieces)]
    tags += [_HELD] if "hold" in flat else []
    free = _LIMIT - sum(map(len, tags)) - _PUBLISHED_SIZE * isinstance(image, Volume)
    tags += _encode_objects(flat, free)
    if isinstance(image, Volume) and (publication := image.published):
        tags.append(_PUBLISHED + _encode_publication(publication))
    return tuple(tags)


def own_tags(tags: Iterable[str]) -> frozenset[str]:
    """Return those of `tags`, the LVM tags of a volume, in which the volume's record is stored."""
    other = (_PUBLISHED, _OBJECTS, _HELD)
    return frozenset(tag for tag in tags if _RECORD.match(tag) or tag.startswith(other))


def decode(name: str, size: Bytes, tags: Iterable[str]) -> tuple[Image, Bytes]:
    """Return the image of the logical volume `name` with these tags, and its recorded reservation:
    how many bytes a snapshot may occupy in a thin pool (0: none is recorded). `size`: of the
    logical volume.

    Raises: Damaged if the tags are no valid record.
    """
    tags = tuple(tags)
    fields = _fields(tags)
    image_id = name.removeprefix(PREFIX)
    reservation = fields.pop(_RESERVATION, "0")
    try:
        flat = {_FIELDS[key]: _unescape(value) for key, value in fields.items() if key}
        flat |= _objects(tags) | {"id": image_id, "size": str(size)}
        flat |= {"hold": "yes"} if _HELD in tags else {}
        image = record.decode(_lengthen(flat, image_id))
        if isinstance(image, Snapshot):
            return image, int(reservation)
        return replace(image, published=_publication(tags)), int(reservation)
    except (KeyError, ValueError) as error:
        raise Damaged(f"the tags of {name} cannot be read: {error!r}") from error


def glimpse(name: str, size: Bytes, tags: Iterable[str], error: Damaged) -> Unreadable:
    """Return what can be read of the image `name` whose tags are no valid record, because of
    `error`. `size`: of its logical volume in bytes.
    """
    flat: dict[str, str] = {}
    for key, value in _fields(tags).items():
        with suppress(KeyError, ValueError):
            flat[_FIELDS[key]] = _unescape(value)
    image_id = name.removeprefix(PREFIX)
    return record.glimpse(image_id, _lengthen(flat, image_id), error, size)


def published_to(tags: Iterable[str]) -> tuple[frozenset[str], str | None]:
    """Return the tags that record a publication, and the node to which they publish the volume.

    The node is None if there are no such tags, or they cannot be parsed.
    """
    tags = frozenset(tag for tag in tags if tag.startswith(_PUBLISHED))
    try:
        publication = _publication(tags)
    except (KeyError, ValueError):
        publication = None
    return tags, publication.node if publication else None


def recorded_reservation(volume: LogicalVolume) -> Bytes:
    """Return how many bytes a snapshot may occupy in its thin pool, as recorded in the tags of its
    logical volume; 0: none is recorded, or the tag cannot be read.
    """
    if BUILDING not in volume.tags and volume.name.startswith(PREFIX):
        with suppress(Damaged):
            return decode(volume.name, volume.size, volume.tags)[1]
    return 0


def _fields(tags: Iterable[str]) -> dict[str, str]:
    """Return the fields of the record by their letters, still escaped."""
    pieces = sorted((int(match[1]), match[2]) for tag in tags if (match := _RECORD.fullmatch(tag)))
    return {field[:1]: field[1:] for field in "".join(piece for _, piece in pieces).split("&")}


def _publication(tags: Iterable[str]) -> Publication | None:
    """Return what the tags say about a publication, or None.

    Raises: ValueError or KeyError if that cannot be read.
    """
    for tag in tags:
        if tag.startswith(_PUBLISHED):
            node, read_only, mode = tag.removeprefix(_PUBLISHED).rsplit(":", 2)
            return Publication(_unescape(node), read_only == "1", _parse_mode(mode))
    return None


def _encode_objects(flat: dict[str, str], most: Bytes) -> list[str]:
    """Return the tag of the names in Kubernetes, in at most `most` bytes: if all of them are too
    long, without `persistent`, or none.
    """
    if "claim" not in flat:
        return []
    claim = _OBJECTS + _escape(flat["claim"])
    both = f"{claim}:{_escape(flat.get('persistent', ''))}".removesuffix(":")
    return next(([tag] for tag in (both, claim) if len(tag) <= most), [])


def _objects(tags: Iterable[str]) -> dict[str, str]:
    """Return the fields of the names in Kubernetes that the tags have; none if they cannot be
    read: they are for people only.
    """
    with suppress(ValueError):
        for tag in tags:
            if tag.startswith(_OBJECTS):
                values = map(_unescape, tag.removeprefix(_OBJECTS).split(":"))
                return dict(zip(_OBJECT_FIELDS, values, strict=False))
    return {}


def _encode_publication(publication: Publication) -> str:
    mode = _MODES[publication.mode]
    return f"{_escape(publication.node)}:{int(publication.read_only)}:{mode}"


def _parse_mode(text: str) -> AccessMode:
    """Return the access mode of a short or a full name. Raises: ValueError if it is neither."""
    return next((mode for mode, short in _MODES.items() if short == text), None) or AccessMode(text)


def _shorten(value: str, pool: PoolId) -> str:
    """Return `value` without the pool part of the ids in it that are of `pool`, which most are."""
    return re.sub(rf"\b{pool}-([0-9a-f]{{32}})\b", r"=\1", value)


def _lengthen(flat: dict[str, str], image_id: str) -> dict[str, str]:
    """Return `flat` with the pool of `image_id` put back into what `_shorten` made shorter."""
    pool = image_id[:12]
    return flat | {
        name: re.sub(r"=([0-9a-f]{32})\b", rf"{pool}-\1", flat[name])
        for name in ("source", "members")
        if name in flat
    }


def _escape(text: str) -> str:
    """Return `text` with all but letters, digits and _+.:/=- as #XX, byte by byte."""
    return _UNSAFE.sub(lambda match: "".join(f"#{byte:02X}" for byte in match[0].encode()), text)


def _unescape(text: str) -> str:
    return _ESCAPED.sub(lambda match: bytes([int(match[1], 16)]), text.encode()).decode()
