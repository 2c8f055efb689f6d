"""`cellar demo`: a real driver, and one volume's whole life, each step the CSI call that it is."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Annotated, Final

import typer

from driver.cli.client import Client
from driver.cli.demo import environment
from driver.cli.demo.calls import Broken, Calls
from driver.cli.demo.environment import Driver, Ground
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
        FsType | None, typer.Option(help="The volume's filesystem; xfs if it can be had.")
    ] = None,
    simulate: Annotated[
        bool, typer.Option("--simulate", help="Use the simulator, as is done without root.")
    ] = False,
) -> None:
    """Take a real volume through its whole life, call by call; exit status 1 if a step failed."""
    start = time.monotonic()
    with environment.work_directory() as work:
        tell = Narrator(console(), str(work))
        try:
            with environment.environment(work, simulated=simulate or os.geteuid() != 0) as ground:
                _play(work, ground, tell, fs or _best(ground))
        except (CellarError, OSError) as error:
            tell.broken(f"the ground of the demo could not be made or removed: {error}")
    gone = environment.is_gone(work)
    tell.proved(f"{work} is gone, with its pool", holds=gone)
    if not tell.good:
        where = "" if gone else f" What is left is in {work}."
        tell.ends(f"Something was not as it should be: see above.{where}")
        raise typer.Exit(1)
    tell.ends(f"All of it in {time.monotonic() - start:.1f} s.")


def _best(ground: Ground) -> FsType:
    """ext4 comes last: not every root may grow a mounted one, see `checks.capabilities`."""
    known = (FsType.XFS, FsType.BTRFS, FsType.EXT4)
    made = (fs for fs in known if not (ground.pool and missing(filesystem.PROGRAMS[fs])))
    return next(made, FsType.EXT4)


def _play(work: Path, ground: Ground, tell: Narrator, fs: FsType) -> None:
    socket = work / "csi.sock"
    options = ["--endpoint", f"unix://{socket}", "--node-id", NODE, "--pool", ground.spec]
    options += ["--state-dir", f"{work}/state"]
    driver = Driver(options, work / "driver.log")
    try:
        ready = driver.wait_listening(socket)
        _introduce(tell, work, ground, driver, ready)
        with Client(f"unix://{socket}") as client:
            sights = Observations(ground.pool)
            Scenario(Calls(client, tell, sights, fs), tell, sights, work).play()
    except (Broken, CellarError) as error:
        tell.broken(f"the demo ends here: {error}", driver.tail())
    finally:
        status = driver.stop()
    _count(work, ground, tell, status)


def _introduce(tell: Narrator, work: Path, ground: Ground, driver: Driver, ready: float) -> None:
    kernel = os.uname()
    tell.title(
        "One volume's whole life: each step is the CSI call that Kubernetes would make",
        [
            ("machine", f"{kernel.sysname} {kernel.release}"),
            ("place", f"{work}, from here on called …"),
            ("pool", ground.text),
            ("driver", f"{' '.join(driver.words).replace(str(work), '…')}"),
            ("", f"process {driver.pid}, ready {ready:.0f} ms after its start"),
            ("signs", "→ call   ← answer   · what can be seen   $ what a pod does   ✔ proved"),
        ],
    )
    if not ground.pool:
        tell.note(
            "SIMULATED: driver and calls are real, the disk, its devices and its mounts are not,"
            " so nobody can write or read. As root the demo uses a real disk image."
        )


def _count(work: Path, ground: Ground, tell: Narrator, status: int) -> None:
    tell.chapter(
        "Nothing is left", "The driver was stopped by SIGTERM; the machine is looked over."
    )
    tell.proved("the driver ended with exit status 0", holds=status == 0)
    left = environment.leftovers(work, ground)
    tell.proved("no mount and no loop device of any volume", holds=not left.kernel)
    if ground.pool:
        tell.proved("no file in the pool but its marker", holds=not left.files)
    for name in (*left.kernel, *left.files):
        tell.seen(name, "is left")
