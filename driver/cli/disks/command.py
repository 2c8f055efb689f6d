"""`cellar disks`: the block devices of this machine, and which of them may become a pool."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from driver.cli.connection import Format, fail
from driver.cli.output import Column, Output, Row, human, print_rows

if TYPE_CHECKING:
    from driver.disks.examination import Examination


def command(output: Format = Output.TABLE) -> None:
    """List the block devices of this machine, what lies on them, and which may become a pool.

    Nothing is written. Of disks that nobody uses only the places of known signatures and backups
    are read: `cellar pools create` reads all of a disk before it writes to it.
    """
    from driver.disks.examination import examine_all  # noqa: PLC0415 - pyudev, not for --help

    try:
        examinations = examine_all()
    except (OSError, ImportError) as error:
        fail(f"disks cannot be listed: {error}")
    print_rows(output, DISKS, map(_row, examinations), name="path")


def _row(examination: Examination) -> Row:
    device = examination.device
    return {
        "name": device.name,
        "path": str(device.path),
        "by_id": [str(link) for link in device.links],
        "kind": str(device.kind),
        "size_bytes": device.size,
        "model": device.model,
        "serial": device.serial,
        "transport": device.transport,
        "rotational": device.rotational,
        "removable": device.removable,
        "read_only": device.read_only,
        "partitions": list(device.partitions),
        "holders": list(device.holders),
        "content": examination.content,
        "may_become_pool": examination.may_become_pool,
        "reason": examination.refusal,
    }


DISKS: Final = (
    Column("name", lambda row: row["path"].removeprefix("/dev/")),
    Column("size", lambda row: human(row["size_bytes"]), number=True),
    Column("model", lambda row: row["model"] or "-"),
    Column("serial", lambda row: row["serial"] or "-", wide=True),
    Column("transport", lambda row: row["transport"] or "-"),
    Column("medium", lambda row: "rotating" if row["rotational"] else "solid", wide=True),
    Column("kind", lambda row: row["kind"], wide=True),
    Column("pool", lambda row: "yes" if row["may_become_pool"] else "no"),
    Column("content", lambda row: row["content"]),
    Column("why not", lambda row: row["reason"] or "-"),
    Column("path", lambda row: (row["by_id"] or [row["path"]])[0], wide=True),
)
