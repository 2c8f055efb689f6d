"""The Identity service, and the capabilities of this release, for nodes and for routers.

The service answers on the event loop, so it answers even while all workers are busy.
"""

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

_CONTROLLER: Final = csi.ControllerServiceCapability.RPC
_GROUP: Final = csi.GroupControllerServiceCapability.RPC
_ATTACH: Final = (
    _CONTROLLER.PUBLISH_UNPUBLISH_VOLUME,
    _CONTROLLER.PUBLISH_READONLY,
    _CONTROLLER.LIST_VOLUMES_PUBLISHED_NODES,
)
CONTROLLER: Final = (
    _CONTROLLER.CREATE_DELETE_VOLUME,
    _CONTROLLER.LIST_VOLUMES,
    _CONTROLLER.GET_CAPACITY,
    _CONTROLLER.CREATE_DELETE_SNAPSHOT,
    _CONTROLLER.LIST_SNAPSHOTS,
    _CONTROLLER.CLONE_VOLUME,
    _CONTROLLER.EXPAND_VOLUME,
    _CONTROLLER.VOLUME_CONDITION,
    _CONTROLLER.GET_VOLUME,
    _CONTROLLER.SINGLE_NODE_MULTI_WRITER,
    _CONTROLLER.GET_SNAPSHOT,
    _CONTROLLER.GET_VOLUME_HEALTH,
    _CONTROLLER.LIST_VOLUME_HEALTH,
)


def controller_capabilities(
    *, attach: bool, modify: bool = True
) -> csi.ControllerGetCapabilitiesResponse:
    """Return the capabilities of the Controller service.

    `attach`: whether ControllerPublishVolume and ControllerUnpublishVolume are served. `modify`:
    whether IO limits can be enforced; a router, which cannot know, always passes True.
    """
    kinds = [*CONTROLLER, *(_ATTACH if attach else ())]
    if modify:
        kinds.append(_CONTROLLER.MODIFY_VOLUME)
    return csi.ControllerGetCapabilitiesResponse(
        capabilities=[
            csi.ControllerServiceCapability(rpc=_CONTROLLER(type=kind)) for kind in sorted(kinds)
        ]
    )


def group_capabilities() -> csi.GroupControllerGetCapabilitiesResponse:
    """Return the capabilities of the GroupController service."""
    rpc = _GROUP(type=_GROUP.CREATE_DELETE_GET_VOLUME_GROUP_SNAPSHOT)
    return csi.GroupControllerGetCapabilitiesResponse(
        capabilities=[csi.GroupControllerServiceCapability(rpc=rpc)]
    )


class Identity(IdentityServicer):
    """The CSI Identity service: reports the driver's name, version and capabilities. `ready`:
    returns whether the driver is ready, the answer to Probe.
    """

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
