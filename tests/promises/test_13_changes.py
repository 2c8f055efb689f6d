"""Promise 13: whoever restores a snapshot and what is said to have changed since has the next one."""

from __future__ import annotations

import os
import random
from dataclasses import dataclass
from typing import Any

import pytest

from driver.linux.formats.luks import lacks_encryption
from tests.promises.conftest import Served
from tests.support.client import of_snapshot, refused
from tests.support.disks import MIB, run
from tests.support.node import Life

SIZE = 16 * MIB
PAGE = 4096


@dataclass(frozen=True)
class Taken:
    """A snapshot, and what a reader of the device saw when it was taken."""

    id: str
    data: bytes


class Story:
    """A raw block volume that is written to, discarded from, grown, and snapshotted meanwhile."""

    def __init__(self, served: Served, allocation: str) -> None:
        self.served = served
        self.dice = random.Random(served.disk.fs + allocation)
        self.how: dict[str, Any] = {"block": True, "parameters": {"allocation": allocation}}
        self.sparse = allocation == "sparse"
        volume = served.csi.create("v", SIZE, **self.how)
        self.size = SIZE
        self.life = served.life(volume.volume_id, block=True)
        self.life.up()
        self.taken: list[Taken] = []

    def scribble(self, times: int = 30) -> None:
        with self.life.target.open("r+b", buffering=0) as device:
            for _ in range(times):
                at = self.dice.randrange(self.size // PAGE) * PAGE
                length = min(self.dice.choice((512, PAGE, 256 << 10)), self.size - at)
                if self.sparse and self.dice.random() < 0.3:
                    run("blkdiscard", "-o", str(at), "-l", str(PAGE), self.life.target)
                else:
                    os.pwrite(device.fileno(), os.urandom(length), at)
            os.fsync(device.fileno())

    def grow(self) -> None:
        self.size += 4 * MIB
        self.served.csi.expand(self.life.volume_id, self.size, block=True)
        self.served.csi.grow(self.life.volume_id, self.life.target, self.size, block=True)

    def snap(self) -> None:
        snapshot = self.served.csi.snapshot(f"s{len(self.taken)}", self.life.volume_id)
        self.taken.append(Taken(snapshot.snapshot_id, self.life.target.read_bytes()))

    def read_back(self, taken: Taken) -> bytes:
        """As a backup program does: of a volume that is restored from it."""
        volume = self.served.csi.create_patiently(
            "reader", len(taken.data), source=of_snapshot(taken.id), **self.how
        )
        reader: Life = self.served.life(volume.volume_id, block=True)
        data = reader.up().read_bytes()
        reader.down()
        self.served.csi.delete(volume.volume_id)
        return data

    def end(self) -> None:
        self.life.down()
        self.served.csi.delete(self.life.volume_id)
        for one in self.taken:
            self.served.csi.delete_snapshot(one.id)


def patched(base: bytes, target: bytes, ranges: tuple[tuple[int, int], ...]) -> bytes:
    """What lies behind the base is anything, as on a disk that was used before."""
    data = bytearray(base.ljust(len(target), b"\xee"))
    for start, end in ranges:
        data[start:end] = target[start:end]
    return bytes(data)


@pytest.mark.parametrize("allocation", ["sparse", "thick"])
def test_base_and_changes_are_the_target(each: Served, allocation: str) -> None:
    story, csi = Story(each, allocation), each.csi
    story.snap()
    for number in range(4):
        story.scribble()
        if number == 2:
            story.grow()
        story.snap()
    csi.driver.restart()  # nothing of it was in memory
    for index, target in enumerate(story.taken):
        there = story.read_back(target)
        assert there == target.data
        whole = csi.allocated(target.id)
        assert whole.size == len(target.data)
        assert patched(bytes(len(there)), there, whole.found) == target.data
        for base in story.taken[: index + 1]:
            changes = csi.delta(base.id, target.id)
            assert patched(base.data, there, changes.found) == target.data
            few = csi.delta(base.id, target.id, max_results=3)
            assert few.longest <= 3
            assert few.bytes() == changes.bytes()
            middle = random.Random(index).randrange(whole.size)
            rest = csi.delta(base.id, target.id, starting_offset=middle).found
            assert set(rest) == {
                (max(start, middle), end) for start, end in changes.found if end > middle
            }
        assert csi.delta(target.id, target.id).found == ()
    story.end()


def test_where_bytes_are_shared_little_has_changed(each: Served) -> None:
    story, csi = Story(each, "sparse"), each.csi
    story.life.target.write_bytes(os.urandom(SIZE))
    os.sync()
    story.snap()
    with story.life.target.open("r+b", buffering=0) as device:
        os.pwrite(device.fileno(), b"x" * PAGE, 5 * MIB)
        os.fsync(device.fileno())
    story.snap()
    base, target = story.taken
    found = csi.delta(base.id, target.id).found
    if each.disk.fs == "ext4":
        assert found == ((0, SIZE),)
    else:
        assert sum(end - start for start, end in found) <= 64 << 10
        assert any(start <= 5 * MIB and end >= 5 * MIB + PAGE for start, end in found)
    story.end()


@pytest.mark.skipif(bool(lacks_encryption()), reason=lacks_encryption() or "this machine can")
def test_nothing_is_told_of_encrypted_volumes(one: Served) -> None:
    csi = one.csi
    volume = csi.create("sealed", 64 * MIB, block=True, parameters={"encrypted": "true"})
    snapshot = csi.snapshot("s", volume.volume_id).snapshot_id
    with refused("FAILED_PRECONDITION"):
        csi.allocated(snapshot)
    with refused("FAILED_PRECONDITION"):
        csi.delta(snapshot, snapshot)
    csi.delete_snapshot(snapshot)
    csi.delete(volume.volume_id)
