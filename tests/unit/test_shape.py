"""The shape of the code that CONTRIBUTING.md asks for: sizes that import-linter does not see."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

DRIVER = Path("driver")
MODULES = sorted(path for path in DRIVER.rglob("*.py"))
LONGEST_MODULE = 300  # lines
LONGEST_FUNCTION = 40  # lines, docstring included
MOST_MODULES = 15  # of one folder, without __init__.py


def test_no_folder_has_more_modules_than_a_person_overlooks() -> None:
    folders = [DRIVER, *(path for path in DRIVER.rglob("*") if path.is_dir())]
    counts = {
        folder.as_posix(): sum(1 for path in folder.glob("*.py") if path.name != "__init__.py")
        for folder in folders
    }
    assert not {name: count for name, count in counts.items() if count > MOST_MODULES}


@pytest.mark.parametrize("path", MODULES, ids=str)
def test_no_module_is_too_long(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= LONGEST_MODULE


def test_no_function_is_too_long() -> None:
    functions = [
        (f"{path}:{node.lineno} {node.name}", (node.end_lineno or 0) - node.lineno + 1)
        for path in MODULES
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    ]
    assert not [name for name, length in functions if length > LONGEST_FUNCTION]


def test_a_function_says_what_it_returns() -> None:
    """`find_device` or `volume_labels`, not `device_of` or `of_volume`."""
    functions = [
        f"{path}:{node.lineno} {node.name}"
        for path in MODULES
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and (node.name.endswith("_of") or node.name.lstrip("_").startswith("of_"))
    ]
    assert not functions
