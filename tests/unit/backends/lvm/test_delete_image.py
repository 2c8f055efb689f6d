"""Only an image that nobody uses loses its logical volume. The pool is simulated."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import pytest

from driver.backends.lvm.delete_image import remove_image
from driver.backends.lvm.pool.pool import LvmPool
from driver.core.devices import Device
from driver.core.errors import Busy, CellarError, NotFound, Refused
from driver.core.ids import ImageId, VolumeId

ID = VolumeId("1" * 12, "a" * 32)
DEVICE = Device(Path("/dev/dm-7"), 7, read_only=False)


class FakePool:
    """A pool with at most the image ID, which is also its own index, group and devices."""

    def __init__(
        self,
        *,
        exists: bool = True,
        has_lv: bool = True,
        attached: bool = False,
        read: bool = False,
    ) -> None:
        self.exists, self.attached, self.read = exists, attached, read
        self.index = self.devices = self.group = self.lv = self
        self.name = "lv"
        self.entries = {ID: self} if has_lv else {}
        self.calls: list[object] = []

    def refresh(self) -> None:
        self.calls.append("refresh")

    def image(self, _: ImageId) -> bool:
        return self.exists

    def find(self, _: ImageId) -> Device | None:
        return DEVICE if self.attached else None

    def is_read(self, _: ImageId) -> bool:
        return self.read

    def full_name(self, name: str) -> str:
        return f"group/{name}"

    def run(self, *words: str) -> None:
        self.calls.append(words)

    def remove(self, image_id: ImageId) -> None:
        self.calls.append(image_id)


def delete(pool: FakePool) -> list[object]:
    remove_image(cast("LvmPool", pool), ID, "fast")
    return pool.calls


def test_the_logical_volume_is_removed_and_then_the_entry() -> None:
    assert delete(FakePool()) == ["refresh", ("lvremove", "group/lv"), ID]


def test_of_a_vanished_logical_volume_only_the_entry_is_removed() -> None:
    assert delete(FakePool(has_lv=False)) == ["refresh", ID]


@pytest.mark.parametrize(
    ("pool", "error", "text"),
    [
        (FakePool(exists=False), NotFound, "in pool fast"),
        (FakePool(attached=True), Refused, "attached as /dev/dm-7"),
        (FakePool(read=True), Busy, "is being read"),
    ],
    ids=["missing", "attached", "read"],
)
def test_nothing_is_removed_unless_the_image_exists_and_is_unused(
    pool: FakePool, error: type[CellarError], text: str
) -> None:
    with pytest.raises(error, match=text):
        delete(pool)
    assert pool.calls == ["refresh"]
