"""Runs what it is told, and writes to docs/record.md what came of it: `python -m tools.record`.

With names of tiers only those run. A row says when it was run, at which commit, what was counted
and how long it took; rows of tiers that do not run stay as they are. No figure is written by hand.
"""

from __future__ import annotations

import json
import os
import platform
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple

from tools import e2e_parts
from tools.programs import PATH
from tools.shell import CACHE, ROOT, VENV, say
from tools.steps import spent

RECORD: Final = ROOT / "docs/record.md"
LOGS: Final = CACHE / "logs/record"
TIERS: Final[dict[str, list[str]]] = {
    "check": ["make", "check"],
    "test": ["make", "test"],
    "test-cluster": ["make", "test-cluster"],
    "test-lvm": ["make", "test-lvm"],
    "torture": ["make", "torture", "ARGS=--seconds 600"],
    "test-page": ["make", "test-page"],
    "test-chart": ["make", "test-chart"],
    "test-alerts": ["make", "test-alerts"],
    "e2e": ["make", "e2e"],
    "e2e-suite": ["make", "e2e-suite"],
    "newcomer": ["make", "newcomer"],
}
BENCH: Final = "bench"
PROGRAMS: Final = {
    "mkfs.xfs": ["mkfs.xfs", "-V"],
    "mkfs.ext4": ["mkfs.ext4", "-V"],
    "mkfs.btrfs": ["mkfs.btrfs", "--version"],
}
# The closing lines of pytest ("3 passed, 1 skipped in 2.00s"), of Ginkgo, and of our own programs.
CLOSING: Final = (
    re.compile(
        r"(\d+ (?:passed|failed|skipped|deselected|errors?|xfailed)\b(?:, )?)+(?= in [\d.]+s)"
    ),
    re.compile(r"(?<=\d\.\d{3} seconds\n)?(?:Passed|Ran) \d+ of \d+ Specs.*"),
    re.compile(r"(?<=torture: )\d+ passed, \d+ failed"),
)
HANDED_ON: Final = frozenset({"ARGS", "MAKEFLAGS", "MAKELEVEL", "MAKEOVERRIDES", "MFLAGS"})
MARKS: Final = ("<!-- rows -->\n", "<!-- end of rows -->\n")
FIGURES: Final = ("<!-- figures -->\n", "<!-- end of figures -->\n")


class Row(NamedTuple):
    """One run of a tier. `counts` are the closing lines of its programs, in order."""

    tier: str
    date: str
    commit: str
    result: str
    counts: str
    duration: str

    def line(self) -> str:
        return f"| {' | '.join(self)} |"


def main() -> int:
    """Run the tiers of the command line, one after the other; 1 if one of them failed."""
    chosen = sys.argv[1:] or [*TIERS, BENCH]
    if unknown := sorted({*chosen} - {*TIERS, BENCH}):
        sys.exit(f"no such tier: {', '.join(unknown)}; there are {', '.join([*TIERS, BENCH])}")
    failed = 0
    for tier in chosen:
        if tier == BENCH:
            write(figures=bench())
        else:
            row = run(tier)
            failed += row.result != "passed"
            write(row=row)
    return int(failed > 0)


def run(tier: str) -> Row:
    """Run one tier with its output in a log; what its programs counted."""
    say(f"{tier}: {' '.join(TIERS[tier])}")
    LOGS.mkdir(parents=True, exist_ok=True)
    log, began = LOGS / f"{tier}.log", time.monotonic()
    with log.open("wb") as output:
        status = subprocess.run(
            TIERS[tier], cwd=ROOT, env=environment(), check=False, stdout=output, stderr=output
        ).returncode
    text = log.read_text(encoding="utf-8", errors="replace")
    result = "passed" if status == 0 else f"failed ({status})"
    row = Row(tier, today(), commit(), result, counted(text), spent(began))
    say(row.line())
    return row


def environment() -> dict[str, str]:
    """Return this environment without what make hands on: the names of tiers are not pytest's."""
    return {key: value for key, value in os.environ.items() if key not in HANDED_ON}


def counted(text: str) -> str:
    """Return the closing lines in `text`, in the order in which they stand there."""
    plain = re.sub(r"\x1b\[[0-9;]*m", "", text)
    matches = [(match.start(), match[0]) for form in CLOSING for match in form.finditer(plain)]
    return "; ".join(words for _, words in sorted(matches)) or "nothing"


def bench() -> list[Mapping[str, Any]]:
    """Run the benchmark; its figures."""
    say("bench")
    words = [str(VENV / "bin/python"), "-m", "tests.bench", "-o", "json"]
    done = subprocess.run(words, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True)
    figures: list[Mapping[str, Any]] = json.loads(done.stdout)
    return figures


def write(*, row: Row | None = None, figures: Iterable[Mapping[str, Any]] | None = None) -> None:
    """Put a row, or all figures, into docs/record.md, and the machine as it is now."""
    text = RECORD.read_text(encoding="utf-8")
    if row:
        text = between(text, MARKS, with_row(inside(text, MARKS), row))
    if figures is not None:
        text = between(text, FIGURES, table(figures))
    RECORD.write_text(text, encoding="utf-8")


def with_row(rows: str, row: Row) -> str:
    """Replace the row of the same tier, or add it, in the order of `TIERS`."""
    lines = {line.split("|")[1].strip(): line for line in rows.splitlines()[2:]}
    lines[row.tier] = row.line()
    head = Row("tier", "date", "commit", "result", "counts", "duration").line()
    ordered = [lines[tier] for tier in TIERS if tier in lines]
    return "\n".join([head, "|---|---|---|---|---|---|", *ordered]) + "\n"


def table(figures: Iterable[Mapping[str, Any]]) -> str:
    """The figures of the benchmark, with where and when they were measured."""
    head = f"Measured on {today()} at {commit()}, {machine()}.\n"
    rows = ["| what | cellar | floor | ratio | target |", "|---|---|---|---|---|"]
    rows += [
        f"| {one['name']} | {one['value']:.1f} {one['unit']} | {number(one['floor'])} |"
        f" {number(one['floor'] and one['value'] / one['floor'])} | {one['target']} |"
        for one in figures
    ]
    return "\n".join([head, *rows]) + "\n"


def number(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"


def inside(text: str, marks: tuple[str, str]) -> str:
    return text.partition(marks[0])[2].partition(marks[1])[0]


def between(text: str, marks: tuple[str, str], new: str) -> str:
    before, _, rest = text.partition(marks[0])
    return f"{before}{marks[0]}{new}{marks[1]}{rest.partition(marks[1])[2]}"


def machine() -> str:
    """Kernel, processors, memory, Python and the tools that make filesystems."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / (1 << 30)
    facts = [
        f"Linux {platform.release()}",
        f"{os.cpu_count()} processors",
        f"{memory:.0f} GiB",
        f"Python {platform.python_version()}",
        f"Kubernetes {e2e_parts.KUBERNETES[e2e_parts.NEWEST]}",
    ]
    return ", ".join(
        facts + [one for name, words in PROGRAMS.items() if (one := said(name, words))]
    )


def said(name: str, words: list[str]) -> str:
    if not (path := shutil.which(name, path=PATH)):
        return ""
    done = subprocess.run([path, *words[1:]], capture_output=True, text=True, check=False)
    matches = re.search(r"\d+\.\d+[\d.]*", done.stdout + done.stderr)
    return f"{name} {matches[0]}" if matches else ""


def commit() -> str:
    """The commit, and `+` if the tree differs from it."""
    git = ["git", "-C", str(ROOT)]
    name = subprocess.check_output([*git, "rev-parse", "--short=10", "HEAD"], text=True).strip()
    tracked = ["status", "--porcelain", "--untracked-files=no", "--", ".", ":!docs/record.md"]
    changed = subprocess.check_output([*git, *tracked], text=True)
    return name + "+" * bool(changed)


def today() -> str:
    return datetime.now(UTC).date().isoformat()


if __name__ == "__main__":
    sys.exit(main())
