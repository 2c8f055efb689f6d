"""Images: what their extents cost a snapshot, and what a volume costs against a bare directory."""

from __future__ import annotations

import mmap
import os
import random
import re
import statistics
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from csi_proto import csi_pb2 as pb
from driver.core.model import GIB, MIB
from driver.linux import fiemap
from tests.bench import volumes
from tests.bench.measures import Figure, name, timed
from tests.bench.scale_rows import ServedPool, scraped
from tests.support.node import Life

BLOCK = 4096
STRIDE = 72 * 1024  # farther apart than ext4 fills with zeros (extent_max_zeroout_kb)
EXTENTS = (0, 5_000, 40_000)  # of an image, beside those of its empty filesystem
SIZE = 2 * GIB
READS = 2_000
PIECE = MIB
PIECES = 256


def measured() -> list[Figure]:
    """The figures of this machine, on an xfs pool."""
    with volumes.served_pool() as served:
        return [*_windows(served), *_speeds(served)]


def _windows(served: ServedPool) -> Iterator[Figure]:
    """How long writers are stopped by a snapshot, by the number of extents of the image."""
    for allocation in ("sparse", "thick"):
        for extents in EXTENTS:
            life = _mounted(served, allocation)
            _fragment(life.target / "data", extents // 2)
            os.sync()
            count = _extents(served, life)
            window, call = zip(*(_snapshot(served, life) for _ in range(5)), strict=True)
            label = f"{allocation} image of {count:,} extents, frozen by a snapshot"
            note = f"the call takes {statistics.median(call):.1f} ms"
            yield Figure(label, statistics.median(window), target="<= 100 ms", note=note)
            life.down()
            served.csi.delete(life.volume_id)


def _mounted(served: ServedPool, allocation: str) -> Life:
    volume = served.csi.create(name(), SIZE, parameters={"allocation": allocation})
    life = served.node.life(served.csi, volume.volume_id)
    life.up()
    return life


def _fragment(path: Path, blocks: int) -> None:
    """Write blocks that lie apart; the image has an extent for each, and one for each gap."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT)
    os.posix_fallocate(descriptor, 0, max(1, blocks) * STRIDE)
    for number in range(blocks):
        os.pwrite(descriptor, b"\x5a" * BLOCK, number * STRIDE)
    os.fsync(descriptor)
    os.close(descriptor)


def _extents(served: ServedPool, life: Life) -> int:
    return sum(1 for _ in fiemap.mapped(served.directory / life.volume_id / "disk.img"))


def _snapshot(served: ServedPool, life: Life) -> tuple[float, float]:
    """Milliseconds for which the filesystem was frozen, and those of the call."""
    request = pb.CreateSnapshotRequest(name=name(), source_volume_id=life.volume_id)
    before = _frozen_seconds(served)
    took = timed(lambda: served.csi.controller.CreateSnapshot(request, timeout=60))
    window = 1e3 * (_frozen_seconds(served) - before)
    assert window, "the driver does not measure how long filesystems are frozen"
    served.csi.delete_snapshot(*served.csi.snapshots())
    return window, took


def _frozen_seconds(served: ServedPool) -> float:
    text = scraped(served).decode()
    match = re.search(r"^cellar_freeze_seconds_sum\S* (\S+)$", text, re.MULTILINE)
    return float(match[1]) if match else 0.0  # none was frozen yet


def _speeds(served: ServedPool) -> Iterator[Figure]:
    """One reader and one writer, without the page cache: in the volume, and beside the pool."""
    life = _mounted(served, "sparse")
    volume, bare = life.target / "data", served.directory / "bare"
    for path in (volume, bare):
        _write(path)
    reads: list[list[float]] = [[], []]
    writes: list[list[float]] = [[], []]
    for _ in range(3):
        for path, read, written in zip((volume, bare), reads, writes, strict=True):
            read.append(READS / _taken(path, _random_reads))
            written.append(PIECE * PIECES / MIB / _taken(path, _rewrite))
    yield _against("random reads of 4 KiB in a loop file's ext4", "in a second", reads)
    yield _against("sequential writes of 1 MiB in a loop file's ext4", "MiB/s", writes)
    life.down()
    served.csi.delete(life.volume_id)
    bare.unlink()


def _against(label: str, unit: str, rates: Sequence[Sequence[float]]) -> Figure:
    volume, bare = (statistics.median(each) for each in rates)
    note = f"{bare:,.0f} in a file of the pool's own xfs: {volume / bare:.2f} times"
    return Figure(label, volume, unit, note=note)


def _taken(path: Path, work: Callable[[int, mmap.mmap], None]) -> float:
    """Seconds that the work takes with the file opened for direct I/O."""
    descriptor = os.open(path, os.O_RDWR | os.O_DIRECT)
    with mmap.mmap(-1, PIECE) as buffer:
        try:
            return timed(lambda: work(descriptor, buffer)) / 1e3
        finally:
            os.close(descriptor)


def _write(path: Path) -> None:
    with path.open("wb") as file:
        for _ in range(PIECES):
            file.write(os.urandom(PIECE))
        os.fsync(file.fileno())


def _rewrite(descriptor: int, buffer: mmap.mmap) -> None:
    for number in range(PIECES):
        os.pwritev(descriptor, [buffer], number * PIECE)


def _random_reads(descriptor: int, buffer: mmap.mmap) -> None:
    chosen = random.Random(1)
    block = memoryview(buffer)[:BLOCK]
    for _ in range(READS):
        os.preadv(descriptor, [block], chosen.randrange(PIECE * PIECES // BLOCK) * BLOCK)
    block.release()
