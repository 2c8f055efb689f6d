"""`python -m tests.torture [--seconds N] [--seed N] [--fs FS ...] [--clients N]`: `make torture`.

Several clients drive one driver on real disks with calls that are doubled, repeated and given up,
while it is killed, its disk is copied as a power cut leaves it, filled, frozen, made read-only and
taken away. Every answer and
every byte is compared with a model. The seed fixes what each client and each disturbance chooses,
not how their calls meet. Exit status 1 if anything was found.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from threading import Event, Thread

from tests.support import disks
from tests.support.node import Node
from tests.support.waiting import wait_until
from tests.torture import disturbances
from tests.torture.client import TortureClient
from tests.torture.model import Model
from tests.torture.run import Findings, TortureRun

DISK = 4 * disks.GIB  # bytes, of the pool
STANDSTILL = 200.0  # seconds until all clients have ended the step that they are in


def torture(fs: str, seed: int, seconds: float, clients: int) -> tuple[Findings, Counter[str]]:
    """Run for `seconds` on a pool on `fs`; what was found, and how much was done."""
    findings, counts = Findings(seed), Counter[str]()
    with disks.shelf() as shelf:
        node = Node(shelf)
        try:
            disk = node.disk(fs, DISK)
            csi = node.start(f"p=loopfile:{disk.where}")
            torture = TortureRun(
                node, disk, csi, Model(), findings, random.Random(f"{seed}/{fs}"), counts
            )
            _run(torture, seconds, clients)
            if findings.texts:
                _keep_log(csi.driver.log, fs, seed)
        finally:
            node.close()
    return findings, counts


def _keep_log(log: Path, fs: str, seed: int) -> None:
    kept = Path(tempfile.gettempdir(), f"torture-{seed}-{fs}.log")
    shutil.copyfile(log, kept)
    print(f"the driver's log: {kept}", flush=True)


def _run(torture: TortureRun, seconds: float, clients: int) -> None:
    stop, pause = Event(), Event()
    actors = [TortureClient(number, torture) for number in range(clients)]
    torture.standing_still = partial(_standing_still, actors, pause)
    threads = [Thread(target=one.run, args=(stop, pause), daemon=True) for one in actors]
    for thread in threads:
        thread.start()
    end = time.monotonic() + seconds
    while time.monotonic() < end and not torture.findings.texts:
        time.sleep(torture.chosen.uniform(0.5, 2.5))
        name = torture.chosen.choice(list(disturbances.ALL))
        torture.counts[name] += 1
        disturbances.ALL[name](torture)
        if torture.chosen.random() < 0.25:
            _compare_all(torture)
    stop.set()
    for thread in threads:
        thread.join(STANDSTILL)
    _end(torture, actors)


@contextmanager
def _standing_still(actors: list[TortureClient], pause: Event, *, down: bool) -> Iterator[None]:
    pause.set()
    wait_until(lambda: all(client.idle.is_set() for client in actors), STANDSTILL)
    try:
        for client in actors if down else ():
            client.take_down()
        yield
    finally:
        for client in actors:
            client.idle.clear()
        pause.clear()


def _compare_all(torture: TortureRun) -> None:
    with torture.standing_still(down=False):
        disturbances.look_at_all(torture)
        if still := disturbances.frozen(torture):
            torture.findings.add(f"frozen, and nobody thaws: {still}")
        torture.counts["comparisons of all"] += 1


def _end(torture: TortureRun, actors: list[TortureClient]) -> None:
    for one in actors:
        one.clear()
        torture.counts["calls"] += one.calls
    disturbances.look_at_all(torture)
    for what in (torture.node.mounts(), torture.node.loops()):
        if what and not torture.findings.texts:
            torture.findings.add(f"left after everything was taken down: {what}")


def main() -> int:
    """Run each filesystem for its share of the time."""
    parser = argparse.ArgumentParser(prog="make torture")
    parser.add_argument("--seconds", type=float, default=180.0)
    parser.add_argument("--seed", type=int, default=int.from_bytes(os.urandom(3), "big"))
    parser.add_argument("--fs", nargs="+", default=["xfs", "ext4", "btrfs"])
    parser.add_argument("--clients", type=int, default=4)
    chosen = parser.parse_args()
    print(f"seed {chosen.seed}: {chosen.seconds:.0f} s on {', '.join(chosen.fs)}", flush=True)
    failed = []
    for fs in chosen.fs:
        share = chosen.seconds / len(chosen.fs)
        findings, counts = torture(fs, chosen.seed, share, chosen.clients)
        done = ", ".join(f"{number} {what}" for what, number in sorted(counts.items()))
        print(f"{fs}: {len(findings.texts)} findings; {done}", flush=True)
        failed += [fs] if findings.texts else []
    print(f"torture: {len(chosen.fs) - len(failed)} passed, {len(failed)} failed")
    return int(bool(failed))


if __name__ == "__main__":
    sys.exit(main())
