"""The output of the commands: rows as a table, as JSON, as YAML or as names.

Exit statuses of all commands: 0 done; 1 the driver refused, did not answer, or found a problem; 2
the command line or the settings are wrong; 130 interrupted.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import IntEnum, StrEnum
from itertools import chain, islice
from typing import TYPE_CHECKING, Any, Final, TypeAlias
from unicodedata import combining, east_asian_width

from driver.cli import pager

if TYPE_CHECKING:
    from rich.console import Console

Row: TypeAlias = dict[str, Any]

UNITS: Final = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")
MEASURED: Final = 500  # rows of a table that are read before the first is shown
PLAIN_WIDTH: Final = 100  # characters; of text that goes to a file or a pipe


class ExitStatus(IntEnum):
    """The exit statuses of the commands."""

    DONE = 0
    FAILED = 1
    WRONG_USE = 2
    INTERRUPTED = 130


class Output(StrEnum):
    """The format of a command's output."""

    TABLE = "table"
    WIDE = "wide"
    JSON = "json"
    YAML = "yaml"
    NAME = "name"

    @property
    def is_table(self) -> bool:
        """Return whether the output is a table, for people."""
        return self in {Output.TABLE, Output.WIDE}


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table. `cell`: returns its text for a row.

    `number`: align the column right. `wide`: print the column only with `-o wide`. `alarm`: returns
    whether the cell is printed in red.
    """

    title: str
    cell: Callable[[Row], str]
    number: bool = False
    wide: bool = False
    alarm: Callable[[Row], bool] | None = None


def human(size: int) -> str:
    """Return a size in bytes for people: 1536 as '1.5 KiB'; a whole number without '.0'."""
    value, unit = float(size), 0
    while value >= 1023.95 and unit < len(UNITS) - 1:
        value, unit = value / 1024, unit + 1
    return f"{value:.1f}".removesuffix(".0") + f" {UNITS[unit]}"


def short(image_id: str) -> str:
    """Return a volume or snapshot id shortened for people: the pool's id, a dash, and the first 8
    digits of the hash that follows. Another text is returned unchanged.
    """
    pool, dash, key = image_id.partition("-")
    return f"{pool}{dash}{key[:8]}…" if dash else image_id


def printable(text: str) -> str:
    """Return the text with each character replaced that could control a terminal."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else "\ufffd" for char in text)


def console(*, stderr: bool = False, width: int | None = None) -> Console:
    """Return a console with colours and folding on a terminal, and with plain text elsewhere.

    `width`: columns; None: those of the terminal. Characters that cannot be encoded are replaced.
    """
    from rich.console import Console  # noqa: PLC0415 - not for a table: it takes a while

    stream = _stream(stderr=stderr)
    return Console(
        file=stream,
        highlight=False,
        markup=False,
        emoji=False,
        width=width or (None if stream.isatty() else PLAIN_WIDTH),
    )


def print_rows(
    output: Output, columns: Sequence[Column], rows: Iterable[Row], *, name: str = "id"
) -> None:
    """Print the rows as they arrive; on a terminal through a pager if they need more than the
    screen.

    JSON and YAML contain all values of a row, a table those of `columns`, and the format "name"
    only the value of the key `name`.
    """
    stream = _stream()
    lines = format_rows(output, columns, rows, name=name, colours=has_colours(stream))
    pager.write(stream, lines)
    stream.flush()  # before anything is written to the other stream


def format_rows(  # noqa: PLR0913 - what is printed, and how
    output: Output,
    columns: Sequence[Column],
    rows: Iterable[Row],
    *,
    name: str = "id",
    colours: bool = False,
    measured: int = MEASURED,
) -> Iterator[str]:
    """Yield the lines of the rows in the format `output`: JSON and YAML contain all values of a
    row, a table those of `columns`, and the format "name" only the value of the key `name`.

    `measured`: how many rows of a table are read before the first is printed, to find the columns'
    widths.
    """
    match output:
        case Output.JSON:
            return _json_lines(rows)
        case Output.YAML:
            return _yaml_lines(rows)
        case Output.NAME:
            return (str(row[name]) for row in rows)
    visible = [column for column in columns if output is Output.WIDE or not column.wide]
    return _table_lines(visible, rows, measured, colours=colours)


def has_colours(stream: Any) -> bool:
    """Return whether the stream is a terminal with colours, and NO_COLOR is not set."""
    return bool(
        stream.isatty() and "NO_COLOR" not in os.environ and os.environ.get("TERM") != "dumb"
    )


def _json_lines(rows: Iterable[Row]) -> Iterator[str]:
    """Yield a JSON array, formatted as json.dumps does with an indent of 2."""
    pending: str | None = None
    for row in rows:
        yield "[" if pending is None else f"{pending},"
        pending = "  " + json.dumps(row, indent=2, ensure_ascii=False).replace("\n", "\n  ")
    if pending is None:
        yield "[]"
    else:
        yield pending
        yield "]"


def _yaml_lines(rows: Iterable[Row]) -> Iterator[str]:
    import yaml  # noqa: PLC0415 - for this format only

    dumper = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
    empty = True
    for row in rows:
        empty = False
        text = yaml.dump([row], Dumper=dumper, sort_keys=False, allow_unicode=True, width=1 << 20)
        yield text.rstrip("\n")
    if empty:
        yield "[]"


def _table_lines(
    columns: Sequence[Column], rows: Iterable[Row], measured: int, *, colours: bool
) -> Iterator[str]:
    """Yield a line for each row, however long. Columns are as wide as the first rows need."""
    rows = iter(rows)
    head = [column.title.upper() for column in columns]
    first = list(islice(rows, measured))
    cells = [_cells(columns, row) for row in first]
    widths = [max(map(_width, column)) for column in zip(head, *cells, strict=True)]
    line = _line(columns, head, widths)
    yield f"\x1b[1m{line}\x1b[0m" if colours else line
    for row in chain(first, rows):
        yield _line(columns, _cells(columns, row), widths, row if colours else None)


def _cells(columns: Sequence[Column], row: Row) -> list[str]:
    """Return the texts of a row."""
    return [printable(column.cell(row)) for column in columns]


def _line(
    columns: Sequence[Column],
    cells: Sequence[str],
    widths: Sequence[int],
    coloured: Row | None = None,
) -> str:
    """Return the cells padded to the widths of their columns, two spaces apart."""
    padded = []
    for column, cell, width in zip(columns, cells, widths, strict=True):
        padding = " " * (width - _width(cell))
        if coloured is not None and column.alarm and column.alarm(coloured):
            cell = f"\x1b[31m{cell}\x1b[0m"  # noqa: PLW2901 - the same text, in red
        padded.append(padding + cell if column.number else cell + padding)
    return "  ".join(padded).rstrip()


def _width(text: str) -> int:
    """Return how many columns of a terminal the text takes."""
    if text.isascii():
        return len(text)
    return sum(
        0 if combining(char) else 2 if east_asian_width(char) in {"W", "F"} else 1 for char in text
    )


def _stream(*, stderr: bool = False) -> Any:
    """Return the stream to write to; characters that it cannot encode are replaced."""
    stream: Any = sys.stderr if stderr else sys.stdout
    if hasattr(stream, "reconfigure"):
        stream.reconfigure(errors="replace")
    return stream
