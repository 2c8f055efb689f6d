"""What the documents name exists: files, anchors, modules, classes, commands, metrics, fail points."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from driver.cli.main import COMMANDS
from driver.core.failpoints import POINTS
from driver.core.ports.host import Host
from driver.observe import metrics

ROOT = Path(__file__).parents[2]
DOCUMENTS = [
    path
    for pattern in ("*.md", "docs/**/*.md", ".github/**/*.md", "charts/**/*.md", "deploy/**/*.md")
    for path in ROOT.glob(pattern)
]
# A decision is never edited, so it names what existed when it was written.
PRESENT = [path for path in DOCUMENTS if path.parent.name != "decisions"]
# Where a path in backticks may begin, beside the document's own folder.
FOLDERS = (
    *(ROOT / name for name in ("", "driver", "driver/linux", "driver/volumes", "driver/router")),
    *(ROOT / "tests" / name for name in ("promises", "e2e", "lvm")),
)
# Made by commands, or named because they do not exist.
NOT_IN_THE_TREE = frozenset({"dist/", ".cache/image/", "utils.py"})
HELPERS = Path("tests/support")  # used by several tiers, and none itself
PATH = re.compile(r"`([\w.-]+(?:/[\w.-]+)*(?:/|\.py))`")
# Words with a capital letter inside; those of Kubernetes and of Python that documents mention.
CAMEL = re.compile(r"`([A-Z][a-z]+(?:[A-Z][a-z]+)+)`")
STANDARD = frozenset(
    [
        "ContainerCreating",
        "CrashLoopBackOff",
        "ExitStack",
        "HostToContainer",
        "IfNotPresent",
        "ReadOnlyMany",
        "ReadWriteMany",
        "ReadWriteOnce",
        "ReadWriteOncePod",
        "WaitForFirstConsumer",
    ]
)
SOURCES = "\n".join(path.read_text() for path in ROOT.glob("driver/**/*.py"))
HELPER_SOURCES = "".join(path.read_text() for path in (ROOT / "tests").rglob("*.py"))
LINK = re.compile(r"\]\((?!https?:)([^)#]*)(?:#([^)]*))?\)")


def anchors(document: Path) -> set[str]:
    """As GitHub makes them of headings."""
    headings = re.findall(r"^#+ (.*)$", document.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_link_leads_somewhere(document: Path) -> None:
    for path, anchor in LINK.findall(document.read_text()):
        target = (document.parent / path).resolve() if path else document
        assert target.exists(), path
        assert not anchor or anchor in anchors(target), f"{path}#{anchor}"


@pytest.mark.parametrize("document", PRESENT, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_module_and_folder_in_backticks_exists(document: Path) -> None:
    folders = (*FOLDERS, document.parent)
    paths = set(PATH.findall(document.read_text())) - NOT_IN_THE_TREE
    assert [path for path in paths if not any((folder / path).exists() for folder in folders)] == []


@pytest.mark.parametrize("document", PRESENT, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_class_and_fault_in_backticks_exists(document: Path) -> None:
    sources = SOURCES + (HELPER_SOURCES if document.name == "testing.md" else "")
    known = set(re.findall(r'\bclass (\w+)|"(\w+)"', sources))
    names = set(CAMEL.findall(document.read_text())) - STANDARD
    assert names <= {name for pair in known for name in pair}


def test_every_package_is_in_the_architecture() -> None:
    text = (ROOT / "docs/architecture.md").read_text()
    packages = {path.parent.relative_to(ROOT) for path in ROOT.glob("driver/*/**/__init__.py")}
    assert packages
    assert {package for package in packages if f"`{package}/`" not in text} == set()


def test_every_tier_of_tests_is_in_the_table() -> None:
    text = (ROOT / "docs/testing.md").read_text()
    folders = {path.parent.relative_to(ROOT) for path in ROOT.glob("tests/*/*.py")}
    assert {folder for folder in folders if f"| `{folder}/`" not in text} == {HELPERS}


def test_every_file_of_promises_and_of_kubernetes_is_in_a_table() -> None:
    text = (ROOT / "docs/testing.md").read_text()
    files = {
        path.name for tier in ("promises", "e2e") for path in ROOT.glob(f"tests/{tier}/test_*")
    }
    assert {name for name in files if f"| `{name}` |" not in text} == set()


def test_every_method_of_the_host_in_backticks_exists() -> None:
    names = set(re.findall(r"`host\.([a-z_]+)`", (ROOT / "docs/architecture.md").read_text()))
    assert names
    assert [name for name in names if not hasattr(Host, name)] == []


def test_every_decision_is_in_the_list() -> None:
    folder = ROOT / "docs/decisions"
    listed = set(re.findall(r"\]\((\d{4}-[a-z-]+\.md)\)", (folder / "README.md").read_text()))
    assert listed == {path.name for path in folder.glob("[0-9]*.md")}


def test_the_commands_of_the_readme_are_those_there_are() -> None:
    text = (ROOT / "README.md").read_text()
    named = set(re.findall(r"^(?:\| `|.*\$\()?cellar ([a-z]+)", text, re.MULTILINE))
    assert named <= {"serve", "route", *COMMANDS}
    assert all(f"`{name}`" in text or f"cellar {name}" in text for name in COMMANDS)


def test_the_metrics_in_the_documents_exist() -> None:
    names = re.findall(r"`(cellar_pool_[a-z_]+)`", (ROOT / "docs/operations.md").read_text())
    gauges = {f"cellar_pool_{name}" for name in metrics._GAUGES}
    watched = re.findall(r'add_gauges\(\s*"([a-z_]+)"', (ROOT / "driver/app/upkeep.py").read_text())
    assert names
    assert set(names) <= gauges | set(watched)


def test_the_fail_points_in_the_documents_exist() -> None:
    text = (ROOT / "docs/architecture.md").read_text()
    kinds = "|".join({point.partition(".")[0] for point in POINTS})
    named = re.findall(rf"`((?:{kinds})\.[a-z]+)`", text)
    assert named
    assert set(named) <= set(POINTS)
