"""The manifests in deploy/examples, and the commands in their first comment."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Final

import yaml

ROOT: Final = Path(__file__).parents[1]
FOLDER: Final = ROOT / "deploy/examples"
_COMMAND: Final = re.compile(r"^#     (kubectl .*)$", re.MULTILINE)
_IMAGE: Final = re.compile(r"(?<=image: )\S+")


def paths() -> list[Path]:
    """Return the files of all examples."""
    return sorted(FOLDER.glob("*.yaml"))


def text(name: str) -> str:
    """Return the example of that name, which has no suffix, as it is in its file."""
    return (FOLDER / f"{name}.yaml").read_text(encoding="utf-8")


def objects(name: str) -> list[dict[str, Any]]:
    """Return the objects of an example."""
    return list(yaml.safe_load_all(text(name)))


def commands(name: str) -> list[str]:
    """Return the commands that the example's comment tells people to type, in their order."""
    return _COMMAND.findall(text(name))


def images(name: str) -> set[str]:
    """Return the container images that an example names."""
    return set(_IMAGE.findall(text(name)))


def with_images(name: str, replacements: dict[str, str]) -> str:
    """Return the text of an example in which each image has another name. KeyError: none given."""
    return _IMAGE.sub(lambda found: replacements[found[0]], text(name))
