"""The Identity service. It answers on the event loop, also while all workers are busy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from google.protobuf.wrappers_pb2 import BoolValue

from csi_proto import csi_pb2 as csi
from csi_proto.csi_pb2_grpc import IdentityServicer

_SERVICE: Final = csi.PluginCapability.Service
_EXPANSION: Final = csi.PluginCapability.VolumeExpansion

CAPABILITIES: Final = (
    *(
        csi.PluginCapability(service=_SERVICE(type=kind))
        for kind in (
            _SERVICE.CONTROLLER_SERVICE,
            _SERVICE.VOLUME_ACCESSIBILITY_CONSTRAINTS,
            _SERVICE.GROUP_CONTROLLER_SERVICE,
            _SERVICE.SNAPSHOT_METADATA_SERVICE,
            _SERVICE.SNAPSHOT_ACCESSIBILITY_CONSTRAINTS,
        )
    ),
    # OFFLINE would mean that volumes in use must not be expanded.
    csi.PluginCapability(volume_expansion=_EXPANSION(type=_EXPANSION.ONLINE)),
)


class Identity(IdentityServicer):
    """The CSI Identity service. `ready` answers Probe."""

    def __init__(self, name: str, version: str, ready: Callable[[], bool] = lambda: True) -> None:
        self._name = name
        self._version = version
        self._ready = ready

    async def GetPluginInfo(
        self, request: csi.GetPluginInfoRequest, context: object
    ) -> csi.GetPluginInfoResponse:
        """Return the name and the version of the driver."""
        return csi.GetPluginInfoResponse(name=self._name, vendor_version=self._version)

    async def GetPluginCapabilities(
        self, request: csi.GetPluginCapabilitiesRequest, context: object
    ) -> csi.GetPluginCapabilitiesResponse:
        """Return the services and features of this release."""
        return csi.GetPluginCapabilitiesResponse(capabilities=CAPABILITIES)

    async def Probe(self, request: csi.ProbeRequest, context: object) -> csi.ProbeResponse:
        """Return whether the driver is ready."""
        return csi.ProbeResponse(ready=BoolValue(value=self._ready()))
