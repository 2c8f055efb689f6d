"""The gRPC services of csi_proto/csi.proto, for grpc.aio. Made by `make proto`; do not edit."""

import grpc

from csi_proto import csi_pb2 as pb


async def _unimplemented(context):
    await context.abort(grpc.StatusCode.UNIMPLEMENTED, "not implemented by this driver")


class IdentityStub:
    def __init__(self, channel):
        self.GetPluginInfo = channel.unary_unary(
            "/csi.v1.Identity/GetPluginInfo",
            request_serializer=pb.GetPluginInfoRequest.SerializeToString,
            response_deserializer=pb.GetPluginInfoResponse.FromString,
        )
        self.GetPluginCapabilities = channel.unary_unary(
            "/csi.v1.Identity/GetPluginCapabilities",
            request_serializer=pb.GetPluginCapabilitiesRequest.SerializeToString,
            response_deserializer=pb.GetPluginCapabilitiesResponse.FromString,
        )
        self.Probe = channel.unary_unary(
            "/csi.v1.Identity/Probe",
            request_serializer=pb.ProbeRequest.SerializeToString,
            response_deserializer=pb.ProbeResponse.FromString,
        )


class IdentityServicer:
    async def GetPluginInfo(self, request, context):
        await _unimplemented(context)

    async def GetPluginCapabilities(self, request, context):
        await _unimplemented(context)

    async def Probe(self, request, context):
        await _unimplemented(context)


def add_IdentityServicer_to_server(servicer, server):
    handlers = {
        "GetPluginInfo": grpc.unary_unary_rpc_method_handler(
            servicer.GetPluginInfo,
            pb.GetPluginInfoRequest.FromString,
            pb.GetPluginInfoResponse.SerializeToString,
        ),
        "GetPluginCapabilities": grpc.unary_unary_rpc_method_handler(
            servicer.GetPluginCapabilities,
            pb.GetPluginCapabilitiesRequest.FromString,
            pb.GetPluginCapabilitiesResponse.SerializeToString,
        ),
        "Probe": grpc.unary_unary_rpc_method_handler(
            servicer.Probe,
            pb.ProbeRequest.FromString,
            pb.ProbeResponse.SerializeToString,
        ),
    }
    name = "csi.v1.Identity"
    generic = grpc.method_handlers_generic_handler(name, handlers)
    server.add_generic_rpc_handlers((generic,))


class ControllerStub:
    def __init__(self, channel):
        self.CreateVolume = channel.unary_unary(
            "/csi.v1.Controller/CreateVolume",
            request_serializer=pb.CreateVolumeRequest.SerializeToString,
            response_deserializer=pb.CreateVolumeResponse.FromString,
        )
        self.DeleteVolume = channel.unary_unary(
            "/csi.v1.Controller/DeleteVolume",
            request_serializer=pb.DeleteVolumeRequest.SerializeToString,
            response_deserializer=pb.DeleteVolumeResponse.FromString,
        )
        self.ControllerPublishVolume = channel.unary_unary(
            "/csi.v1.Controller/ControllerPublishVolume",
            request_serializer=pb.ControllerPublishVolumeRequest.SerializeToString,
            response_deserializer=pb.ControllerPublishVolumeResponse.FromString,
        )
        self.ControllerUnpublishVolume = channel.unary_unary(
            "/csi.v1.Controller/ControllerUnpublishVolume",
            request_serializer=pb.ControllerUnpublishVolumeRequest.SerializeToString,
            response_deserializer=pb.ControllerUnpublishVolumeResponse.FromString,
        )
        self.ValidateVolumeCapabilities = channel.unary_unary(
            "/csi.v1.Controller/ValidateVolumeCapabilities",
            request_serializer=pb.ValidateVolumeCapabilitiesRequest.SerializeToString,
            response_deserializer=pb.ValidateVolumeCapabilitiesResponse.FromString,
        )
        self.ListVolumes = channel.unary_unary(
            "/csi.v1.Controller/ListVolumes",
            request_serializer=pb.ListVolumesRequest.SerializeToString,
            response_deserializer=pb.ListVolumesResponse.FromString,
        )
        self.ControllerListVolumeHealth = channel.unary_unary(
            "/csi.v1.Controller/ControllerListVolumeHealth",
            request_serializer=pb.ControllerListVolumeHealthRequest.SerializeToString,
            response_deserializer=pb.ControllerListVolumeHealthResponse.FromString,
        )
        self.ControllerGetVolumeHealth = channel.unary_unary(
            "/csi.v1.Controller/ControllerGetVolumeHealth",
            request_serializer=pb.ControllerGetVolumeHealthRequest.SerializeToString,
            response_deserializer=pb.ControllerGetVolumeHealthResponse.FromString,
        )
        self.GetCapacity = channel.unary_unary(
            "/csi.v1.Controller/GetCapacity",
            request_serializer=pb.GetCapacityRequest.SerializeToString,
            response_deserializer=pb.GetCapacityResponse.FromString,
        )
        self.ControllerGetCapabilities = channel.unary_unary(
            "/csi.v1.Controller/ControllerGetCapabilities",
            request_serializer=pb.ControllerGetCapabilitiesRequest.SerializeToString,
            response_deserializer=pb.ControllerGetCapabilitiesResponse.FromString,
        )
        self.CreateSnapshot = channel.unary_unary(
            "/csi.v1.Controller/CreateSnapshot",
            request_serializer=pb.CreateSnapshotRequest.SerializeToString,
            response_deserializer=pb.CreateSnapshotResponse.FromString,
        )
        self.DeleteSnapshot = channel.unary_unary(
            "/csi.v1.Controller/DeleteSnapshot",
            request_serializer=pb.DeleteSnapshotRequest.SerializeToString,
            response_deserializer=pb.DeleteSnapshotResponse.FromString,
        )
        self.ListSnapshots = channel.unary_unary(
            "/csi.v1.Controller/ListSnapshots",
            request_serializer=pb.ListSnapshotsRequest.SerializeToString,
            response_deserializer=pb.ListSnapshotsResponse.FromString,
        )
        self.GetSnapshot = channel.unary_unary(
            "/csi.v1.Controller/GetSnapshot",
            request_serializer=pb.GetSnapshotRequest.SerializeToString,
            response_deserializer=pb.GetSnapshotResponse.FromString,
        )
        self.ControllerExpandVolume = channel.unary_unary(
            "/csi.v1.Controller/ControllerExpandVolume",
            request_serializer=pb.ControllerExpandVolumeRequest.SerializeToString,
            response_deserializer=pb.ControllerExpandVolumeResponse.FromString,
        )
        self.ControllerGetVolume = channel.unary_unary(
            "/csi.v1.Controller/ControllerGetVolume",
            request_serializer=pb.ControllerGetVolumeRequest.SerializeToString,
            response_deserializer=pb.ControllerGetVolumeResponse.FromString,
        )
        self.ControllerModifyVolume = channel.unary_unary(
            "/csi.v1.Controller/ControllerModifyVolume",
            request_serializer=pb.ControllerModifyVolumeRequest.SerializeToString,
            response_deserializer=pb.ControllerModifyVolumeResponse.FromString,
        )


class ControllerServicer:
    async def CreateVolume(self, request, context):
        await _unimplemented(context)

    async def DeleteVolume(self, request, context):
        await _unimplemented(context)

    async def ControllerPublishVolume(self, request, context):
        await _unimplemented(context)

    async def ControllerUnpublishVolume(self, request, context):
        await _unimplemented(context)

    async def ValidateVolumeCapabilities(self, request, context):
        await _unimplemented(context)

    async def ListVolumes(self, request, context):
        await _unimplemented(context)

    async def ControllerListVolumeHealth(self, request, context):
        await _unimplemented(context)

    async def ControllerGetVolumeHealth(self, request, context):
        await _unimplemented(context)

    async def GetCapacity(self, request, context):
        await _unimplemented(context)

    async def ControllerGetCapabilities(self, request, context):
        await _unimplemented(context)

    async def CreateSnapshot(self, request, context):
        await _unimplemented(context)

    async def DeleteSnapshot(self, request, context):
        await _unimplemented(context)

    async def ListSnapshots(self, request, context):
        await _unimplemented(context)

    async def GetSnapshot(self, request, context):
        await _unimplemented(context)

    async def ControllerExpandVolume(self, request, context):
        await _unimplemented(context)

    async def ControllerGetVolume(self, request, context):
        await _unimplemented(context)

    async def ControllerModifyVolume(self, request, context):
        await _unimplemented(context)


def add_ControllerServicer_to_server(servicer, server):
    handlers = {
        "CreateVolume": grpc.unary_unary_rpc_method_handler(
            servicer.CreateVolume,
            pb.CreateVolumeRequest.FromString,
            pb.CreateVolumeResponse.SerializeToString,
        ),
        "DeleteVolume": grpc.unary_unary_rpc_method_handler(
            servicer.DeleteVolume,
            pb.DeleteVolumeRequest.FromString,
            pb.DeleteVolumeResponse.SerializeToString,
        ),
        "ControllerPublishVolume": grpc.unary_unary_rpc_method_handler(
            servicer.ControllerPublishVolume,
            pb.ControllerPublishVolumeRequest.FromString,
            pb.ControllerPublishVolumeResponse.SerializeToString,
        ),
        "ControllerUnpublishVolume": grpc.unary_unary_rpc_method_handler(
            servicer.ControllerUnpublishVolume,
            pb.ControllerUnpublishVolumeRequest.FromString,
            pb.ControllerUnpublishVolumeResponse.SerializeToString,
        ),
        "ValidateVolumeCapabilities": grpc.unary_unary_rpc_method_handler(
            servicer.ValidateVolumeCapabilities,
            pb.ValidateVolumeCapabilitiesRequest.FromString,
            pb.ValidateVolumeCapabilitiesResponse.SerializeToString,
        ),
        "ListVolumes": grpc.unary_unary_rpc_method_handler(
            servicer.ListVolumes,
            pb.ListVolumesRequest.FromString,
            pb.ListVolumesResponse.SerializeToString,
        ),
        "ControllerListVolumeHealth": grpc.unary_unary_rpc_method_handler(
            servicer.ControllerListVolumeHealth,
            pb.ControllerListVolumeHealthRequest.FromString,
            pb.ControllerListVolumeHealthResponse.SerializeToString,
        ),
        "ControllerGetVolumeHealth": grpc.unary_unary_rpc_method_handler(
            servicer.ControllerGetVolumeHealth,
            pb.ControllerGetVolumeHealthRequest.FromString,
            pb.ControllerGetVolumeHealthResponse.SerializeToString,
        ),
        "GetCapacity": grpc.unary_unary_rpc_method_handler(
            servicer.GetCapacity,
            pb.GetCapacityRequest.FromString,
            pb.GetCapacityResponse.SerializeToString,
        ),
        "ControllerGetCapabilities": grpc.unary_unary_rpc_method_handler(
            servicer.ControllerGetCapabilities,
            pb.ControllerGetCapabilitiesRequest.FromString,
            pb.ControllerGetCapabilitiesResponse.SerializeToString,
        ),
        "CreateSnapshot": grpc.unary_unary_rpc_method_handler(
            servicer.CreateSnapshot,
            pb.CreateSnapshotRequest.FromString,
            pb.CreateSnapshotResponse.SerializeToString,
        ),
        "DeleteSnapshot": grpc.unary_unary_rpc_method_handler(
            servicer.DeleteSnapshot,
            pb.DeleteSnapshotRequest.FromString,
            pb.DeleteSnapshotResponse.SerializeToString,
        ),
        "ListSnapshots": grpc.unary_unary_rpc_method_handler(
            servicer.ListSnapshots,
            pb.ListSnapshotsRequest.FromString,
            pb.ListSnapshotsResponse.SerializeToString,
        ),
        "GetSnapshot": grpc.unary_unary_rpc_method_handler(
            servicer.GetSnapshot,
            pb.GetSnapshotRequest.FromString,
            pb.GetSnapshotResponse.SerializeToString,
        ),
        "ControllerExpandVolume": grpc.unary_unary_rpc_method_handler(
            servicer.ControllerExpandVolume,
            pb.ControllerExpandVolumeRequest.FromString,
            pb.ControllerExpandVolumeResponse.SerializeToString,
        ),
        "ControllerGetVolume": grpc.unary_unary_rpc_method_handler(
            servicer.ControllerGetVolume,
            pb.ControllerGetVolumeRequest.FromString,
            pb.ControllerGetVolumeResponse.SerializeToString,
        ),
        "ControllerModifyVolume": grpc.unary_unary_rpc_method_handler(
            servicer.ControllerModifyVolume,
            pb.ControllerModifyVolumeRequest.FromString,
            pb.ControllerModifyVolumeResponse.SerializeToString,
        ),
    }
    name = "csi.v1.Controller"
    generic = grpc.method_handlers_generic_handler(name, handlers)
    server.add_generic_rpc_handlers((generic,))


class GroupControllerStub:
    def __init__(self, channel):
        self.GroupControllerGetCapabilities = channel.unary_unary(
            "/csi.v1.GroupController/GroupControllerGetCapabilities",
            request_serializer=pb.GroupControllerGetCapabilitiesRequest.SerializeToString,
            response_deserializer=pb.GroupControllerGetCapabilitiesResponse.FromString,
        )
        self.CreateVolumeGroupSnapshot = channel.unary_unary(
            "/csi.v1.GroupController/CreateVolumeGroupSnapshot",
            request_serializer=pb.CreateVolumeGroupSnapshotRequest.SerializeToString,
            response_deserializer=pb.CreateVolumeGroupSnapshotResponse.FromString,
        )
        self.DeleteVolumeGroupSnapshot = channel.unary_unary(
            "/csi.v1.GroupController/DeleteVolumeGroupSnapshot",
            request_serializer=pb.DeleteVolumeGroupSnapshotRequest.SerializeToString,
            response_deserializer=pb.DeleteVolumeGroupSnapshotResponse.FromString,
        )
        self.GetVolumeGroupSnapshot = channel.unary_unary(
            "/csi.v1.GroupController/GetVolumeGroupSnapshot",
            request_serializer=pb.GetVolumeGroupSnapshotRequest.SerializeToString,
            response_deserializer=pb.GetVolumeGroupSnapshotResponse.FromString,
        )


class GroupControllerServicer:
    async def GroupControllerGetCapabilities(self, request, context):
        await _unimplemented(context)

    async def CreateVolumeGroupSnapshot(self, request, context):
        await _unimplemented(context)

    async def DeleteVolumeGroupSnapshot(self, request, context):
        await _unimplemented(context)

    async def GetVolumeGroupSnapshot(self, request, context):
        await _unimplemented(context)


def add_GroupControllerServicer_to_server(servicer, server):
    handlers = {
        "GroupControllerGetCapabilities": grpc.unary_unary_rpc_method_handler(
            servicer.GroupControllerGetCapabilities,
            pb.GroupControllerGetCapabilitiesRequest.FromString,
            pb.GroupControllerGetCapabilitiesResponse.SerializeToString,
        ),
        "CreateVolumeGroupSnapshot": grpc.unary_unary_rpc_method_handler(
            servicer.CreateVolumeGroupSnapshot,
            pb.CreateVolumeGroupSnapshotRequest.FromString,
            pb.CreateVolumeGroupSnapshotResponse.SerializeToString,
        ),
        "DeleteVolumeGroupSnapshot": grpc.unary_unary_rpc_method_handler(
            servicer.DeleteVolumeGroupSnapshot,
            pb.DeleteVolumeGroupSnapshotRequest.FromString,
            pb.DeleteVolumeGroupSnapshotResponse.SerializeToString,
        ),
        "GetVolumeGroupSnapshot": grpc.unary_unary_rpc_method_handler(
            servicer.GetVolumeGroupSnapshot,
            pb.GetVolumeGroupSnapshotRequest.FromString,
            pb.GetVolumeGroupSnapshotResponse.SerializeToString,
        ),
    }
    name = "csi.v1.GroupController"
    generic = grpc.method_handlers_generic_handler(name, handlers)
    server.add_generic_rpc_handlers((generic,))


class SnapshotMetadataStub:
    def __init__(self, channel):
        self.GetMetadataAllocated = channel.unary_stream(
            "/csi.v1.SnapshotMetadata/GetMetadataAllocated",
            request_serializer=pb.GetMetadataAllocatedRequest.SerializeToString,
            response_deserializer=pb.GetMetadataAllocatedResponse.FromString,
        )
        self.GetMetadataDelta = channel.unary_stream(
            "/csi.v1.SnapshotMetadata/GetMetadataDelta",
            request_serializer=pb.GetMetadataDeltaRequest.SerializeToString,
            response_deserializer=pb.GetMetadataDeltaResponse.FromString,
        )


class SnapshotMetadataServicer:
    async def GetMetadataAllocated(self, request, context):
        await _unimplemented(context)

    async def GetMetadataDelta(self, request, context):
        await _unimplemented(context)


def add_SnapshotMetadataServicer_to_server(servicer, server):
    handlers = {
        "GetMetadataAllocated": grpc.unary_stream_rpc_method_handler(
            servicer.GetMetadataAllocated,
            pb.GetMetadataAllocatedRequest.FromString,
            pb.GetMetadataAllocatedResponse.SerializeToString,
        ),
        "GetMetadataDelta": grpc.unary_stream_rpc_method_handler(
            servicer.GetMetadataDelta,
            pb.GetMetadataDeltaRequest.FromString,
            pb.GetMetadataDeltaResponse.SerializeToString,
        ),
    }
    name = "csi.v1.SnapshotMetadata"
    generic = grpc.method_handlers_generic_handler(name, handlers)
    server.add_generic_rpc_handlers((generic,))


class NodeStub:
    def __init__(self, channel):
        self.NodeStageVolume = channel.unary_unary(
            "/csi.v1.Node/NodeStageVolume",
            request_serializer=pb.NodeStageVolumeRequest.SerializeToString,
            response_deserializer=pb.NodeStageVolumeResponse.FromString,
        )
        self.NodeUnstageVolume = channel.unary_unary(
            "/csi.v1.Node/NodeUnstageVolume",
            request_serializer=pb.NodeUnstageVolumeRequest.SerializeToString,
            response_deserializer=pb.NodeUnstageVolumeResponse.FromString,
        )
        self.NodePublishVolume = channel.unary_unary(
            "/csi.v1.Node/NodePublishVolume",
            request_serializer=pb.NodePublishVolumeRequest.SerializeToString,
            response_deserializer=pb.NodePublishVolumeResponse.FromString,
        )
        self.NodeUnpublishVolume = channel.unary_unary(
            "/csi.v1.Node/NodeUnpublishVolume",
            request_serializer=pb.NodeUnpublishVolumeRequest.SerializeToString,
            response_deserializer=pb.NodeUnpublishVolumeResponse.FromString,
        )
        self.NodeGetVolumeStats = channel.unary_unary(
            "/csi.v1.Node/NodeGetVolumeStats",
            request_serializer=pb.NodeGetVolumeStatsRequest.SerializeToString,
            response_deserializer=pb.NodeGetVolumeStatsResponse.FromString,
        )
        self.NodeGetVolumeHealth = channel.unary_unary(
            "/csi.v1.Node/NodeGetVolumeHealth",
            request_serializer=pb.NodeGetVolumeHealthRequest.SerializeToString,
            response_deserializer=pb.NodeGetVolumeHealthResponse.FromString,
        )
        self.NodeGetStorageHealth = channel.unary_unary(
            "/csi.v1.Node/NodeGetStorageHealth",
            request_serializer=pb.NodeGetStorageHealthRequest.SerializeToString,
            response_deserializer=pb.NodeGetStorageHealthResponse.FromString,
        )
        self.NodeExpandVolume = channel.unary_unary(
            "/csi.v1.Node/NodeExpandVolume",
            request_serializer=pb.NodeExpandVolumeRequest.SerializeToString,
            response_deserializer=pb.NodeExpandVolumeResponse.FromString,
        )
        self.NodeGetCapabilities = channel.unary_unary(
            "/csi.v1.Node/NodeGetCapabilities",
            request_serializer=pb.NodeGetCapabilitiesRequest.SerializeToString,
            response_deserializer=pb.NodeGetCapabilitiesResponse.FromString,
        )
        self.NodeGetInfo = channel.unary_unary(
            "/csi.v1.Node/NodeGetInfo",
            request_serializer=pb.NodeGetInfoRequest.SerializeToString,
            response_deserializer=pb.NodeGetInfoResponse.FromString,
        )


class NodeServicer:
    async def NodeStageVolume(self, request, context):
        await _unimplemented(context)

    async def NodeUnstageVolume(self, request, context):
        await _unimplemented(context)

    async def NodePublishVolume(self, request, context):
        await _unimplemented(context)

    async def NodeUnpublishVolume(self, request, context):
        await _unimplemented(context)

    async def NodeGetVolumeStats(self, request, context):
        await _unimplemented(context)

    async def NodeGetVolumeHealth(self, request, context):
        await _unimplemented(context)

    async def NodeGetStorageHealth(self, request, context):
        await _unimplemented(context)

    async def NodeExpandVolume(self, request, context):
        await _unimplemented(context)

    async def NodeGetCapabilities(self, request, context):
        await _unimplemented(context)

    async def NodeGetInfo(self, request, context):
        await _unimplemented(context)


def add_NodeServicer_to_server(servicer, server):
    handlers = {
        "NodeStageVolume": grpc.unary_unary_rpc_method_handler(
            servicer.NodeStageVolume,
            pb.NodeStageVolumeRequest.FromString,
            pb.NodeStageVolumeResponse.SerializeToString,
        ),
        "NodeUnstageVolume": grpc.unary_unary_rpc_method_handler(
            servicer.NodeUnstageVolume,
            pb.NodeUnstageVolumeRequest.FromString,
            pb.NodeUnstageVolumeResponse.SerializeToString,
        ),
        "NodePublishVolume": grpc.unary_unary_rpc_method_handler(
            servicer.NodePublishVolume,
            pb.NodePublishVolumeRequest.FromString,
            pb.NodePublishVolumeResponse.SerializeToString,
        ),
        "NodeUnpublishVolume": grpc.unary_unary_rpc_method_handler(
            servicer.NodeUnpublishVolume,
            pb.NodeUnpublishVolumeRequest.FromString,
            pb.NodeUnpublishVolumeResponse.SerializeToString,
        ),
        "NodeGetVolumeStats": grpc.unary_unary_rpc_method_handler(
            servicer.NodeGetVolumeStats,
            pb.NodeGetVolumeStatsRequest.FromString,
            pb.NodeGetVolumeStatsResponse.SerializeToString,
        ),
        "NodeGetVolumeHealth": grpc.unary_unary_rpc_method_handler(
            servicer.NodeGetVolumeHealth,
            pb.NodeGetVolumeHealthRequest.FromString,
            pb.NodeGetVolumeHealthResponse.SerializeToString,
        ),
        "NodeGetStorageHealth": grpc.unary_unary_rpc_method_handler(
            servicer.NodeGetStorageHealth,
            pb.NodeGetStorageHealthRequest.FromString,
            pb.NodeGetStorageHealthResponse.SerializeToString,
        ),
        "NodeExpandVolume": grpc.unary_unary_rpc_method_handler(
            servicer.NodeExpandVolume,
            pb.NodeExpandVolumeRequest.FromString,
            pb.NodeExpandVolumeResponse.SerializeToString,
        ),
        "NodeGetCapabilities": grpc.unary_unary_rpc_method_handler(
            servicer.NodeGetCapabilities,
            pb.NodeGetCapabilitiesRequest.FromString,
            pb.NodeGetCapabilitiesResponse.SerializeToString,
        ),
        "NodeGetInfo": grpc.unary_unary_rpc_method_handler(
            servicer.NodeGetInfo,
            pb.NodeGetInfoRequest.FromString,
            pb.NodeGetInfoResponse.SerializeToString,
        ),
    }
    name = "csi.v1.Node"
    generic = grpc.method_handlers_generic_handler(name, handlers)
    server.add_generic_rpc_handlers((generic,))
