"""The gRPC services of csi_proto/cellar.proto, for grpc.aio. Made by `make proto`; do not edit."""

import grpc

from csi_proto import cellar_pb2 as pb


async def _unimplemented(context):
    await context.abort(grpc.StatusCode.UNIMPLEMENTED, "not implemented by this driver")


class NodeStub:
    def __init__(self, channel):
        self.ListPools = channel.unary_unary(
            "/cellar.v1.Node/ListPools",
            request_serializer=pb.ListPoolsRequest.SerializeToString,
            response_deserializer=pb.ListPoolsResponse.FromString,
        )
        self.Describe = channel.unary_unary(
            "/cellar.v1.Node/Describe",
            request_serializer=pb.DescribeRequest.SerializeToString,
            response_deserializer=pb.DescribeResponse.FromString,
        )
        self.Watch = channel.unary_stream(
            "/cellar.v1.Node/Watch",
            request_serializer=pb.WatchRequest.SerializeToString,
            response_deserializer=pb.Report.FromString,
        )
        self.Reserve = channel.unary_stream(
            "/cellar.v1.Node/Reserve",
            request_serializer=pb.ReserveRequest.SerializeToString,
            response_deserializer=pb.Reserved.FromString,
        )
        self.TakePart = channel.unary_stream(
            "/cellar.v1.Node/TakePart",
            request_serializer=pb.TakePartRequest.SerializeToString,
            response_deserializer=pb.PartState.FromString,
        )
        self.Advance = channel.unary_unary(
            "/cellar.v1.Node/Advance",
            request_serializer=pb.AdvanceRequest.SerializeToString,
            response_deserializer=pb.AdvanceResponse.FromString,
        )
        self.FindPart = channel.unary_unary(
            "/cellar.v1.Node/FindPart",
            request_serializer=pb.FindPartRequest.SerializeToString,
            response_deserializer=pb.FindPartResponse.FromString,
        )
        self.DeletePart = channel.unary_unary(
            "/cellar.v1.Node/DeletePart",
            request_serializer=pb.DeletePartRequest.SerializeToString,
            response_deserializer=pb.DeletePartResponse.FromString,
        )
        self.SetHold = channel.unary_unary(
            "/cellar.v1.Node/SetHold",
            request_serializer=pb.SetHoldRequest.SerializeToString,
            response_deserializer=pb.SetHoldResponse.FromString,
        )
        self.SetNames = channel.unary_unary(
            "/cellar.v1.Node/SetNames",
            request_serializer=pb.SetNamesRequest.SerializeToString,
            response_deserializer=pb.SetNamesResponse.FromString,
        )


class NodeServicer:
    async def ListPools(self, request, context):
        await _unimplemented(context)

    async def Describe(self, request, context):
        await _unimplemented(context)

    async def Watch(self, request, context):
        await _unimplemented(context)

    async def Reserve(self, request, context):
        await _unimplemented(context)

    async def TakePart(self, request, context):
        await _unimplemented(context)

    async def Advance(self, request, context):
        await _unimplemented(context)

    async def FindPart(self, request, context):
        await _unimplemented(context)

    async def DeletePart(self, request, context):
        await _unimplemented(context)

    async def SetHold(self, request, context):
        await _unimplemented(context)

    async def SetNames(self, request, context):
        await _unimplemented(context)


def add_NodeServicer_to_server(servicer, server):
    handlers = {
        "ListPools": grpc.unary_unary_rpc_method_handler(
            servicer.ListPools,
            pb.ListPoolsRequest.FromString,
            pb.ListPoolsResponse.SerializeToString,
        ),
        "Describe": grpc.unary_unary_rpc_method_handler(
            servicer.Describe,
            pb.DescribeRequest.FromString,
            pb.DescribeResponse.SerializeToString,
        ),
        "Watch": grpc.unary_stream_rpc_method_handler(
            servicer.Watch,
            pb.WatchRequest.FromString,
            pb.Report.SerializeToString,
        ),
        "Reserve": grpc.unary_stream_rpc_method_handler(
            servicer.Reserve,
            pb.ReserveRequest.FromString,
            pb.Reserved.SerializeToString,
        ),
        "TakePart": grpc.unary_stream_rpc_method_handler(
            servicer.TakePart,
            pb.TakePartRequest.FromString,
            pb.PartState.SerializeToString,
        ),
        "Advance": grpc.unary_unary_rpc_method_handler(
            servicer.Advance,
            pb.AdvanceRequest.FromString,
            pb.AdvanceResponse.SerializeToString,
        ),
        "FindPart": grpc.unary_unary_rpc_method_handler(
            servicer.FindPart,
            pb.FindPartRequest.FromString,
            pb.FindPartResponse.SerializeToString,
        ),
        "DeletePart": grpc.unary_unary_rpc_method_handler(
            servicer.DeletePart,
            pb.DeletePartRequest.FromString,
            pb.DeletePartResponse.SerializeToString,
        ),
        "SetHold": grpc.unary_unary_rpc_method_handler(
            servicer.SetHold,
            pb.SetHoldRequest.FromString,
            pb.SetHoldResponse.SerializeToString,
        ),
        "SetNames": grpc.unary_unary_rpc_method_handler(
            servicer.SetNames,
            pb.SetNamesRequest.FromString,
            pb.SetNamesResponse.SerializeToString,
        ),
    }
    name = "cellar.v1.Node"
    generic = grpc.method_handlers_generic_handler(name, handlers)
    server.add_generic_rpc_handlers((generic,))
