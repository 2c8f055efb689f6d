"""The figures: each function measures one thing and gives Figures."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import psutil

from csi_proto import csi_pb2 as pb
from driver.linux import fiemap
from tests.bench import floor
from tests.bench.peer import Peer
from tests.support.client import MIB, Csi, of_volume
from tests.support.disks import GIB
from tests.support.node import Life, Node

PARALLEL = 8
WRITTEN = 2 * GIB
FRAGMENTS = 20_000
MANY = 1_000

_serial = count()


@dataclass(frozen=True)
class Figure:
    """One row; times in milliseconds. `target` is what the project wants, for people to compare."""

    name: str
    value: float
    unit: str = "ms"
    floor: float | None = None
    ratio: float | None = None
    peer: float | None = None
    target: str = ""
    note: str = ""


def timed(call: Callable[[], object]) -> float:
    start = time.perf_counter()
    call()
    return 1e3 * (time.perf_counter() - start)


def name() -> str:
    return f"bench-{os.getpid()}-{next(_serial)}"


@dataclass(frozen=True)
class Contest:
    """A pool of the bench's own, a driver on it, and perhaps somebody to compare with."""

    pool: Path
    floor_pool: Path  # a directory beside the driver's, on the same filesystem
    kubelet_dir: Path
    ours: Peer
    peer: Peer | None

    def floor(self) -> None:
        floor.life(self.floor_pool, self.kubelet_dir, name(), self.ours.empty_call)

    def lives(self, peer: Peer) -> None:
        peer.life(name())


def one_life(contest: Contest, fs: str, rounds: int) -> Iterator[Figure]:
    """The driver, the floor and the peer take turns, so that a busy moment hits them alike."""
    ours, bare, peers = [], [], []
    for turn in range(rounds + 2):
        times = timed(lambda: contest.lives(contest.ours)), timed(contest.floor)
        theirs = timed(lambda: contest.lives(contest.peer)) if contest.peer else None  # type: ignore[arg-type]
        if turn < 2:
            continue  # warm
        ours.append(times[0])
        bare.append(times[1])
        peers += [theirs] if theirs is not None else []
    value, least = statistics.median(ours), statistics.median(bare)
    yield Figure(
        f"one life of a volume, {fs} pool",
        value,
        floor=least,
        ratio=value / least,
        peer=statistics.median(peers) if peers else None,
        target="ratio <= 1.5 (1.3)" if fs == "xfs" else "",
        note=f"{contest.ours.calls} calls, median of {rounds}"
        + (f"; the peer made {contest.peer.calls}" if contest.peer else ""),
    )


def parallel_lives(contest: Contest, fs: str, rounds: int) -> Iterator[Figure]:
    """How much eight at once gain over eight in a row: the driver's gain over the floor's."""

    def together(life: Callable[[], object]) -> float:
        with ThreadPoolExecutor(PARALLEL) as threads:
            return timed(lambda: list(threads.map(lambda _: life(), range(PARALLEL))))

    def ours() -> None:
        contest.lives(contest.ours)

    one_by_one: dict[Callable[[], None], list[float]] = {ours: [], contest.floor: []}
    at_once: dict[Callable[[], None], list[float]] = {ours: [], contest.floor: []}
    for turn in range(rounds + 1):
        for life in (ours, contest.floor):
            times = statistics.median(timed(life) for _ in range(PARALLEL)), together(life)
            if turn:  # the first one warms up
                one_by_one[life].append(times[0])
                at_once[life].append(times[1])
    value, bare = (statistics.median(at_once[life]) for life in (ours, contest.floor))
    our_gain = PARALLEL * statistics.median(one_by_one[ours]) / value
    floor_gain = PARALLEL * statistics.median(one_by_one[contest.floor]) / bare
    peer = together(lambda: contest.lives(contest.peer)) if contest.peer else None  # type: ignore[arg-type]
    yield Figure(
        f"{PARALLEL} lives at once, {fs} pool",
        value,
        floor=bare,
        ratio=our_gain / floor_gain,
        peer=peer,
        target="gain ratio >= 0.75" if fs != "btrfs" else "reported only",
        note=f"gain {our_gain:.2f}, the floor's {floor_gain:.2f}",
    )


def snapshots(node: Node, csi: Csi, pool: Path, fs: str, rounds: int) -> Iterator[Figure]:
    """Of a mounted volume with 2 GiB in it, written in few extents and synced."""
    life = node.life(csi, csi.create(name(), 4 * GIB).volume_id)
    life.up()
    _write(life.target / "data", WRITTEN)
    extents = _extents(pool, life.volume_id)
    yield from _taken(csi, life, rounds, f"2 GiB, {extents} extents, {fs}", "<= 100 ms")
    life.down()
    csi.delete(life.volume_id)


def fragmented(node: Node, csi: Csi, pool: Path, fs: str, rounds: int) -> Iterator[Figure]:
    """Every second block of a block volume: nothing can be merged."""
    volume = csi.create(name(), 512 * MIB, block=True)
    life = node.life(csi, volume.volume_id, block=True)
    life.up()
    descriptor = os.open(life.target, os.O_WRONLY)
    for number in range(FRAGMENTS):
        os.pwrite(descriptor, b"\x5a" * 4096, number * 8192)
    os.fsync(descriptor)
    os.close(descriptor)
    extents = _extents(pool, life.volume_id)
    for figure in _taken(csi, life, rounds, f"{extents} extents, {fs}", "reported only"):
        per = figure.value * 10_000 / max(extents, 1)
        yield Figure(f"{figure.name}, for each 10,000", per, target=figure.target)
    life.down()
    csi.delete(life.volume_id)


def _taken(csi: Csi, life: Life, rounds: int, subject: str, target: str) -> Iterator[Figure]:
    size = csi.volumes()[life.volume_id].capacity_bytes
    clone = csi.create_request("bench-clone", size, source=of_volume(life.volume_id), **life.how)

    def snapshot_taken() -> object:
        return csi.snapshot("bench-snapshot", life.volume_id)

    def cloned() -> pb.CreateVolumeResponse:
        return csi.controller.CreateVolume(clone, timeout=60)

    snapshots, clones = [], []
    for _ in range(rounds):
        os.sync()
        snapshots.append(timed(snapshot_taken))
        csi.delete_snapshot(*csi.snapshots())
        os.sync()
        clones.append(timed(cloned))
        csi.delete(cloned().volume.volume_id)
    yield Figure(f"snapshot, mounted: {subject}", statistics.median(snapshots), target=target)
    yield Figure(f"clone, mounted: {subject}", statistics.median(clones), target=target)


def _write(path: Path, size: int) -> None:
    with path.open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, size)
        for _ in range(size // (64 * MIB)):
            file.write(os.urandom(MIB) * 64)
        file.flush()
        os.fsync(file.fileno())


def _extents(pool: Path, volume_id: str) -> int:
    [image] = [path for path in (pool / volume_id).iterdir() if path.stat().st_size >= 512 * MIB]
    return sum(1 for _ in fiemap.mapped(image))  # filefrag would merge neighbours


def listing(csi: Csi) -> Iterator[Figure]:
    """With as many volumes as a large machine has."""
    for number in range(MANY):
        csi.create(f"listed-{number}", MIB, block=True)
    times = [timed(csi.volumes) for _ in range(7)]
    yield Figure(f"ListVolumes of {MANY:,}", statistics.median(times), target="<= 200 ms")
    for volume in csi.volumes():
        csi.delete(volume)


def starting(node: Node, pool: str, rounds: int) -> Iterator[Figure]:
    """From the start of the process to the answer of Probe; and what it weighs when idle."""
    times, weights = [], []
    for _ in range(rounds):
        start = time.perf_counter()
        csi = node.start(pool)
        csi.probe()
        times.append(1e3 * (time.perf_counter() - start))
        weights.append(weight(csi) / MIB)
        csi.driver.stop()
    yield Figure("from start to a ready socket", statistics.median(times), target="<= 1000 ms")
    yield Figure(
        "idle memory, PSS with the child", statistics.median(weights), "MiB", target="<= 64 MiB"
    )


def weight(csi: Csi) -> int:
    process = psutil.Process(csi.driver.pid)
    everyone = [process, *process.children(recursive=True)]
    return sum(each.memory_full_info().pss for each in everyone)
