"""Writes measured figures into docs/performance.md; what is between its marks nobody writes by hand."""

from __future__ import annotations

from collections.abc import Sequence

from tests.bench.scale_rows import Row
from tools.record import between, commit, machine, today
from tools.shell import ROOT

PAGE = ROOT / "docs" / "performance.md"
SCALE = ("<!-- scale -->\n", "<!-- end of scale -->")


def write_scale(counts: str, rows: Sequence[Row]) -> None:
    """Replace the figures of `make bench-scale`; `counts`: what the full driver has."""
    lines = [
        f"{counts.capitalize()}; measured on {today()} at {commit()}, {machine()}.\n",
        "| what | empty | full | target | |",
        "|---|---:|---:|---|---|",
    ]
    lines += [
        f"| {row.name} | {row.empty:.1f} {row.unit} | {row.full:.1f} {row.unit} | {row.target} |"
        f" {'' if row.kept else 'missed'} |"
        for row in rows
    ]
    text = PAGE.read_text(encoding="utf-8")
    PAGE.write_text(between(text, SCALE, "\n".join(lines) + "\n"), encoding="utf-8")
