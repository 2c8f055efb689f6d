"""What the filesystem below a pool can hold."""

from __future__ import annotations

import os
import subprocess
from contextlib import suppress
from itertools import count

import pytest

from driver.backends.loopfile.images import layout
from driver.core.errors import NoSpace
from driver.core.model import MIB, Allocation
from driver.linux import files
from tests.root.backends.loopfile.conftest import (
    Reopen,
    fill,
    kinds,
    made,
    write,
)
from tests.root.conftest import MakePool

pytestmark = pytest.mark.root


@pytest.mark.parametrize("words", ["chattr +c", "chattr +m", "property zstd", "property none"])
def test_thick_is_thick_in_a_folder_that_is_compressed(
    make_pool: MakePool, reopened: Reopen, words: str
) -> None:
    where = make_pool("btrfs")
    how, value = words.split()
    command = ["chattr", value] if how == "chattr" else ["btrfs", "property", "set"]
    more = [] if how == "chattr" else ["compression", value]
    subprocess.run([*command, str(where), *more], check=True)
    pool = reopened(where)
    volume = made(pool, size=32 * MIB)
    disk = layout.disk(where, volume.id)
    assert not files.copies_on_write(disk) and kinds(pool, volume) == []
    filler = fill(where)
    for at in range(0, 32 * MIB, MIB):
        write(disk, os.urandom(MIB), at, sync=at == 31 * MIB)
    filler.unlink()


def test_without_nocow_there_is_no_room_for_thick(
    make_pool: MakePool,
    reopened: Reopen,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As on a zoned btrfs."""
    monkeypatch.setattr(files, "set_nocow", lambda _: None)
    pool = reopened(make_pool("btrfs"))
    assert pool.capacity(Allocation.THICK).largest == 0
    assert pool.capacity(Allocation.SPARSE).largest > 256 * MIB
    assert "ThickNotPossible" in [fault.kind for fault in pool.faults(None)]
    with pytest.raises(NoSpace, match="NOCOW"):
        made(pool)
    sparse = made(pool, "sparse", allocation=Allocation.SPARSE)
    assert kinds(pool, sparse) == []


def test_a_pool_without_inodes_has_no_capacity(make_pool: MakePool, reopened: Reopen) -> None:
    where = make_pool("ext4", size=64 * MIB, mkfs=("-N", "64"))
    pool = reopened(where)
    with suppress(NoSpace):
        for number in count():
            made(pool, str(number), size=MIB // 4, allocation=Allocation.SPARSE)
    assert pool.capacity(Allocation.THICK).largest == 0
    assert [fault.text for fault in pool.faults(None)] == [
        f"{where} has no free inodes: delete volumes or snapshots"
    ]
    for image in list(pool.images())[:3]:
        pool.delete(image.id)
    assert pool.capacity(Allocation.THICK).largest > MIB
