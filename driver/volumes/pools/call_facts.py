"""Facts about a running call that are added to its log line."""

from __future__ import annotations

import contextvars
from collections.abc import Mapping
from typing import Final

from driver.core.model import Image, ObjectKind, Snapshot

# The facts of the current call, which its workers see too; None: nobody asks for them.
FACTS: Final = contextvars.ContextVar[dict[str, str] | None]("FACTS", default=None)


def note_image(image: Image) -> None:
    """Record for the log the Kubernetes object, e.g. the PersistentVolumeClaim, of the image that
    the current call concerns; no-op if the object was recorded earlier in the call.
    """
    facts = FACTS.get()
    if facts is not None and (names := str(image.objects)):
        facts.setdefault(object_kind(image), names)


def object_kind(image: Image) -> ObjectKind:
    """Return the kind of Kubernetes object for which the image was created."""
    if isinstance(image, Snapshot):
        return ObjectKind.GROUP_SNAPSHOT if image.group else ObjectKind.SNAPSHOT
    return ObjectKind.POD if image.inline else ObjectKind.CLAIM


def persistent_name(image: Image) -> str:
    """Return the name of the image's PersistentVolume or VolumeSnapshotContent; "": unknown."""
    if not image.objects.claim or object_kind(image) is ObjectKind.POD:
        return ""
    return image.objects.persistent or image.name


def with_object(text: str, facts: Mapping[str, str]) -> str:
    """Return the text of an error, followed by the kind and name of the Kubernetes object that the
    failed call concerned, unless the text names it already. `facts`: the object's name by its kind.
    """
    for kind in ObjectKind:
        if (names := facts.get(kind)) and names not in text:
            return f"{text} ({kind} {names})"
    return text
