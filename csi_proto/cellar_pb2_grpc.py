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


class NodeServicer:
    async def ListPools(self, request, context):
        await _unimplemented(context)

    async def Describe(self, request, context):
        await _unimplemented(context)

    async def Watch(self, request, context):
        await _unimplemented(context)

    async def Reserve(self, request, context):
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
    }
    name = "cellar.v1.Node"
    generic = grpc.method_handlers_generic_handler(name, handlers)
    server.add_generic_rpc_handlers((generic,))
