"""An image's folder, while it is deleted."""

from __future__ import annotations

import pytest

from driver.backends.loopfile import backend as loopfile
from driver.backends.loopfile.images import delete_image
from tests.root.backends.loopfile.conftest import (
    a_volume,
    nothing,
)

pytestmark = pytest.mark.root


def test_an_image_is_not_ill_at_any_instant_of_its_deletion(
    pool: loopfile.Loopfile, monkeypatch: pytest.MonkeyPatch
) -> None:
    volume = a_volume(pool)
    pool.create(volume, nothing)
    seen: dict[str, list[str]] = {}

    def look(point: str) -> None:
        seen[point] = [one.kind for one in pool.faults(volume.id)]

    monkeypatch.setattr(delete_image, "reach", look)
    monkeypatch.setattr(loopfile, "reach", look)
    pool.delete(volume.id)
    assert set(seen) == {"delete.renamed", "delete.synced", "delete.unlinked"}
    assert not any(seen.values())
