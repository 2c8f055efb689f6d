"""Every block of the documents is tried somewhere, or says why not; settings are read here."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from driver.app.load_settings import load
from driver.csi import parameters
from tests import examples
from tests.documents import DOCUMENTS, PLACES, READINGS, ROOT, Block, blocks
from tests.e2e import documents as e2e_documents

EXAMPLES = {path.stem for path in examples.paths()}


def test_the_documents_have_as_many_blocks_as_fences() -> None:
    fences = sum(
        len(re.findall(r"^ *```", (ROOT / document).read_text(encoding="utf-8"), re.MULTILINE))
        for document in DOCUMENTS
    )
    assert len(list(blocks())) * 2 == fences


@pytest.mark.parametrize("block", blocks(), ids=str)
def test_a_block_says_where_it_is_tried(block: Block) -> None:
    match block.how:
        case "run":
            assert block.what in PLACES
        case "read":
            assert block.what in READINGS or block.example in EXAMPLES
        case "not run":
            assert len(block.what.split()) > 3, "a reason is a sentence"
        case _:
            pytest.fail(f"{block}: no comment says where it is run")


@pytest.mark.parametrize("block", blocks(how="read", what="settings"), ids=str)
def test_documented_settings_are_accepted(block: Block, tmp_path: Path) -> None:
    file = tmp_path / "cellar.yaml"
    file.write_text(block.text, encoding="utf-8")
    read = load({"config": file}, {})
    assert [pool.name for pool in read.pools] == [
        pool["name"] if isinstance(pool, dict) else pool.partition("=")[0]
        for pool in yaml.safe_load(block.text)["pools"]
    ]


@pytest.mark.parametrize("block", blocks(how="read", what="class"), ids=str)
def test_documented_parameters_of_a_class_are_accepted(block: Block) -> None:
    told: dict[str, Any] = yaml.safe_load(block.text)["parameters"]
    # external-provisioner keeps the secrets' names to itself
    ours = {key: value for key, value in told.items() if not key.endswith(("-name", "-namespace"))}
    assert ours
    assert bool(parameters.parse(ours, {}).encrypted) == ("encrypted" in ours)


def test_the_tests_of_a_cluster_find_their_sections() -> None:
    sources = "\n".join(path.read_text() for path in (ROOT / "tests/e2e").glob("test_*.py"))
    sections = set(re.findall(r'\("(\w+\.md)", "([^"]+)"\)', sources))
    texts = {text for section in sections for text in e2e_documents.blocks(*section)}
    assert {block.text for block in blocks(how="run", what="e2e")} <= texts
