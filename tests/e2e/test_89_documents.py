"""After the tests that type what the documents say: nothing of it was forgotten."""

from __future__ import annotations

from tests import documents
from tests.e2e.documents import typed


def test_every_block_for_a_cluster_was_typed() -> None:
    assert {block.text for block in documents.blocks(how="run", what="e2e")} == typed
