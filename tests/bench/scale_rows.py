"""The rows of `make bench-scale`: the same calls to an empty driver and to a full one, by turns."""

from __future__ import annotations

import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median

from csi_proto import csi_pb2 as pb
from driver.core.model import GIB, MIB
from tests.bench.measures import timed, weight
from tests.support.client import SECONDS, Csi
from tests.support.node import Life, Node

SIZE = GIB  # of each volume
PAGE = 500  # entries
CELLAR = (sys.executable, "-m", "driver")


@dataclass(frozen=True)
class Row:
    """A figure of the empty driver and of the full one, and what the project wants."""

    name: str
    empty: float
    full: float
    unit: str = "ms"
    most: float | None = None  # of the full one
    ratio: float | None = None  # at most, of the full one to the empty one

    @property
    def target(self) -> str:
        if self.most is not None:
            return f"≤ {self.most:,.0f} {self.unit}"
        return f"≤ {self.ratio} times" if self.ratio else ""

    @property
    def kept(self) -> bool:
        most = self.empty * self.ratio if self.ratio else self.most
        return most is None or self.full <= most


@dataclass(frozen=True)
class ServedPool:
    """A driver on a pool of its own. `port`: of its metrics, on 127.0.0.1."""

    node: Node
    directory: Path
    csi: Csi
    port: int

    def life(self, name: str) -> Life:
        return self.node.life(self.csi, self.csi.create(name, SIZE).volume_id, pod="bench")


def compared(empty: ServedPool, full: ServedPool, rounds: int) -> Iterator[Row]:
    """All rows, each as soon as it was measured."""
    both = empty, full
    yield Row("GetCapacity", *_by_turns(both, rounds, _capacity), most=5)
    yield from _lives(both, rounds)
    yield Row("ListVolumes, all", *_by_turns(both, 5, _listed), most=1000)
    yield Row(f"ListVolumes, in pages of {PAGE}", *_by_turns(both, 5, _paged))
    yield Row("`cellar volumes`", *_by_turns(both, 5, _command))
    yield Row("metrics of all volumes", *_by_turns(both, 5, scraped), most=1000)
    weights = [weight(served.csi) / MIB for served in both]
    yield Row("memory (PSS)", weights[0], weights[1], "MiB", most=160)
    yield Row("from start to ready", *_by_turns(both, 3, _ready), most=3000)


def growing(served: ServedPool) -> Iterator[tuple[str, float]]:
    """Milliseconds of the calls whose cost might grow with the number of volumes, by label."""
    yield "GetCapacity", _median(served, 20, _capacity)
    yield "CreateVolume and DeleteVolume", _median(served, 20, _created)
    yield "ListVolumes, all", _median(served, 5, _listed)
    yield "ListVolumes, a page of 500", _median(served, 10, _page)
    yield "from start to ready", _median(served, 2, _ready)


def _median(served: ServedPool, times: int, call: Callable[[ServedPool], object]) -> float:
    """The median, after a first call that warms up."""
    call(served)
    return median(timed(partial(call, served)) for _ in range(times))


def _by_turns(
    both: tuple[ServedPool, ServedPool], turns: int, call: Callable[[ServedPool], object]
) -> tuple[float, float]:
    """The medians of both, without a first turn that warms up."""
    times: tuple[list[float], list[float]] = ([], [])
    for turn in range(turns + 1):
        for served, kept in zip(both, times, strict=True):
            took = timed(partial(call, served))
            if turn:
                kept.append(took)
    return median(times[0]), median(times[1])


def _lives(both: tuple[ServedPool, ServedPool], rounds: int) -> Iterator[Row]:
    """Each call of a volume's life, and all of them."""
    times: list[list[dict[str, float]]] = [[], []]
    for turn in range(rounds + 1):
        for served, kept in zip(both, times, strict=True):
            kept.append(_life(served, f"life-{turn}"))
    for call in times[0][0]:
        few, many = (median(life[call] for life in lives[1:]) for lives in times)
        yield Row(call, few, many, ratio=1.25)
    few, many = (median(sum(life.values()) for life in lives[1:]) for lives in times)
    yield Row("one life", few, many, ratio=1.25)


def _life(served: ServedPool, name: str) -> dict[str, float]:
    lives: list[Life] = []
    took = {"CreateVolume": timed(lambda: lives.append(served.life(name)))}
    [life] = lives
    took["NodeStageVolume"] = timed(life.stage)
    took["NodePublishVolume"] = timed(life.publish)
    took["NodeUnpublishVolume"] = timed(life.unpublish)
    took["NodeUnstageVolume"] = timed(life.unstage)
    took["DeleteVolume"] = timed(lambda: served.csi.delete(life.volume_id))
    return took


def _capacity(served: ServedPool) -> object:
    return served.csi.capacity()


def _created(served: ServedPool) -> None:
    served.csi.delete(served.csi.create("growing", SIZE).volume_id)


def _page(served: ServedPool) -> object:
    page = pb.ListVolumesRequest(max_entries=PAGE)
    return served.csi.controller.ListVolumes(page, timeout=SECONDS)


def _listed(served: ServedPool) -> object:
    return served.csi.volumes()


def _paged(served: ServedPool) -> None:
    token, first = "", True
    while token or first:
        page = pb.ListVolumesRequest(max_entries=PAGE, starting_token=token)
        answer = served.csi.controller.ListVolumes(page, timeout=SECONDS)
        token, first = answer.next_token, False


def _command(served: ServedPool) -> None:
    words = [*CELLAR, "volumes", "--endpoint", served.csi.driver.endpoint]
    subprocess.run(words, stdout=subprocess.DEVNULL, check=True, env=dict(os.environ))


def scraped(served: ServedPool) -> bytes:
    """Return the metrics of the driver."""
    with urllib.request.urlopen(f"http://127.0.0.1:{served.port}/metrics", timeout=60) as answer:
        return bytes(answer.read())


def _ready(served: ServedPool) -> None:
    """Stopped and started; until Probe says that it is ready."""
    served.csi.driver.restart()
    while not served.csi.probe():
        time.sleep(0.01)
