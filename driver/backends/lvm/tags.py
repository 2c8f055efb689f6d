"""An image as LVM tags: as short as it goes, for what fills up first is a group's metadata area.

`cellar.0=...` is the record, in pieces where one tag would be too long: fields of one letter with
`&` between them. `cellar.p=` is ControllerPublishVolume's. Size and id are not in it: the volume
has a size, and is called `cellar-ID`. LVM takes letters, digits and _+.-/=!:# and & in tags;
everything else is escaped as #XX.
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
from driver.linux.devices.lvm import LogicalVolume

PREFIX: Final = "cellar-"  # of the names of volumes and of devices
STILL: Final = ".still-"  # in the name of a snapshot that somebody copies from
BUILDING: Final = "cellar.new"  # nobody has seen it: it may be removed
FILLING: Final = "cellar.fill"  # its first contents are being made: whatever is in it, it is blank
FREEZING: Final = "cellar.freezing"  # its filesystem may have been left frozen
_RECORD: Final = re.compile(r"cellar\.([0-9]{1,2})=(.*)")
_PUBLISHED: Final = "cellar.p="
_OWNER: Final = "cellar.owner="
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
    "mkfsOptions": "m",
    "formatted": "F",
    "limits": "l",
    "group": "g",
    "groupName": "G",
    "members": "M",
    "renewal": "r",
    "blank": "B",
    "inline": "I",
}
_NAMES: Final = {letter: name for name, letter in _LETTERS.items()}
_ELSEWHERE: Final = ("id", "size")  # the name, and the volume's own
_CHARGE: Final = "w"  # what a snapshot may cost a thin pool
_UNSAFE: Final = re.compile(r"[^A-Za-z0-9_+.:/=-]")
_ESCAPED: Final = re.compile(rb"#([0-9A-F]{2})")


def name_of(image_id: ImageId) -> str:
    """Return the name of an image's logical volume, and of the device-mapper layer over it."""
    return f"{PREFIX}{image_id}"


def part_of(name: str) -> str:
    """Return the name of the volume that is zeroed before the volume `name` is extended by it."""
    return f"{name}.more"


def owner(driver: str) -> str:
    """Return the tag that marks a pool as the driver's."""
    return _OWNER + _escape(driver)


def owner_of(tags: Iterable[str]) -> str | None:
    """Return the driver that `tags` of a pool name as its owner, or None."""
    for tag in tags:
        if tag.startswith(_OWNER):
            return _unescape(tag.removeprefix(_OWNER))
    return None


def encode(image: Image, cost: Bytes = 0) -> tuple[str, ...]:
    """Return all tags of an image that exists. `cost`: its charge in bytes; 0: it has none."""
    flat = record.encode(image)
    fields = [
        _LETTERS[name] + _escape(_shortened(value, image.id.pool))
        for name, value in flat.items()
        if name not in _ELSEWHERE
    ]
    text = "&".join([*fields, *([f"{_CHARGE}{cost}"] if cost else [])])
    pieces = [text[at : at + _PIECE] for at in range(0, len(text), _PIECE)]
    tags = [f"cellar.{number}={piece}" for number, piece in enumerate(pieces)]
    if isinstance(image, Volume) and (one := image.published):
        tags.append(f"{_PUBLISHED}{_escape(one.node)}:{int(one.read_only)}:{one.mode.name}")
    return tuple(tags)


def ours(tags: Iterable[str]) -> frozenset[str]:
    """Return those of the tags of a volume that `encode` makes."""
    return frozenset(tag for tag in tags if _RECORD.match(tag) or tag.startswith(_PUBLISHED))


def decode(name: str, size: Bytes, tags: Iterable[str]) -> tuple[Image, Bytes]:
    """Return the image of the volume `name`, and its recorded charge in bytes; 0: none.

    Raises: Damaged if the tags cannot be read.
    """
    tags = tuple(tags)
    fields = _fields(tags)
    image_id = name.removeprefix(PREFIX)
    cost = fields.pop(_CHARGE, "0")
    try:
        flat = {_NAMES[key]: _unescape(value) for key, value in fields.items() if key}
        image = record.decode(_lengthened(flat, image_id) | {"id": image_id, "size": str(size)})
        if isinstance(image, Snapshot):
            return image, int(cost)
        return replace(image, published=_publication(tags)), int(cost)
    except (KeyError, ValueError) as error:
        raise Damaged(f"the tags of {name} cannot be read: {error!r}") from error


def glimpse(name: str, size: Bytes, tags: Iterable[str], error: Damaged) -> Unreadable:
    """Return what can be read of an image whose tags `decode` refused with `error`."""
    flat: dict[str, str] = {}
    for key, value in _fields(tags).items():
        with suppress(KeyError, ValueError):
            flat[_NAMES[key]] = _unescape(value)
    image_id = name.removeprefix(PREFIX)
    return record.glimpse(image_id, _lengthened(flat, image_id), error, size)


def published_to(tags: Iterable[str]) -> tuple[frozenset[str], str | None]:
    """Return the tags that say to which node a volume is published, and that node.

    The node is None if there are no such tags, or they cannot be read.
    """
    tags = frozenset(tag for tag in tags if tag.startswith(_PUBLISHED))
    try:
        one = _publication(tags)
    except (KeyError, ValueError):
        one = None
    return tags, one.node if one else None


def charge(volume: LogicalVolume) -> Bytes:
    """Return the recorded charge of a volume in bytes; 0: none is recorded, or can be read."""
    if BUILDING not in volume.tags and volume.name.startswith(PREFIX):
        with suppress(Damaged):
            return decode(volume.name, volume.size, volume.tags)[1]
    return 0


def _fields(tags: Iterable[str]) -> dict[str, str]:
    """Return the fields of the record by their letters, still escaped."""
    found = sorted((int(match[1]), match[2]) for tag in tags if (match := _RECORD.fullmatch(tag)))
    return {one[:1]: one[1:] for one in "".join(piece for _, piece in found).split("&")}


def _publication(tags: Iterable[str]) -> Publication | None:
    """Return what the tags say about a publication, or None.

    Raises: ValueError or KeyError if that cannot be read.
    """
    for tag in tags:
        if tag.startswith(_PUBLISHED):
            node, read_only, mode = tag.removeprefix(_PUBLISHED).rsplit(":", 2)
            return Publication(_unescape(node), read_only == "1", AccessMode[mode])
    return None


def _shortened(value: str, pool: PoolId) -> str:
    """Return `value` without the pool part of the ids in it that are of `pool`, which most are."""
    return re.sub(rf"\b{pool}-([0-9a-f]{{32}})\b", r"=\1", value)


def _lengthened(flat: dict[str, str], image_id: str) -> dict[str, str]:
    """Return `flat` with the pool of `image_id` put back into what `_shortened` made shorter."""
    pool = image_id[:12]
    return flat | {
        name: re.sub(r"=([0-9a-f]{32})\b", rf"{pool}-\1", flat[name])
        for name in ("source", "members")
        if name in flat
    }


def _escape(text: str) -> str:
    """Return `text` with all but letters, digits and _+.:/=- as #XX, byte by byte."""
    return _UNSAFE.sub(lambda match: "".join(f"#{one:02X}" for one in match[0].encode()), text)


def _unescape(text: str) -> str:
    return _ESCAPED.sub(lambda match: bytes([int(match[1], 16)]), text.encode()).decode()
