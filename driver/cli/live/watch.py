"""`--watch`: reads rows periodically, and prints those that changed."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain
from typing import Annotated, Final

import typer

from driver.cli.output import Column, Output, Row, format_rows, has_colours, print_rows

SLEEP: Final = 2.0  # seconds between two questions
_SHARE: Final = 5.0  # a driver is asked for at most a fifth of the time

Watch = Annotated[
    bool, typer.Option("--watch", "-w", help="Then print each row that changes, until Ctrl-C.")
]


def print_or_watch(  # noqa: PLR0913 - what is printed, and how
    output: Output,
    columns: Sequence[Column],
    ask: Callable[[], Iterable[Row]],
    *,
    watch: bool,
    name: str = "id",
    deleted: Row | None = None,
) -> None:
    """Print the rows that `ask` returns; with `watch` then also each row that changes, without end.

    `name`: the key that identifies a row. `deleted`: the values with which a row is printed that
    does not exist any more; JSON has `"deleted": true` in addition. With `watch` JSON has one row
    in each line.
    """
    if not watch:
        print_rows(output, columns, ask(), name=name)
        return
    first = [*ask()]
    rows = chain(first, changes(first, ask, name=name, deleted=deleted or {}))
    lines: Iterable[str]
    if output is Output.JSON:
        lines = (json.dumps(row, ensure_ascii=False) for row in rows)
    else:
        colours = has_colours(sys.stdout)
        lines = format_rows(output, columns, rows, name=name, colours=colours, measured=len(first))
    for line in lines:
        sys.stdout.write(f"{line}\n")
        sys.stdout.flush()


def changes(
    rows: Iterable[Row],
    ask: Callable[[], Iterable[Row]],
    *,
    name: str,
    deleted: Row,
    sleep: Callable[[float], None] = time.sleep,
) -> Iterator[Row]:
    """Yield each row of `ask()` that differs from `rows`, or from the previous result of `ask()`,
    without end.

    `name`: the key that identifies a row. `deleted`: the values for a row that does not exist any
    more.
    """
    known, took = {row[name]: row for row in rows}, 0.0
    while True:
        sleep(max(SLEEP, took * _SHARE))
        start = time.monotonic()
        current = {row[name]: row for row in ask()}
        took = time.monotonic() - start
        yield from (row for key, row in current.items() if known.get(key) != row)
        yield from (
            row | deleted | {"deleted": True} for key, row in known.items() if key not in current
        )
        known = current
