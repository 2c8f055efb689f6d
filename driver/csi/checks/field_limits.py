"""The general limits of CSI for all fields: sizes, characters, paths.

A string has at most 128 bytes and a map 4 KiB, unless the field's description has another limit;
names have no control characters but common whitespace (CSI, Size Limits and
CreateVolumeRequest.name). Errors contain the name of the field, never its value, which may be a
secret.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any, Final

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message

from driver.core.errors import Invalid, NotFound, Refused

STRING: Final = 128  # bytes
MAP: Final = 4096  # bytes
PATH: Final = 4095  # bytes; PATH_MAX counts the closing NUL
COMPONENT: Final = 255  # bytes, NAME_MAX
SPECIAL: Final = {"node_id": 256, "mount_flags": 4096}  # bytes, by the field's own description

# CSI, CreateVolumeRequest.name: U+0000-8, B, C, E-1F, 7F-9F
_BANNED: Final = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")


def check(message: Message, prefix: str = "") -> None:
    """Check the general size limits of CSI, e.g. of strings and maps, for all fields of the message
    and of its sub-messages.

    `prefix`: put before the names of fields in errors. Raises: Invalid, whose text names the first
    field that exceeds a limit.
    """
    limits = _limits(message.DESCRIPTOR)
    for field, value in message.ListFields():
        kind, limit = limits[field.name]
        name = f"{prefix}{field.name}"
        if kind == "string":
            _check_string(name, value, limit)
        elif kind == "strings":
            _check_strings(name, value, limit)
        elif kind == "map":
            _check_map(name, value, limit)
        elif kind == "message":
            check(value, f"{name}.")
        elif kind == "messages":
            for entry in value:
                check(entry, f"{name}[].")


def path(text: str, field: str) -> Path:
    """Return the absolute path in `text`, normalised. `field`: the name of the request's field, for
    errors.

    Raises: Invalid if it is relative, contains `..`, has a component that is too long, or is the
    root directory.
    """
    if not text.startswith("/"):
        raise Invalid(f"{field}: {text!r} is not an absolute path")
    components = text.split("/")
    if ".." in components:
        raise Invalid(f"{field}: {text!r} must not contain '..'")
    if any(len(each) > COMPONENT for each in os.fsencode(text).split(b"/")):
        raise Invalid(f"{field}: a part of the path is longer than {COMPONENT} bytes")
    if not (shortest := Path("/" + text.lstrip("/"))).name:
        raise Invalid(f"{field}: {text!r} is the root directory")
    return shortest


def optional_path(text: str, field: str) -> Path | None:
    """Return the absolute path in `text`, normalised; None if `text` is empty. `field`: the name of
    the request's field, for errors. Raises: Invalid if it is relative, contains `..`, has a
    component that is too long, or is the root directory.
    """
    return path(text, field) if text else None


def staging_path(text: str) -> Path:
    """Return the absolute path in `text`, the field `staging_target_path` of NodePublishVolume.

    Raises: Refused if `text` is empty, because CSI demands FAILED_PRECONDITION then; Invalid if it
    is no absolute path.
    """
    if not text:
        raise Refused("staging_target_path is required: the volume must be staged first")
    return path(text, "staging_target_path")


def volume_path(text: str) -> Path:
    """Return the absolute path in `text`, the field `volume_path` of NodeGetVolumeStats.

    Raises: NotFound if no volume can be at that path, e.g. because it is relative.
    """
    try:
        return path(text, "volume_path")
    except Invalid as error:
        raise NotFound(f"no volume is at this path: {error}") from None


@cache
def _limits(message: Descriptor) -> dict[str, tuple[str, int]]:
    return {field.name: _limit(field) for field in message.fields}


def _limit(field: FieldDescriptor) -> tuple[str, int]:
    if field.message_type and field.message_type.GetOptions().map_entry:
        return "map", MAP
    plural = "s" if field.is_repeated else ""
    if field.type == FieldDescriptor.TYPE_STRING:
        default = PATH if field.name.endswith("_path") else STRING
        return f"string{plural}", SPECIAL.get(field.name, default)
    return (f"message{plural}" if field.message_type else "number"), 0


def _check_string(name: str, value: str, limit: int) -> None:
    if len(value.encode()) > limit:
        raise Invalid(f"{name} is longer than {limit} bytes")
    if _BANNED.search(value):
        raise Invalid(f"{name} contains a control character")


def _check_strings(name: str, values: Iterable[str], limit: int) -> None:
    """Check each string, and the total length of mount flags, which CSI limits together."""
    values = list(values)
    for value in values:
        _check_string(name, value, limit)
    if name.endswith("mount_flags") and sum(len(value.encode()) for value in values) > limit:
        raise Invalid(f"{name} are longer than {limit} bytes together")


def _check_map(name: str, values: Mapping[str, Any], limit: int) -> None:
    if sum(len(key.encode()) + len(value.encode()) for key, value in values.items()) > limit:
        raise Invalid(f"{name} is longer than {limit} bytes")
