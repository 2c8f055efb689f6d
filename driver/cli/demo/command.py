"""`cellar demo`: takes one volume through all operations, and shows each CSI call."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Annotated, Final

import typer

from driver.cli.client import Client
from driver.cli.demo import environment
from driver.cli.demo.calls import Calls, DemoFailed
from driver.cli.demo.environment import DemoPool, DriverProcess
from driver.cli.demo.narrator import Narrator
from driver.cli.demo.observations import Observations
from driver.cli.demo.scenario import Scenario
from driver.cli.output import console
from driver.core.errors import CellarError
from driver.core.model import FsType
from driver.linux.command import missing
from driver.linux.formats import filesystem

NODE: Final = "demo-node"


def command(
    *,
    fs: Annotated[
        FsType | None,
        typer.Option(help="The volume's filesystem; by default xfs, or what is installed."),
    ] = None,
    simulate: Annotated[
        bool, typer.Option("--simulate", help="Use a simulated pool, as without root.")
    ] = False,
) -> None:
    """Take one volume through all operations, and show each CSI call.

    Exit status 1 if a call or a check fails.
    """
    start = time.monotonic()
    with environment.work_directory() as work:
        narrator = Narrator(console(), str(work))
        try:
            with environment.demo_pool(work, simulated=simulate or os.geteuid() != 0) as pool:
                _play(work, pool, narrator, fs or _default_filesystem(pool))
        except (CellarError, OSError) as error:
            narrator.failure(f"the pool of the demo could not be created or removed: {error}")
    removed = environment.is_gone(work)
    narrator.check(f"{work} was removed, with its pool", passed=removed)
    if not narrator.passed:
        leftovers = "" if removed else f" What is left is in {work}."
        narrator.conclusion(f"The demo failed: see above.{leftovers}")
        raise typer.Exit(1)
    narrator.conclusion(f"Done in {time.monotonic() - start:.1f} s.")


def _default_filesystem(pool: DemoPool) -> FsType:
    """Return the first filesystem whose programs are installed. ext4 comes last: not every root may
    grow a mounted one, see `checks.capabilities`.
    """
    known = (FsType.XFS, FsType.BTRFS, FsType.EXT4)
    possible = (fs for fs in known if not (pool.directory and missing(filesystem.PROGRAMS[fs])))
    return next(possible, FsType.EXT4)


def _play(work: Path, pool: DemoPool, narrator: Narrator, fs: FsType) -> None:
    socket = work / "csi.sock"
    options = ["--endpoint", f"unix://{socket}", "--node-id", NODE, "--pool", pool.spec]
    options += ["--state-dir", f"{work}/state"]
    driver = DriverProcess(options, work / "driver.log")
    try:
        ready = driver.wait_listening(socket)
        _introduce(narrator, work, pool, driver, ready)
        with Client(f"unix://{socket}") as client:
            observations = Observations(pool.directory)
            Scenario(Calls(client, narrator, observations, fs), narrator, observations, work).play()
    except (DemoFailed, CellarError) as error:
        narrator.failure(f"the demo ends here: {error}", driver.tail())
    finally:
        status = driver.stop()
    _check_leftovers(work, pool, narrator, status)


def _introduce(
    narrator: Narrator, work: Path, pool: DemoPool, driver: DriverProcess, ready: float
) -> None:
    kernel = os.uname()
    narrator.title(
        "All operations on one volume: each step is the CSI call that Kubernetes would make",
        [
            ("machine", f"{kernel.sysname} {kernel.release}"),
            ("directory", f"{work}, abbreviated to … below"),
            ("pool", pool.description),
            ("driver", f"{' '.join(driver.words).replace(str(work), '…')}"),
            ("", f"process {driver.pid}, ready {ready:.0f} ms after its start"),
            ("symbols", "→ call   ← response   · observed   $ done by a pod   ✔ checked"),
        ],
    )
    if not pool.directory:
        narrator.note(
            "SIMULATED: the driver and the calls are real; the disk, its devices and its mounts are"
            " not, so no data is written or read. As root the demo uses a real disk image."
        )


def _check_leftovers(work: Path, pool: DemoPool, narrator: Narrator, status: int) -> None:
    narrator.chapter(
        "Check for leftovers", "The driver was stopped by SIGTERM. Nothing of it should be left."
    )
    narrator.check("the driver ended with exit status 0", passed=status == 0)
    left = environment.leftovers(work, pool)
    narrator.check("no mount and no loop device of any volume", passed=not left.kernel)
    if pool.directory:
        narrator.check("no file in the pool but its marker", passed=not left.files)
    for name in (*left.kernel, *left.files):
        narrator.observation(name, "was left behind")
