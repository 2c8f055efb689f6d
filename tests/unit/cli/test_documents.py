"""What the documents name is there: files, anchors, commands, metrics, fail points."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from driver.cli.main import COMMANDS
from driver.core.failpoints import POINTS
from driver.observe import metrics

ROOT = Path(__file__).parents[3]
DOCUMENTS = [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")]
LINK = re.compile(r"\]\((?!https?:)([^)#]*)(?:#([^)]*))?\)")


def anchors(document: Path) -> set[str]:
    """As GitHub makes them of headings."""
    headings = re.findall(r"^#+ (.*)$", document.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", one.lower()).replace(" ", "-") for one in headings}


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_link_leads_somewhere(document: Path) -> None:
    for path, anchor in LINK.findall(document.read_text()):
        target = (document.parent / path).resolve() if path else document
        assert target.exists(), path
        assert not anchor or anchor in anchors(target), f"{path}#{anchor}"


def test_every_decision_is_in_the_list() -> None:
    folder = ROOT / "docs/decisions"
    listed = set(re.findall(r"\]\((\d{4}-[a-z-]+\.md)\)", (folder / "README.md").read_text()))
    assert listed == {one.name for one in folder.glob("[0-9]*.md")}


def test_the_commands_of_the_readme_are_those_there_are() -> None:
    text = (ROOT / "README.md").read_text()
    told = set(re.findall(r"^(?:\| `|.*\$\()?cellar ([a-z]+)", text, re.MULTILINE))
    assert told <= {"serve", "route", *COMMANDS}
    assert all(f"`{name}`" in text or f"cellar {name}" in text for name in COMMANDS)


def test_the_metrics_that_are_told_exist() -> None:
    names = re.findall(r"`(cellar_pool_[a-z_]+)`", (ROOT / "docs/operations.md").read_text())
    gauges = {f"cellar_pool_{name}" for name in metrics._GAUGES}
    watched = re.findall(r'watch_all\(\s*"([a-z_]+)"', (ROOT / "driver/app/upkeep.py").read_text())
    assert names
    assert set(names) <= gauges | set(watched)


def test_the_fail_points_that_are_told_exist() -> None:
    text = (ROOT / "docs/architecture.md").read_text()
    kinds = "|".join({point.partition(".")[0] for point in POINTS})
    told = re.findall(rf"`((?:{kinds})\.[a-z]+)`", text)
    assert told
    assert set(told) <= set(POINTS)
