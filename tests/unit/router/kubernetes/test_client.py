"""The way to the API server."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from driver.core.errors import Invalid
from driver.router.kubernetes import client


def test_without_a_pod_or_a_kubeconfig_there_is_no_way(tmp_path: Path) -> None:
    async def live(kubeconfig: Path | None) -> None:
        async with client.connect(kubeconfig):
            pass

    for none in (None, tmp_path / "missing"):
        with pytest.raises(Invalid, match="configuration of Kubernetes"):
            asyncio.run(live(none))
    with pytest.raises(Invalid, match="a namespace is required"):
        client.own_namespace()
