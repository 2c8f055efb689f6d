"""What is imported is declared: what others happen to bring along today may go tomorrow."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from packaging.utils import canonicalize_name

from tests.unit.tools import locked
from tools.shell import ROOT

OURS = {"csi_proto", "driver", "tests", "tools"}
RUNTIME = {canonicalize_name(one.name) for one in locked.RUNTIME}
DEVELOPMENT = RUNTIME | {canonicalize_name(one.name) for one in locked.DEVELOPMENT}
DISTRIBUTIONS = packages_distributions()


def imported(file: Path) -> Iterator[str]:
    """The first parts of the names of all modules that `file` imports."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module.partition(".")[0]


def strangers(folder: str) -> dict[str, Path]:
    """Modules that are neither Python's nor ours, and a file that imports each."""
    return {
        name: file
        for file in (ROOT / folder).rglob("*.py")
        for name in imported(file)
        if name not in OURS and name not in sys.stdlib_module_names
    }


@pytest.mark.parametrize(
    ("folder", "declared"),
    [
        ("csi_proto", RUNTIME),
        ("driver", RUNTIME),
        ("tools", DEVELOPMENT),
        ("tests", DEVELOPMENT),
    ],
)
def test_what_is_imported_is_declared(folder: str, declared: set[str]) -> None:
    undeclared = {
        f"{name} in {file.relative_to(ROOT)}"
        for name, file in strangers(folder).items()
        if not declared & {canonicalize_name(one) for one in DISTRIBUTIONS.get(name, [])}
    }
    assert not undeclared


@pytest.mark.parametrize(
    "name",
    [
        "setup",
        "packages",
        "programs",
        "shell",
        "steps",
        "golang",
        "lock",
        "debian",
        "newcomer",
        "test",
    ],
)
def test_what_runs_on_a_bare_machine_imports_nothing(name: str) -> None:
    file = ROOT / "tools" / f"{name}.py"
    assert set(imported(file)) <= {*sys.stdlib_module_names, "tools"}
