"""The gRPC services of csi_proto/pluginregistration.proto, for grpc.aio. Made by `make proto`; do not edit."""

import grpc

from csi_proto import pluginregistration_pb2 as pb


async def _unimplemented(context):
    await context.abort(grpc.StatusCode.UNIMPLEMENTED, "not implemented by this driver")


class RegistrationStub:
    def __init__(self, channel):
        self.GetInfo = channel.unary_unary(
            "/pluginregistration.Registration/GetInfo",
            request_serializer=pb.InfoRequest.SerializeToString,
            response_deserializer=pb.PluginInfo.FromString,
        )
        self.NotifyRegistrationStatus = channel.unary_unary(
            "/pluginregistration.Registration/NotifyRegistrationStatus",
            request_serializer=pb.RegistrationStatus.SerializeToString,
            response_deserializer=pb.RegistrationStatusResponse.FromString,
        )


class RegistrationServicer:
    async def GetInfo(self, request, context):
        await _unimplemented(context)

    async def NotifyRegistrationStatus(self, request, context):
        await _unimplemented(context)


def add_RegistrationServicer_to_server(servicer, server):
    handlers = {
        "GetInfo": grpc.unary_unary_rpc_method_handler(
            servicer.GetInfo,
            pb.InfoRequest.FromString,
            pb.PluginInfo.SerializeToString,
        ),
        "NotifyRegistrationStatus": grpc.unary_unary_rpc_method_handler(
            servicer.NotifyRegistrationStatus,
            pb.RegistrationStatus.FromString,
            pb.RegistrationStatusResponse.SerializeToString,
        ),
    }
    name = "pluginregistration.Registration"
    generic = grpc.method_handlers_generic_handler(name, handlers)
    server.add_generic_rpc_handlers((generic,))
