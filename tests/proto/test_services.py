"""The service classes we write ourselves work with grpc.aio as gRPC's own do."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar

import grpc
from google.protobuf.wrappers_pb2 import BoolValue

from csi_proto import csi_pb2 as csi
from csi_proto import csi_pb2_grpc as rpc

Result = TypeVar("Result")

SERVICES = ["Identity", "Controller", "GroupController", "SnapshotMetadata", "Node"]


class Probing(rpc.IdentityServicer):
    async def Probe(  # noqa: N802 - the spec names it
        self,
        request: csi.ProbeRequest,
        context: "grpc.aio.ServicerContext[csi.ProbeRequest, csi.ProbeResponse]",
    ) -> csi.ProbeResponse:
        return csi.ProbeResponse(ready=BoolValue(value=True))


class Streaming(rpc.SnapshotMetadataServicer):
    async def GetMetadataDelta(  # noqa: N802 - the spec names it
        self,
        request: csi.GetMetadataDeltaRequest,
        context: "grpc.aio.ServicerContext[Any, Any]",
    ) -> AsyncIterator[csi.GetMetadataDeltaResponse]:
        for size in (1, 2):
            yield csi.GetMetadataDeltaResponse(volume_capacity_bytes=size)


def test_what_a_servicer_does_not_define_is_unimplemented(tmp_path: Path) -> None:
    async def answers(channel: grpc.aio.Channel) -> set[tuple[grpc.StatusCode, str | None]]:
        return {
            await _refusal(channel, f"/csi.v1.{service.name}/{method.name}")
            for service in csi.DESCRIPTOR.services_by_name.values()
            for method in service.methods
        }

    ours = "not implemented by this driver"  # gRPC says it in other words
    assert _served(tmp_path, answers) == {(grpc.StatusCode.UNIMPLEMENTED, ours)}


def test_a_servicer_answers_through_its_stub(tmp_path: Path) -> None:
    async def probe(channel: grpc.aio.Channel) -> bool:
        response = await rpc.IdentityStub(channel).Probe(csi.ProbeRequest(), timeout=5)
        return response.ready.value

    assert _served(tmp_path, probe, Identity=Probing)


def test_a_stream_comes_through_its_stub(tmp_path: Path) -> None:
    async def sizes(channel: grpc.aio.Channel) -> list[int]:
        stub = rpc.SnapshotMetadataStub(channel)
        stream = stub.GetMetadataDelta(csi.GetMetadataDeltaRequest(), timeout=5)
        return [message.volume_capacity_bytes async for message in stream]

    assert _served(tmp_path, sizes, SnapshotMetadata=Streaming) == [1, 2]


def test_the_stubs_name_every_method_of_the_proto() -> None:
    channel = grpc.insecure_channel("unix:///nowhere")
    with channel:
        for service in csi.DESCRIPTOR.services_by_name.values():
            stub = getattr(rpc, f"{service.name}Stub")(channel)
            assert set(vars(stub)) == {method.name for method in service.methods}


async def _refusal(channel: grpc.aio.Channel, path: str) -> tuple[grpc.StatusCode, str | None]:
    method: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(path)
    try:
        await method(b"", timeout=5)
    except grpc.aio.AioRpcError as error:
        return error.code(), error.details()
    return grpc.StatusCode.OK, None


def _served(
    folder: Path, ask: Callable[[grpc.aio.Channel], Awaitable[Result]], **servicers: type
) -> Result:
    """Ask a server that has every service, those in `servicers` or else with nothing defined."""

    async def session() -> Result:
        server = grpc.aio.server()
        address = f"unix://{folder}/csi.sock"
        server.add_insecure_port(address)
        for name in SERVICES:
            servicer = servicers.get(name, getattr(rpc, f"{name}Servicer"))()
            getattr(rpc, f"add_{name}Servicer_to_server")(servicer, server)
        await server.start()
        try:
            async with grpc.aio.insecure_channel(address) as channel:
                return await ask(channel)
        finally:
            await server.stop(None)

    return asyncio.run(session())
