"""The Identity service, over a real socket."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import grpc

from csi_proto import csi_pb2 as csi
from driver.core.model import GIB
from tests.unit.services.served import ServedClient, code_of, play

ROOM = 16 + 256  # workers, and places in the queue
OK = grpc.StatusCode.OK


def test_the_plugin_says_who_it_is_and_what_it_has() -> None:
    async def scenario(client: ServedClient) -> None:
        info = await client.identity.GetPluginInfo(csi.GetPluginInfoRequest(), timeout=10)
        assert (info.name, info.vendor_version) == ("cellar.csi.internal", "1.2.3")
        request = csi.GetPluginCapabilitiesRequest()
        answer = await client.identity.GetPluginCapabilities(request, timeout=10)
        service = csi.PluginCapability.Service.Type
        named = {service.Name(capability.service.type) for capability in answer.capabilities[:-1]}
        assert named == {
            "CONTROLLER_SERVICE",
            "VOLUME_ACCESSIBILITY_CONSTRAINTS",
            "GROUP_CONTROLLER_SERVICE",
            "SNAPSHOT_METADATA_SERVICE",
            "SNAPSHOT_ACCESSIBILITY_CONSTRAINTS",
        }
        expansion = csi.PluginCapability.VolumeExpansion
        assert answer.capabilities[-1].volume_expansion.type == expansion.ONLINE

    play(scenario)


def test_probe_and_capabilities_answer_while_all_workers_are_busy() -> None:
    async def scenario(client: ServedClient) -> None:
        let = threading.Event()
        find = client.pool.backend.find

        def stuck(image_id: Any) -> Any:
            assert let.wait(30)
            return find(image_id)

        client.pool.backend.find = stuck  # type: ignore[method-assign]
        small = csi.CapacityRange(required_bytes=GIB >> 6)
        calls = [
            asyncio.ensure_future(code_of(client.create(f"v{number}", capacity_range=small)))
            for number in range(ROOM + 8)
        ]
        refused, taken = set[asyncio.Task[Any]](), set(calls)
        async with asyncio.timeout(20):
            while len(taken) > ROOM:
                done, taken = await asyncio.wait(taken, return_when=asyncio.FIRST_COMPLETED)
                refused |= done
        assert {(await call)[0] for call in refused} == {grpc.StatusCode.UNAVAILABLE}
        name = f"v{next(number for number, call in enumerate(calls) if call in taken)}"
        assert (await code_of(client.create(name)))[0] is grpc.StatusCode.ABORTED
        for call in (
            client.identity.Probe(csi.ProbeRequest(), timeout=5),
            client.identity.GetPluginInfo(csi.GetPluginInfoRequest(), timeout=5),
            client.controller.ControllerGetCapabilities(
                csi.ControllerGetCapabilitiesRequest(), timeout=5
            ),
            client.node.NodeGetInfo(csi.NodeGetInfoRequest(), timeout=5),
            client.node.NodeGetCapabilities(csi.NodeGetCapabilitiesRequest(), timeout=5),
        ):
            assert await code_of(call) == (OK, "")
        let.set()
        assert {await call for call in taken} == {(OK, "")}

    play(scenario)
