"""The page about modules: a row for each that has lines, and its file of unit tests."""

from __future__ import annotations

from tools import modules
from tools.shell import ROOT


def test_a_row_says_what_ran_in_each_tier() -> None:
    measured = {"driver/core/ids.py": {"summary": {"num_statements": 50, "percent_covered": 97.6}}}
    page = modules.page({"unit": measured, "contract": {}})
    assert "| module | tests | lines | unit | contract |" in page
    assert "| driver/core/ids.py | tests/unit/core/test_ids.py | 50 | 98 % | 0 % |" in page
    assert "driver/core/errors.py" not in page  # nothing was measured of it


def test_the_tiers_are_folders_that_exist() -> None:
    folders = {word for words in modules.TIERS.values() for word in words if "/" in word}
    assert all((ROOT / folder).is_dir() for folder in folders)
