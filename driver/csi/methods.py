"""The full paths of all RPCs (`/csi.v1.Controller/CreateVolume`), read from the protobuf
descriptors.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from google.protobuf.descriptor import Descriptor, MethodDescriptor

from csi_proto import cellar_pb2 as cellar
from csi_proto import csi_pb2 as csi
from csi_proto import inspect_pb2


def all_methods() -> Iterator[MethodDescriptor]:
    """Yield the methods of CSI and of Cellar's own services. Their names are unique."""
    for file in (csi.DESCRIPTOR, cellar.DESCRIPTOR, inspect_pb2.DESCRIPTOR):
        for service in file.services_by_name.values():
            yield from service.methods


def method_path(method: MethodDescriptor) -> str:
    """Return the full path of a method, such as /csi.v1.Node/NodeGetInfo."""
    return f"/{method.containing_service.full_name}/{method.name}"


_METHODS: Final = {method.name: method for method in all_methods()}
_PATHS: Final = {name: method_path(method) for name, method in _METHODS.items()}


def response_type(rpc: str) -> Descriptor:
    """Return the message type of the responses of the RPC with this name.

    Raises: KeyError if there is no such RPC.
    """
    return _METHODS[rpc].output_type


def path(rpc: str) -> str:
    """Return the full path, such as /csi.v1.Node/NodeGetInfo, of the RPC with this name. Raises:
    KeyError if there is no such RPC.
    """
    return _PATHS[rpc]
