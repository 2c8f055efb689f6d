"""Writes measured figures and plots into docs; what is between marks nobody writes by hand."""

from __future__ import annotations

import os
from collections.abc import Sequence

from tests.bench.measures import Figure
from tests.bench.plot import Curves, svg
from tests.bench.scale_rows import Row
from tools.record import between, commit, machine, today
from tools.shell import ROOT

DOCS = ROOT / "docs"
PAGE = DOCS / "performance.md"


def write_rows(part: str, counts: str, rows: Sequence[Row]) -> None:
    """Replace the table of a part that compares an empty driver with a full one.

    `counts`: what the full driver has.
    """
    lines = [_measured(counts.capitalize()), "| what | empty | full | target | |"]
    lines += ["|---|---:|---:|---|---|"]
    lines += [
        f"| {row.name} | {row.empty:.1f} {row.unit} | {row.full:.1f} {row.unit} | {row.target} |"
        f" {'' if row.kept else 'missed'} |"
        for row in rows
    ]
    _write(part, lines)


def write_figures(part: str, figures: Sequence[Figure]) -> None:
    """Replace the table of a part."""
    lines = [_measured(), "| what | | target | |", "|---|---:|---|---|"]
    lines += [
        f"| {figure.name} | {figure.value:,.1f} {figure.unit} | {_target(figure)} | {figure.note} |"
        for figure in figures
    ]
    _write(part, lines)


def write_lines(part: str, lines: Sequence[str]) -> None:
    """Replace a part by these lines of Markdown."""
    _write(part, [_measured(), *lines])


def write_plot(part: str, title: str, across: str, curves: Curves) -> None:
    """Replace the picture docs/performance-PART.svg."""
    (DOCS / f"performance-{part}.svg").write_text(svg(title, across, curves), encoding="utf-8")


def _measured(counts: str = "") -> str:
    start = f"{counts}; measured" if counts else "Measured"
    load = os.getloadavg()[2]
    return f"{start} on {today()} at {commit()}, {machine()}; load average {load:.1f}.\n"


def _target(figure: Figure) -> str:
    return figure.target.replace("<=", "≤").replace(">=", "≥")


def _write(part: str, lines: Sequence[str]) -> None:
    marks = f"<!-- {part} -->\n", f"<!-- end of {part} -->"
    text = PAGE.read_text(encoding="utf-8")
    assert marks[0] in text, f"docs/performance.md has no part {part}"
    PAGE.write_text(between(text, marks, "\n".join(lines) + "\n"), encoding="utf-8")
