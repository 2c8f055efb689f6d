"""Secrets do not reach the log, at any depth, in any request of CSI."""

from __future__ import annotations

import pytest
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from csi_proto import csi_pb2 as csi
from driver.csi import redact

SECRET = "hunter2"
REQUESTS = sorted(
    {
        method.input_type.full_name: method.input_type
        for service in csi.DESCRIPTOR.services_by_name.values()
        for method in service.methods
    }.items()
)


def _filled(kind: Descriptor, depth: int = 0) -> Message:
    """Every string field says its name, those that are secret the secret."""
    message = GetMessageClass(kind)()
    for field in kind.fields:
        if field.message_type and field.message_type.GetOptions().map_entry:
            secret = field.GetOptions().Extensions[csi.csi_secret]
            getattr(message, field.name)[field.name] = SECRET if secret else "open"
        elif field.type == FieldDescriptor.TYPE_STRING:
            hidden = SECRET if field.name == "mount_flags" else field.name
            if field.is_repeated:
                getattr(message, field.name).append(hidden)
            else:
                setattr(message, field.name, hidden)
        elif field.message_type and depth < 3:
            inner = _filled(field.message_type, depth + 1)
            if field.is_repeated:
                getattr(message, field.name).append(inner)
            else:
                getattr(message, field.name).CopyFrom(inner)
    return message


@pytest.mark.parametrize(("name", "kind"), REQUESTS, ids=[name for name, _ in REQUESTS])
def test_no_secret_is_in_what_is_logged(name: str, kind: Descriptor) -> None:
    request = _filled(kind)
    before = request.SerializeToString()
    assert SECRET not in redact.presentable(request)
    assert request.SerializeToString() == before


def test_what_is_no_secret_stays_on_one_line() -> None:
    request = csi.CreateVolumeRequest(name="v", secrets={"p": SECRET}, parameters={"pool": "fast"})
    text = redact.presentable(request)
    assert "fast" in text
    assert "\n" not in text
    assert '"v"' in text
