"""`cellar pools grow`: grows a pool to its disks, which have become larger."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from driver.cli.connection import Endpoint, connected, fail
from driver.cli.output import console, human
from driver.core.errors import CellarError

Name = Annotated[str, typer.Argument(metavar="NAME", help="The pool's name.")]


def command(name: Name, endpoint: Endpoint = "") -> None:
    """Grow a pool to the size of its disk, while the pool is in use: its filesystem, volume group
    or thin pool.

    Run this command where the driver runs: in Kubernetes in the driver's container.
    """
    with connected(endpoint) as client:
        pools = {pool.name: pool for pool in client.pools()}
    if not (pool := pools.get(name)):
        fail(f"no pool {name!r}; there are {', '.join(pools)}")
    if pool.type not in {"loopfile", "lvm"}:
        fail(f"{name} is of type {pool.type}, which does not grow")
    if pool.away:
        fail(f"{name} is unavailable: {pool.away}")
    from driver.disks.lvm_growth import grow_group  # noqa: PLC0415 - not for --help
    from driver.linux.disks.pool_growth import grow_filesystem  # noqa: PLC0415 - not for --help

    try:
        if pool.type == "lvm":
            before, after = grow_group(pool.where, pool.id)
        else:
            before, after = grow_filesystem(Path(pool.where))
    except (CellarError, OSError) as error:
        fail(f"{name}: {error}")
    if before == after:
        console().print(f"{name} fills its disk already: {human(after)}", soft_wrap=True)
    else:
        console().print(f"{name} has grown from {human(before)} to {human(after)}", soft_wrap=True)
