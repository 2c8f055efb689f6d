"""Removes the fields marked `csi_secret` from messages, for the log."""

from __future__ import annotations

from functools import cache

from google.protobuf.descriptor import Descriptor
from google.protobuf.message import Message

from csi_proto import csi_pb2 as csi

# CSI, VolumeCapability.MountVolume: may contain sensitive information, though not marked.
_SENSITIVE = frozenset({"mount_flags"})


def presentable(request: Message) -> str:
    """Return the request as one line of text, without the fields that may be secret, at any
    depth.
    """
    return " ".join(str(stripped(request)).split())


def stripped(message: Message) -> Message:
    """Return a copy of the message without the fields that may be secret, at any depth."""
    copy = type(message)()
    copy.CopyFrom(message)
    _strip(copy)
    return copy


def without_marked_secrets(request: Message) -> Message:
    """Return a copy of the request without the fields that CSI marks as secret, or the request
    itself if it has no such field.

    For a request without such fields this takes almost no time.
    """
    if any(getattr(request, name) for name in _secret_fields(request.DESCRIPTOR)):
        return stripped(request)
    return request


@cache
def _secret_fields(descriptor: Descriptor) -> tuple[str, ...]:
    """Return the fields of a request that are marked as secret; CSI has them at the top only."""
    return tuple(
        field.name for field in descriptor.fields if field.GetOptions().Extensions[csi.csi_secret]
    )


def _strip(message: Message) -> None:
    for field, value in message.ListFields():
        if field.GetOptions().Extensions[csi.csi_secret] or field.name in _SENSITIVE:
            message.ClearField(field.name)
        elif field.message_type and not field.message_type.GetOptions().map_entry:
            for inner in value if field.is_repeated else (value,):
                _strip(inner)
