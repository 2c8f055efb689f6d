"""What the documents tell people to type, run as it stands there."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from tests.e2e.cluster import RUN, Cluster

DOCS: Final = Path(__file__).parents[2] / "docs"
FOLDER: Final = RUN / "documents"  # where the commands are run, and leave their files
typed: Final[set[str]] = set()  # the blocks that were run so far; test_89 looks whether all were


def blocks(document: str, heading: str) -> list[str]:
    """The shell blocks of a section, without those that are indented differently."""
    text = (DOCS / document).read_text(encoding="utf-8")
    _, found, rest = text.partition(f"\n## {heading}\n")
    assert found, f"{document} has no section {heading!r}"
    return re.findall(r"^```sh\n(.*?)^```$", rest.partition("\n## ")[0], re.DOTALL | re.MULTILINE)


def block(document: str, heading: str, word: str) -> str:
    """The one shell block of a section that has `word` in it."""
    [found] = [one for one in blocks(document, heading) if word in one]
    return found


def type_in(cluster: Cluster, script: str, variables: Mapping[str, str]) -> str:
    """What an administrator would see; the first command that fails ends it. CommandError."""
    typed.add(script)
    FOLDER.mkdir(exist_ok=True)
    given = "".join(f"{name}='{value}'\n" for name, value in variables.items())
    return cluster.run("bash", "-euc", f"cd {FOLDER}\n{given}{script}", timeout=180)
