"""The marker of a pool: its id and its owner."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from driver.backends.loopfile.pool import marker
from driver.backends.loopfile.pool.creation import MARKER
from driver.core.errors import PoolUnavailable
from tests.root.backends.loopfile.pool.conftest import (
    OWNER,
    a_root,
)

pytestmark = pytest.mark.root


def test_a_marker_is_never_overwritten(tmp_path: Path) -> None:
    pool_id = marker.write(tmp_path, OWNER)
    with pytest.raises(FileExistsError):
        marker.write(tmp_path, "somebody.else")
    assert json.loads((tmp_path / MARKER).read_text())["id"] == pool_id
    assert [one.name for one in tmp_path.iterdir()] == [MARKER]


def test_the_pool_of_another_owner_is_refused(tmp_path: Path) -> None:
    marker.write(tmp_path, "somebody.else")
    with pytest.raises(PoolUnavailable, match=r"somebody\.else"):
        _ = a_root(tmp_path).id


@pytest.mark.parametrize(
    "text", ["", "{}", "[]", "null", '{"schema": 99, "id": "x", "owner": "y"}']
)
def test_a_damaged_or_newer_marker_is_refused_and_kept(tmp_path: Path, text: str) -> None:
    (tmp_path / MARKER).write_text(text)
    with pytest.raises(PoolUnavailable):
        _ = a_root(tmp_path, init=True).id
    assert (tmp_path / MARKER).read_text() == text
