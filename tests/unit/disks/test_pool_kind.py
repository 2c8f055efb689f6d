"""The types of pools that can be made, as the documents name them."""

from __future__ import annotations

from driver.disks.pool_kind import POOLS, PoolKind
from tests.documents import ROOT


def test_the_document_has_each_type_and_the_directory_of_the_pools() -> None:
    text = (ROOT / "docs/operations.md").read_text(encoding="utf-8")
    assert all(f"| `{kind}`" in text for kind in PoolKind)
    assert f"{POOLS}/fast" in text
