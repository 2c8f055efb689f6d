"""One process on a pool."""

from __future__ import annotations

from pathlib import Path

import pytest

from driver.core.errors import PoolUnavailable
from tests.root.backends.loopfile.pool.conftest import (
    a_root,
)

pytestmark = pytest.mark.root


def test_a_second_opener_is_refused_until_the_first_leaves(tmp_path: Path) -> None:
    first, second = a_root(tmp_path, init=True), a_root(tmp_path)
    pool_id = first.id
    with pytest.raises(PoolUnavailable, match="another process"):
        _ = second.id
    first.close()
    assert second.id == pool_id
    second.close()
