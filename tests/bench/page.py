"""What `cellar page` costs with many volumes, in a real browser: `make bench-page`."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import psutil

from csi_proto import csi_pb2 as csi
from driver.core.model import MIB
from tests.bench import performance
from tests.bench.measures import Figure
from tests.support.browser import Page, browser
from tests.support.driver_process import DriverProcess
from tools.shell import say

VOLUMES: Final = 10_000
THREADS: Final = 8
META: Final = "csi.storage.k8s.io/pvc"
_MODE: Final = csi.VolumeCapability.AccessMode
_CAPABILITY: Final = csi.VolumeCapability(
    mount=csi.VolumeCapability.MountVolume(fs_type="ext4"),
    access_mode=_MODE(mode=_MODE.SINGLE_NODE_WRITER),
)
_ROWS: Final = "document.querySelectorAll('#volume-rows tr').length"
_COUNT: Final = "document.querySelector('#volume-count')?.innerText"
# When something is there for the first time, in milliseconds since the navigation began.
_NOTE: Final = """\
new MutationObserver(() => {
  window.seen = window.seen || {};
  const note = (name, there) => { if (there && !(name in seen)) seen[name] = performance.now(); };
  note("rows", document.querySelectorAll("#volume-rows tr").length === 100);
  note("all", (document.querySelector("#volume-count") || {}).textContent === "COUNT");
}).observe(document, {childList: true, subtree: true, characterData: true});
"""


def main() -> None:
    """Measure; print the figures, and write them into docs/performance.md with --write."""
    with (
        tempfile.TemporaryDirectory(prefix="page-") as folder,
        DriverProcess(Path(folder), ["sim=memory:100TiB"]) as driver,
    ):
        say(f"creating {VOLUMES:,} volumes")
        with ThreadPoolExecutor(THREADS) as threads:
            list(threads.map(lambda number: _create(driver, number), range(VOLUMES)))
        with _page(driver.endpoint) as (process, address):
            figures = asyncio.run(_collect(driver, process, address))
    for figure in figures:
        say(f"{figure.name}: {figure.value:,.1f} {figure.unit} {figure.target} {figure.note}")
    if "--write" in sys.argv:
        performance.write_figures("page", figures)


def _create(driver: DriverProcess, number: int) -> None:
    parameters = {f"{META}/name": f"data-{number}", f"{META}/namespace": f"team-{number % 50}"}
    request = csi.CreateVolumeRequest(
        name=f"pvc-{number:05}",
        volume_capabilities=[_CAPABILITY],
        parameters=parameters,
        capacity_range=csi.CapacityRange(required_bytes=1 << 30),
    )
    driver.controller.CreateVolume(request)


@contextmanager
def _page(endpoint: str) -> Iterator[tuple[psutil.Process, str]]:
    """Run `cellar page`; give its process and its address."""
    words = [sys.executable, "-u", "-m", "driver", "page", "--endpoint", endpoint]
    words += ["--listen", "127.0.0.1:0"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout
            yield psutil.Process(process.pid), process.stdout.readline().split()[0]
        finally:
            process.terminate()


async def _collect(driver: DriverProcess, process: psutil.Process, address: str) -> list[Figure]:
    return [figure async for figure in _measured(driver, process, address)]


async def _measured(
    driver: DriverProcess, process: psutil.Process, address: str
) -> AsyncIterator[Figure]:
    async with browser() as page:
        await page.open(address)
        await page.until(f"{_COUNT} === '{VOLUMES:,}'")  # the driver was asked, the files are known
        script = _NOTE.replace("COUNT", f"{VOLUMES:,}")
        await page.send("Page.addScriptToEvaluateOnNewDocument", source=script)
        await page.send("Page.navigate", url=address)
        await page.until("'seen' in window && 'all' in seen")
        paint = "performance.getEntriesByName('first-contentful-paint')[0].startTime"
        yield Figure("first paint", await page.run(paint), target="<= 1,000 ms")
        yield Figure("100 rows are there", await page.run("seen.rows"), target="<= 1,000 ms")
        yield Figure("all volumes are counted", await page.run("seen.all"), "ms")
        yield Figure("a search is answered", await _search(page), "ms")
        memory = _renderer_bytes(page.browser) / MIB
        yield Figure(
            "memory (PSS) of the page's process in the browser", memory, "MiB", target="<= 200 MiB"
        )
        start = time.monotonic()
        await asyncio.to_thread(_create, driver, VOLUMES)
        await page.until(f"{_COUNT}?.endsWith('{VOLUMES + 1:,}')")
        yield Figure("a new volume is shown after", time.monotonic() - start, "s")
        yield Figure("memory (PSS) of `cellar page`", _pss(process) / MIB, "MiB")


async def _search(page: Page) -> float:
    """Return the milliseconds from a search for one claim to its row."""
    start = time.monotonic()
    await page.type("#search", "team-7/data-9957")
    await page.until(f"{_ROWS} === 1")
    return 1000 * (time.monotonic() - start)


def _renderer_bytes(pid: int) -> int:
    """Return the memory of the largest process of the browser that renders a page."""
    children = psutil.Process(pid).children(recursive=True)
    return max(_pss(child) for child in children if "--type=renderer" in child.cmdline())


def _pss(process: psutil.Process) -> int:
    return int(process.memory_full_info().pss)


if __name__ == "__main__":
    main()
