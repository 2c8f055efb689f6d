"""The gRPC services of csi_proto/inspect.proto, for grpc.aio. Made by `make proto`; do not edit."""

import grpc

from csi_proto import inspect_pb2 as pb


async def _unimplemented(context):
    await context.abort(grpc.StatusCode.UNIMPLEMENTED, "not implemented by this driver")


class CallsStub:
    def __init__(self, channel):
        self.FollowCalls = channel.unary_stream(
            "/cellar.v1.Calls/FollowCalls",
            request_serializer=pb.FollowCallsRequest.SerializeToString,
            response_deserializer=pb.Call.FromString,
        )


class CallsServicer:
    async def FollowCalls(self, request, context):
        await _unimplemented(context)


def add_CallsServicer_to_server(servicer, server):
    handlers = {
        "FollowCalls": grpc.unary_stream_rpc_method_handler(
            servicer.FollowCalls,
            pb.FollowCallsRequest.FromString,
            pb.Call.SerializeToString,
        ),
    }
    name = "cellar.v1.Calls"
    generic = grpc.method_handlers_generic_handler(name, handlers)
    server.add_generic_rpc_handlers((generic,))


class InspectionStub:
    def __init__(self, channel):
        self.InspectVolume = channel.unary_unary(
            "/cellar.v1.Inspection/InspectVolume",
            request_serializer=pb.InspectVolumeRequest.SerializeToString,
            response_deserializer=pb.InspectVolumeResponse.FromString,
        )
        self.ListNodes = channel.unary_unary(
            "/cellar.v1.Inspection/ListNodes",
            request_serializer=pb.ListNodesRequest.SerializeToString,
            response_deserializer=pb.ListNodesResponse.FromString,
        )
        self.ListIo = channel.unary_unary(
            "/cellar.v1.Inspection/ListIo",
            request_serializer=pb.ListIoRequest.SerializeToString,
            response_deserializer=pb.ListIoResponse.FromString,
        )
        self.ListOrphans = channel.unary_unary(
            "/cellar.v1.Inspection/ListOrphans",
            request_serializer=pb.ListOrphansRequest.SerializeToString,
            response_deserializer=pb.ListOrphansResponse.FromString,
        )
        self.ListCopies = channel.unary_unary(
            "/cellar.v1.Inspection/ListCopies",
            request_serializer=pb.ListCopiesRequest.SerializeToString,
            response_deserializer=pb.ListCopiesResponse.FromString,
        )
        self.ListConditions = channel.unary_unary(
            "/cellar.v1.Inspection/ListConditions",
            request_serializer=pb.ListConditionsRequest.SerializeToString,
            response_deserializer=pb.ListConditionsResponse.FromString,
        )


class InspectionServicer:
    async def InspectVolume(self, request, context):
        await _unimplemented(context)

    async def ListNodes(self, request, context):
        await _unimplemented(context)

    async def ListIo(self, request, context):
        await _unimplemented(context)

    async def ListOrphans(self, request, context):
        await _unimplemented(context)

    async def ListCopies(self, request, context):
        await _unimplemented(context)

    async def ListConditions(self, request, context):
        await _unimplemented(context)


def add_InspectionServicer_to_server(servicer, server):
    handlers = {
        "InspectVolume": grpc.unary_unary_rpc_method_handler(
            servicer.InspectVolume,
            pb.InspectVolumeRequest.FromString,
            pb.InspectVolumeResponse.SerializeToString,
        ),
        "ListNodes": grpc.unary_unary_rpc_method_handler(
            servicer.ListNodes,
            pb.ListNodesRequest.FromString,
            pb.ListNodesResponse.SerializeToString,
        ),
        "ListIo": grpc.unary_unary_rpc_method_handler(
            servicer.ListIo,
            pb.ListIoRequest.FromString,
            pb.ListIoResponse.SerializeToString,
        ),
        "ListOrphans": grpc.unary_unary_rpc_method_handler(
            servicer.ListOrphans,
            pb.ListOrphansRequest.FromString,
            pb.ListOrphansResponse.SerializeToString,
        ),
        "ListCopies": grpc.unary_unary_rpc_method_handler(
            servicer.ListCopies,
            pb.ListCopiesRequest.FromString,
            pb.ListCopiesResponse.SerializeToString,
        ),
        "ListConditions": grpc.unary_unary_rpc_method_handler(
            servicer.ListConditions,
            pb.ListConditionsRequest.FromString,
            pb.ListConditionsResponse.SerializeToString,
        ),
    }
    name = "cellar.v1.Inspection"
    generic = grpc.method_handlers_generic_handler(name, handlers)
    server.add_generic_rpc_handlers((generic,))
