"""Requests for the log: without the fields that the specification marks as `csi_secret`."""

from __future__ import annotations

from google.protobuf.message import Message

from csi_proto import csi_pb2 as csi

# CSI, VolumeCapability.MountVolume: may contain sensitive information, though not marked.
_SENSITIVE = frozenset({"mount_flags"})


def presentable(request: Message) -> str:
    """Return the request on one line, without the fields that may be secret, at any depth."""
    copy = type(request)()
    copy.CopyFrom(request)
    _strip(copy)
    return " ".join(str(copy).split())


def _strip(message: Message) -> None:
    for field, value in message.ListFields():
        if field.GetOptions().Extensions[csi.csi_secret] or field.name in _SENSITIVE:
            message.ClearField(field.name)
        elif field.message_type and not field.message_type.GetOptions().map_entry:
            for inner in value if field.is_repeated else (value,):
                _strip(inner)
