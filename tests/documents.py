"""The blocks of the documents that people type or copy, and where each one is tried.

A comment on the line before a block says it:

    <!-- run: PLACE -->       a test in PLACE types it as it stands there
    <!-- read: WHAT -->       a test reads it as WHAT; "example FILE": it is part of deploy/examples/FILE
    <!-- not run: REASON -->  nobody does, and why
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[1]
DOCUMENTS: Final = ("README.md", "docs/install.md", "docs/operations.md")
# Where blocks are typed: tests/root/test_documents.py, tests/root, tests/lvm/test_cli.py, tests/e2e;
# and as what they are read: tests/unit/test_documented_blocks.py, tests/chart.
PLACES: Final = frozenset({"machine", "by hand", "lvm", "e2e"})
READINGS: Final = frozenset({"settings", "class", "values", "picture"})
_EXAMPLE: Final = "example "  # of a block that is part of the file in deploy/examples named then
_FENCE: Final = re.compile(
    r"(?:^<!-- (?P<how>run|read|not run): (?P<what>[^\n]*?) -->\n)?"
    r"^```(?P<language>[a-z]+)\n(?P<text>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)


@dataclass(frozen=True, slots=True)
class Block:
    """One fenced block: `how` and `what` are of its comment, empty if there is none."""

    document: str
    line: int
    language: str
    text: str
    how: str
    what: str

    def __str__(self) -> str:
        return f"{self.document}:{self.line}"

    @property
    def example(self) -> str:
        """The name, without suffix, of the example that the block is part of; empty: of none."""
        read = self.what if self.how == "read" else ""
        return read.removeprefix(_EXAMPLE).removesuffix(".yaml") if _EXAMPLE in read else ""


def blocks(*, how: str | None = None, what: str | None = None) -> list[Block]:
    """Return the blocks of all documents, or those whose comment says `how` and `what`."""
    return [block for block in _all() if how in (None, block.how) and what in (None, block.what)]


def _all() -> Iterator[Block]:
    for document in DOCUMENTS:
        text = (ROOT / document).read_text(encoding="utf-8")
        for found in _FENCE.finditer(text):
            line = text.count("\n", 0, found.start("language")) + 1
            comment = found["how"] or "", found["what"] or ""
            yield Block(document, line, found["language"], found["text"], *comment)
