"""The output of the commands: sizes and ids for people, rows as a table or as JSON."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Collection, Iterable, Sequence
from enum import StrEnum
from itertools import chain, islice
from typing import TYPE_CHECKING, Any, Final
from unicodedata import combining, east_asian_width

if TYPE_CHECKING:
    from rich.console import Console

UNITS: Final = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")
_MEASURED: Final = 500  # rows of a table that are read before the first is shown
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
    from rich.console import Console  # noqa: PLC0415 - not for a table: it takes a while

    stream = _stream(stderr=stderr)
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
    """Print the rows as they come, one line each, however long. The columns in `right` are numbers.

    The columns are as wide as the first 500 rows need.
    """
    stream, rows = _stream(), iter(rows)
    head = [column.upper() for column in columns]
    first = list(islice(rows, _MEASURED))
    widths = [max(map(_width, cells)) for cells in zip(head, *first, strict=True)]
    is_right = [column in right for column in columns]
    stream.write(_bold(stream, _line(head, widths, is_right)) + "\n")
    for row in chain(first, rows):
        stream.write(_line(row, widths, is_right) + "\n")
    stream.flush()  # before anything is written to the other stream


def _line(cells: Sequence[str], widths: Sequence[int], right: Sequence[bool]) -> str:
    """Return the cells padded to the widths of their columns, two spaces apart."""
    padded = []
    for cell, width, is_right in zip(cells, widths, right, strict=True):
        padding = " " * (width - _width(cell))
        padded.append(padding + cell if is_right else cell + padding)
    return "  ".join(padded).rstrip()


def _width(text: str) -> int:
    """Return how many columns of a terminal the text takes."""
    if text.isascii():
        return len(text)
    return sum(
        0 if combining(char) else 2 if east_asian_width(char) in {"W", "F"} else 1 for char in text
    )


def _bold(stream: Any, text: str) -> str:
    """Return the text in bold, if the stream is a terminal that shows it so."""
    plain = not stream.isatty() or "NO_COLOR" in os.environ or os.environ.get("TERM") == "dumb"
    return text if plain else f"\x1b[1m{text}\x1b[0m"


def _stream(*, stderr: bool = False) -> Any:
    """Return the stream to write to; characters that it cannot encode are replaced."""
    stream: Any = sys.stderr if stderr else sys.stdout
    if hasattr(stream, "reconfigure"):
        stream.reconfigure(errors="replace")
    return stream
