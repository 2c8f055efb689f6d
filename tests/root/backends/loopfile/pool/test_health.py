"""Whether a pool takes writes, as calls met it."""

from __future__ import annotations

from pathlib import Path

import pytest

from driver.core.errors import PoolUnavailable
from tests.root.backends.loopfile.pool.conftest import (
    a_root,
)

pytestmark = pytest.mark.root


def test_after_a_failed_sync_the_pool_refuses_until_it_was_repeated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = a_root(tmp_path, init=True)
    _ = root.id
    calls: list[Path] = []

    def fails(path: Path) -> None:
        calls.append(path)
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as broken:
        broken.setattr("driver.linux.files.sync_directory", fails)
        with root.open() as path, pytest.raises(OSError, match="Input"):
            root.sync(path)
        with pytest.raises(PoolUnavailable, match="synced"), root.open():
            pass
    assert len(calls) == 2
    with root.open():
        pass
    root.close()
