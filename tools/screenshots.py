"""Takes the screenshots of `cellar page` in docs: `python -m tools.screenshots`.

They show a simulated driver with made-up claims, in Debian's Chromium. That its pools lie on disks,
a copy and an alert are made up too: a simulation has none.
"""

from __future__ import annotations

import asyncio
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any

import grpc
from aiohttp import web

from csi_proto import cellar_pb2, inspect_pb2
from csi_proto import csi_pb2 as csi
from driver.cli.client import Client
from driver.cli.page.server import make_app
from tests.support.browser import browser
from tests.support.driver_process import DriverProcess
from tools.shell import ROOT

META = "csi.storage.k8s.io"
MODE = csi.VolumeCapability.AccessMode
CAPABILITY = csi.VolumeCapability(
    mount=csi.VolumeCapability.MountVolume(fs_type="ext4"),
    access_mode=MODE(mode=MODE.SINGLE_NODE_WRITER),
)
NEW = "4e799d2dbe8f-" + "b" * 32  # the id of a volume that is not there yet
APPS = ("orders", "postgres", "kafka", "billing", "search", "sessions")


def main() -> None:
    """Write docs/page-light.png and docs/page-dark.png."""
    with tempfile.TemporaryDirectory(prefix="shots-") as name:
        pools = ["fast=memory:100GiB", "bulk=memory:400GiB"]
        with DriverProcess(Path(name), pools, node_id="worker-3") as driver:
            _fill(driver)
            asyncio.run(_shoot(driver.endpoint))


class _Shown(Client):
    """A client that adds to a simulated driver what only a real one has."""

    def pools(self) -> list[cellar_pb2.Pool]:
        pools = super().pools()
        for pool, occupied in zip(pools, (0.41, 0.09), strict=True):
            pool.MergeFrom(
                cellar_pb2.Pool(
                    type="loopfile", where=f"/srv/{pool.name}", occupied=occupied, direct_io=True
                )
            )
        return pools

    def call(self, method: Any, request: Any) -> Any:
        match request:
            case inspect_pb2.ListCopiesRequest():
                [snapshots, *_] = self.snapshots()
                copy = inspect_pb2.Copy(
                    node="worker-3",
                    claim="shop/orders-trial",
                    text=f"making volume {NEW} from {snapshots[0].snapshot_id}",
                    total_bytes=40 << 30,
                    copied_bytes=17 << 30,
                    seconds=83,
                )
                return inspect_pb2.ListCopiesResponse(copies=[copy])
            case inspect_pb2.ListConditionsRequest():
                [entries, *_] = self.volumes()
                volume_id = entries[2].volume.volume_id
                condition = inspect_pb2.Condition(
                    node="worker-3",
                    alert="CellarVolumeNearlyFull",
                    severity="warning",
                    volume_id=volume_id,
                    text="41 MiB of 986 MiB are left",
                )
                return inspect_pb2.ListConditionsResponse(conditions=[condition])
        return super().call(method, request)


def _fill(driver: DriverProcess) -> None:
    """Create volumes, snapshots and what was restored of them, and let a call fail."""
    for number in range(24):
        app = APPS[number % len(APPS)]
        volume = _create(driver, f"pvc-{number:04}", f"{app}-{number // len(APPS)}", number)
        if number < 4:
            request = csi.CreateSnapshotRequest(
                name=f"snapshot-{number}", source_volume_id=volume.volume_id
            )
            snapshot = driver.controller.CreateSnapshot(request).snapshot
            source = csi.VolumeContentSource.SnapshotSource(snapshot_id=snapshot.snapshot_id)
            content = csi.VolumeContentSource(snapshot=source)
            if number < 2:
                _create(driver, f"pvc-r{number}", f"{app}-restored", number, content)
    with suppress(grpc.RpcError):
        too_large = csi.CapacityRange(required_bytes=1 << 50)
        driver.controller.ControllerExpandVolume(
            csi.ControllerExpandVolumeRequest(
                volume_id=volume.volume_id, capacity_range=too_large, volume_capability=CAPABILITY
            )
        )


def _create(
    driver: DriverProcess,
    name: str,
    claim: str,
    number: int,
    source: csi.VolumeContentSource | None = None,
) -> csi.Volume:
    parameters = {
        "pool": "bulk" if number % 3 == 2 else "fast",
        f"{META}/pvc/name": claim,
        f"{META}/pvc/namespace": "bank" if number % 4 == 3 else "shop",
        f"{META}/pv/name": name,
    }
    request = csi.CreateVolumeRequest(
        name=name,
        volume_capabilities=[CAPABILITY],
        parameters=parameters,
        capacity_range=csi.CapacityRange(required_bytes=(1 + number % 3) << 30),
        volume_content_source=source,
    )
    return driver.controller.CreateVolume(request).volume


async def _shoot(endpoint: str) -> None:
    runner = web.AppRunner(make_app(lambda: _Shown(endpoint), "127.0.0.1"), shutdown_timeout=1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        async with browser() as page:
            await page.open(f"http://127.0.0.1:{runner.addresses[0][1]}/")
            await page.until("document.querySelectorAll('#volume-rows tr').length > 20")
            await page.until("document.querySelectorAll('#alert-list .badge').length > 0")
            await page.emulate(prefers_color_scheme="light")
            await page.shoot(ROOT / "docs/page-light.png", 1280, 900)
            await page.emulate(prefers_color_scheme="dark", prefers_reduced_motion="reduce")
            await page.run("document.querySelector('#copies').scrollIntoView()")
            await page.click("#call-list summary")
            await page.shoot(ROOT / "docs/page-dark.png", 1280, 900)
    finally:
        await runner.cleanup()


if __name__ == "__main__":
    main()
