"""The output of the commands: sizes and ids for people, rows as a table or as JSON."""

from __future__ import annotations

import json
import sys
from collections.abc import Collection, Iterable, Sequence
from enum import StrEnum
from typing import Any, Final, Literal

from rich.console import Console
from rich.table import Table
from rich.text import Text

UNITS: Final = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")
MAX_LINE: Final = 1000  # characters of a table's line: a terminal folds it, a program does not
PLAIN_WIDTH: Final = 100  # characters; of text that goes to a file or a pipe


class Output(StrEnum):
    """The format of a command's output."""

    TABLE = "table"
    JSON = "json"


def human(size: int) -> str:
    """Return a size in bytes for people: 1536 as '1.5 KiB'; a whole number without '.0'."""
    value, unit = float(size), 0
    while value >= 1023.95 and unit < len(UNITS) - 1:
        value, unit = value / 1024, unit + 1
    return f"{value:.1f}".removesuffix(".0") + f" {UNITS[unit]}"


def short(image_id: str) -> str:
    """Return the pool and enough of the key of an id to tell ids apart by eye."""
    pool, dash, key = image_id.partition("-")
    return f"{pool}{dash}{key[:8]}…" if dash else image_id


def console(*, stderr: bool = False, width: int | None = None) -> Console:
    """Return a console with colours and folding on a terminal, and plain text elsewhere.

    Characters that cannot be encoded are replaced.
    """
    stream: Any = sys.stderr if stderr else sys.stdout
    if hasattr(stream, "reconfigure"):
        stream.reconfigure(errors="replace")
    return Console(
        file=stream,
        highlight=False,
        markup=False,
        emoji=False,
        width=width or (None if stream.isatty() else PLAIN_WIDTH),
    )


def as_json(value: object) -> None:
    """Print the value as JSON."""
    print(json.dumps(value, indent=2, ensure_ascii=False))  # noqa: T201 - for programs, unstyled


def as_table(
    columns: Sequence[str], rows: Iterable[Sequence[str]], *, right: Collection[str]
) -> None:
    """Print the rows, one line each, however long. The columns in `right` are numbers."""
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for column in columns:
        justify: Literal["left", "right"] = "right" if column in right else "left"
        table.add_column(column.upper(), justify=justify, no_wrap=True)
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    console(width=MAX_LINE).print(table, width=MAX_LINE, crop=False, soft_wrap=True)
