"""The way to the API server."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest
from aiohttp import web

from driver.core.errors import Invalid
from driver.router.kubernetes import client
from driver.router.kubernetes.api import ApiError


def test_without_a_pod_or_a_kubeconfig_there_is_no_way(tmp_path: Path) -> None:
    async def live(kubeconfig: Path | None) -> None:
        async with client.connect(kubeconfig):
            pass

    for none in (None, tmp_path / "missing"):
        with pytest.raises(Invalid, match="configuration of Kubernetes"):
            asyncio.run(live(none))
    with pytest.raises(Invalid, match="a namespace is required"):
        client.own_namespace()


GARBAGE = [b"", b"<html>", b"null", b"[]", b"{}", b'{"items": []}', b'"x"', b"\xff"]


@pytest.mark.parametrize("body", GARBAGE)
def test_what_a_proxy_answers_is_no_empty_list(body: bytes, tmp_path: Path) -> None:
    async def answer(_: web.Request) -> web.Response:
        return web.Response(body=body + b"\n")

    async def story() -> None:
        application = web.Application()
        application.router.add_route("*", "/{path:.*}", answer)
        runner = web.AppRunner(application)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        address = runner.addresses[0]
        try:
            async with client.connect(
                _kubeconfig(tmp_path, f"http://127.0.0.1:{address[1]}")
            ) as api:
                with pytest.raises(ApiError, match="/api/v1/nodes"):
                    await api.get("/api/v1/nodes")
                if body:
                    with pytest.raises(ApiError, match="/api/v1/nodes"):
                        async with api.watch("/api/v1/nodes", "1") as events:
                            [_ async for _ in events]
        finally:
            await runner.cleanup()

    asyncio.run(story())


def _kubeconfig(folder: Path, server: str) -> Path:
    path = folder / "kubeconfig"
    settings = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "c",
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
        "clusters": [{"name": "c", "cluster": {"server": server}}],
        "users": [{"name": "u", "user": {"token": "t"}}],
    }
    path.write_text(json.dumps(settings))
    return path
