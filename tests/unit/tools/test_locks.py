"""The lock files are complete, so that nothing has to be resolved where they are installed."""

from __future__ import annotations

import importlib.metadata
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import pytest
from packaging.markers import default_environment
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.unit.tools import locked
from tests.unit.tools.locked import Pin
from tools import lock, packages
from tools.setup import VERSIONS
from tools.shell import ROOT

HERE = {name: str(value) for name, value in default_environment().items()}
WANTED = {
    packages.RUNTIME: locked.RUNTIME,
    packages.BUILD: locked.BUILD,
    packages.DEVELOPMENT: [*locked.RUNTIME, *locked.DEVELOPMENT],
}


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
@pytest.mark.parametrize("minor", VERSIONS)
@pytest.mark.parametrize("file", WANTED, ids=lambda file: file.name)
def test_a_lock_has_all_that_its_packages_want(file: Path, minor: int, machine: str) -> None:
    """For each Python and machine; what a package wants is what its metadata says."""
    environment, pins = locked.environment(minor, machine), locked.pins(file)
    lacking = {
        f"{requirement}, wanted by {who}"
        for who, requirement in wanted(WANTED[file], environment, pins)
        if not satisfied(requirement, pins, environment)
    }
    assert not lacking


def wanted(
    roots: Iterable[Requirement], environment: Mapping[str, str], pins: Mapping[str, Pin]
) -> Iterator[tuple[str, Requirement]]:
    """All that follows from `roots`, and who asked for it."""
    todo, seen = [("pyproject.toml", root) for root in roots], set[tuple[str, frozenset[str]]]()
    while todo:
        who, requirement = todo.pop()
        name, extras = canonicalize_name(requirement.name), frozenset(requirement.extras)
        if requirement.marker and not requirement.marker.evaluate(dict(environment)):
            continue
        yield who, requirement
        if (name, extras) not in seen:
            seen.add((name, extras))
            todo += [(name, each) for each in asked_by(name, extras, environment, pins)]


def asked_by(
    name: str, extras: Iterable[str], environment: Mapping[str, str], pins: Mapping[str, Pin]
) -> Iterator[Requirement]:
    try:
        found = importlib.metadata.requires(name) or []
    except importlib.metadata.PackageNotFoundError:
        # Of another Python only; whoever runs this test there looks into it.
        assert name not in pins or not pins[name].applies(HERE), f"{name} should be installed here"
        return
    for requirement in map(Requirement, found):
        if any(holds(requirement, environment, extra) for extra in ("", *extras)):
            requirement.marker = None
            yield requirement


def holds(requirement: Requirement, environment: Mapping[str, str], extra: str) -> bool:
    marker = requirement.marker
    return marker is None or marker.evaluate({**environment, "extra": extra})


def satisfied(
    requirement: Requirement, pins: Mapping[str, Pin], environment: Mapping[str, str]
) -> bool:
    pin = pins.get(canonicalize_name(requirement.name))
    return bool(
        pin
        and pin.applies(environment)
        and requirement.specifier.contains(pin.version, prereleases=True)
    )


@pytest.mark.parametrize("part", [packages.RUNTIME, packages.BUILD], ids=lambda file: file.name)
def test_the_tools_are_added_to_the_very_same_packages(part: Path) -> None:
    development = locked.pins(packages.DEVELOPMENT)
    for name, pin in locked.pins(part).items():
        assert development[name].version == pin.version
        assert development[name].hashes == pin.hashes
        assert development[name].applies(HERE) or not pin.applies(HERE)


def test_what_builds_is_what_pyproject_says() -> None:
    assert [str(one) for one in locked.BUILD] == [lock.BUILD]


@pytest.mark.parametrize("file", sorted(ROOT.glob("*.lock")), ids=lambda file: file.name)
def test_a_lock_names_no_index_and_no_package_without_a_hash(file: Path) -> None:
    assert "://" not in file.read_text(encoding="utf-8")
    assert all(pin.hashes for pin in locked.pins(file).values())


@pytest.mark.parametrize(
    "file", ["Dockerfile", *(f"tools/{one.name}" for one in (ROOT / "tools").glob("*.py"))]
)
def test_nothing_is_installed_by_resolving(file: str) -> None:
    """Each `pip install` takes locked wheels alone, or what lies there already."""
    text = (ROOT / file).read_text(encoding="utf-8").replace("\\\n", " ")
    commands = re.findall(r"pip\S* (?:--python \S+ )?install\b.*?(?= && |\n)", text)
    for command in commands:
        assert "--no-deps" in command
        assert "--no-index" in command or set(packages.LOCKED) <= set(command.split()), command
    if file == "Dockerfile":
        assert len(commands) == 3
    elif file != "tools/packages.py":
        assert not commands
        assert '"pip", "install"' not in text
