"""`python -m tools.modules`: writes docs/modules.md, which tests cover which module.

A line counts that runs while the tests of a tier do, in their process: coverage.py measures it.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from tools.shell import ROOT, VENV, say

PAGE: Final = ROOT / "docs/modules.md"
PYTHON: Final = str(VENV / "bin/python")
# Folders and markers of each tier. The kernel's needs root, and a mount namespace of its own.
TIERS: Final[dict[str, list[str]]] = {
    "unit": ["tests/unit", "-m", "not root"],
    "contract": ["tests/contract", "-m", "not root and not lvm"],
    "kernel": ["tests/root", "tests/contract", "-m", "root and not lvm"],
}
HEAD: Final = """# Modules and what covers them

Made by `make modules`: for each module its file in `tests/unit`, or else in `tests/root` (of a
module without one, `tests/unit/test_mirror.py` says what tests it), and the share of its lines that
ran during the tests of `tests/unit`, of `tests/contract` on the simulator, and of those with root
(`tests/root`, `tests/contract` on loop files), in the tests' own process. What a driver does as a
process of its own is not counted: `tests/promises`, `tests/serve`, `tests/cluster`, `tests/e2e`;
nor is `tests/lvm`, which needs a kernel with device-mapper. So a low share of `app`, `services`,
`backends/lvm` and `router/kubernetes` does not mean that they are not tested.

"""


def main() -> int:
    """Run the tiers, and write the page; 1 if a test failed."""
    if os.geteuid() != 0:
        sys.exit("the kernel's tier needs root")
    failed, shares = 0, {}
    with tempfile.TemporaryDirectory() as directory:
        for tier, words in TIERS.items():
            say(f"{tier}: {' '.join(words)}")
            report = Path(directory, f"{tier}.json")
            failed += _run(words, report)
            shares[tier] = json.loads(report.read_text(encoding="utf-8"))["files"]
    PAGE.write_text(page(shares), encoding="utf-8")
    say(f"wrote {PAGE.relative_to(ROOT)}")
    return int(failed > 0)


def _run(words: list[str], report: Path) -> int:
    """Run pytest under coverage.py; its exit status. Measured lines go to `report`."""
    unshare = ["unshare", "--mount", "--propagation", "private"]
    tests = [*unshare, PYTHON, "-m", "pytest", "-q", "-n", "0", *words]
    measured = ["--cov=driver", f"--cov-report=json:{report}"]
    data = {"COVERAGE_FILE": str(report.with_suffix(".data"))}
    return subprocess.run(
        [*tests, *measured], cwd=ROOT, env=os.environ | data, check=False
    ).returncode


def page(shares: Mapping[str, Mapping[str, Any]]) -> str:
    """Return the page. `shares`: for each tier coverage.py's report of its files."""
    date = datetime.now(UTC).date().isoformat()
    rows = [f"| module | tests | lines | {' | '.join(shares)} |", "|---|---|---|---|---|---|"]
    for path in sorted((ROOT / "driver").rglob("*.py")):
        name = path.relative_to(ROOT).as_posix()
        summaries = [files.get(name, {}).get("summary", {}) for files in shares.values()]
        if lines := max(summary.get("num_statements", 0) for summary in summaries):
            parts = [f"{summary.get('percent_covered', 0):.0f} %" for summary in summaries]
            rows.append(f"| {name} | {test_file(path)} | {lines} | {' | '.join(parts)} |")
    return f"{HEAD}Measured on {date}.\n\n" + "\n".join(rows) + "\n"


def test_file(module: Path) -> str:
    """Return the module's file in tests/unit, or else in tests/root, or nothing."""
    inside = module.relative_to(ROOT / "driver")
    for tier in ("unit", "root"):
        test = Path("tests", tier) / inside.parent / f"test_{module.stem}.py"
        if (ROOT / test).exists():
            return test.as_posix()
    return ""


if __name__ == "__main__":
    sys.exit(main())
