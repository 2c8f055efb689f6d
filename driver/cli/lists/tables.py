"""`cellar pools`, `volumes` and `snapshots`: prints the lists of a running driver."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Annotated

import typer

from driver.cli.connection import Endpoint, Format, connected, fail
from driver.cli.disks.create import create_pool
from driver.cli.disks.grow import command as grow_pool
from driver.cli.lists.columns import POOLS, SNAPSHOTS, VOLUMES
from driver.cli.lists.rows import orphan_ids, pool_rows, snapshot_rows, volume_rows
from driver.cli.lists.selection import (
    Namespace,
    OnlyOrphans,
    PoolName,
    Selection,
    Sort,
    Unhealthy,
)
from driver.cli.live.watch import Watch, print_or_watch
from driver.cli.output import Output, Row, console
from driver.cli.pool_options import ConfigOption, PoolOption, StateDirOption, load_settings
from driver.core.errors import CellarError

Name = Annotated[
    str, typer.Argument(metavar="NAME", help="The pool's name, as in --pool or the settings file.")
]


def volumes(  # noqa: PLR0913 - one for each option
    *,
    endpoint: Endpoint = "",
    output: Format = Output.TABLE,
    pool: PoolName = "",
    namespace: Namespace = "",
    unhealthy: Unhealthy = False,
    orphans: OnlyOrphans = False,
    sort: Sort = None,
    watch: Watch = False,
) -> None:
    """List the volumes of a running driver."""
    selection = Selection(pool=pool, namespace=namespace, unhealthy=unhealthy, sort=sort)
    gone = {"abnormal": True, "condition": "deleted"}
    with connected(endpoint) as client:

        def ask() -> Iterable[Row]:
            ids = orphan_ids(client) if orphans else None
            return replace(selection, ids=ids).apply(volume_rows(client))

        print_or_watch(
            output,
            VOLUMES,
            ask,
            watch=watch,
            deleted=gone,
        )


def snapshots(
    *,
    endpoint: Endpoint = "",
    output: Format = Output.TABLE,
    pool: PoolName = "",
    namespace: Namespace = "",
    watch: Watch = False,
) -> None:
    """List the snapshots of a running driver."""
    selection = Selection(pool=pool, namespace=namespace)
    with connected(endpoint) as client:
        print_or_watch(
            output, SNAPSHOTS, lambda: selection.apply(snapshot_rows(client)), watch=watch
        )


pools = typer.Typer(
    help="List the pools of a running driver; `create` makes one of disks, `init` marks one, `grow`"
    " grows one to its disk."
)
pools.command("create")(create_pool)
pools.command("grow")(grow_pool)


@pools.callback(invoke_without_command=True)
def pools_by_default(
    context: typer.Context,
    *,
    endpoint: Endpoint = "",
    output: Format = Output.TABLE,
    watch: Watch = False,
) -> None:
    """List the pools, if no subcommand is given."""
    if context.invoked_subcommand is None:
        list_pools(endpoint=endpoint, output=output, watch=watch)


@pools.command("list")
def list_pools(
    *, endpoint: Endpoint = "", output: Format = Output.TABLE, watch: Watch = False
) -> None:
    """List the pools of a running driver."""
    rows: list[Row] = []

    def ask() -> list[Row]:
        rows[:] = pool_rows(client)
        return rows.copy()

    with connected(endpoint) as client:
        print_or_watch(output, POOLS, ask, watch=watch, name="name")
    if output.is_table:
        for row in rows:
            if row["away"]:
                problem = f"{row['name']} is unavailable: {row['away']}"
                console(stderr=True).print(problem, style="red", soft_wrap=True)


@pools.command("init")
def init_pool(
    name: Name,
    pool: PoolOption = None,
    config: ConfigOption = None,
    state_dir: StateDirOption = None,
) -> None:
    """Mark the location of a configured pool as a pool of this driver."""
    from driver.cli.initialise import initialise  # noqa: PLC0415 - the backends, for init only

    try:
        location, pool_id = initialise(load_settings(pool, config, state_dir), name)
    except CellarError as error:
        fail(str(error))
    console().print(f"{location} is pool {name} now, with the id {pool_id}", soft_wrap=True)
