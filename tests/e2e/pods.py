"""How long a user waits for a pod with a new claim, and who takes the time: `make bench-pods`.

Pods with a claim of this driver, pods without any volume and, with PEER=FOLDER, pods with a claim
of csi-driver-host-path are made one at a time on one node: one of each in a round, in random order
and with random pauses. Kubelet looks at volumes by clocks of its own, and in a fixed rhythm one
kind would always meet them early and another one late. The steps are from the API server's audit
log, the driver's log and containerd's; docs/performance.md gets the figures.
"""

from __future__ import annotations

import argparse
import os
import random
import statistics
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from rich.console import Console

from tests.bench import performance, pod_steps
from tests.bench.pod_steps import MILESTONES, Milestone
from tests.e2e import objects, peer, release, timeline
from tests.e2e.cluster import CALL, Cluster, Kube
from tests.e2e.release import NODES, Release
from tools import e2e_images
from tools.shell import say

NODE: Final = NODES[1]
SPACE: Final = "pods"
ROUNDS: Final = 20
SETTLED: Final = 1.0  # seconds until everybody has written what a pod did
PAUSE: Final = 5.0  # seconds before a pod, at most
CELLAR: Final = "a claim of Cellar"
NONE: Final = "no volume"
PEER: Final = "a claim of csi-driver-host-path"


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of pods. `storage_class`: of its claim; None: it has none.

    `seconds`: of each pod, as a client sees it. `steps`: of each pod.
    """

    label: str
    storage_class: str | None
    seconds: list[float] = field(default_factory=list)
    steps: list[Mapping[Milestone, float]] = field(default_factory=list)


def main(arguments: Sequence[str]) -> int:
    options = _options(arguments)
    folder = Path(os.environ["PEER"]) if os.environ.get("PEER") else None
    if folder:
        peer.check(folder)
    cluster = Cluster()
    try:
        _prepare(cluster, folder)
        kinds = measured(Kube(cluster), options.rounds, with_peer=folder is not None)
    finally:
        if not release.keep_going():
            cluster.wipe()
    lines = table(kinds)
    Console(width=160, highlight=False).print("\n".join(lines), markup=False)
    if options.write:
        performance.write_lines("pods", lines)
    return 0


def _options(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.e2e.pods", description=__doc__)
    parser.add_argument("-n", "--rounds", type=int, default=ROUNDS, help="pods of each kind")
    parser.add_argument("--write", action="store_true", help="into docs/performance.md too")
    return parser.parse_args(arguments)


def _prepare(cluster: Cluster, folder: Path | None) -> None:
    if not (release.keep_going() and cluster.is_up()):
        cluster.wipe()
        release.bring_up(cluster)
    kube = Kube(cluster)
    driver = Release(cluster, kube)
    driver.install()
    driver.ready()
    if folder:
        cluster.load(e2e_images.peer_archives(folder))
        peer.install(kube, NODE)
    kube.delete("namespace", SPACE)
    kube.apply(objects.namespace(SPACE))
    kube.until(lambda: kube.get("serviceaccount", "default", SPACE), "pods may be made")


def measured(kube: Kube, rounds: int, *, with_peer: bool) -> list[Kind]:
    """Measure the kinds by turns, after one round that counts for none of them."""
    kinds = [Kind(NONE, None), Kind(CELLAR, "cellar")]
    kinds += [Kind(PEER, peer.CLASS)] if with_peer else []
    for turn in range(rounds + 1):
        for kind in random.sample(kinds, len(kinds)):
            time.sleep(random.uniform(0, PAUSE))
            seconds, steps = _pod(kube, kind, f"pod-{turn}")
            say(f"{turn}: {kind.label}: {seconds:.2f} s")
            if turn:
                kind.seconds.append(seconds)
                kind.steps.append(steps)
    return kinds


def _pod(kube: Kube, kind: Kind, name: str) -> tuple[float, Mapping[Milestone, float]]:
    """Make a pod with its claim and delete both; return its seconds and steps."""
    claims = {name: "/data"} if kind.storage_class else {}
    wanted = [objects.pod(name, SPACE, claims, node=NODE)]
    if kind.storage_class:
        wanted.insert(0, objects.claim(name, SPACE, of=kind.storage_class))
    begin, start = datetime.now(UTC), time.monotonic()
    kube.apply(*wanted)
    timeout = f"--timeout={int(CALL) - 10}s"
    kube("wait", f"pod/{name}", "-n", SPACE, "--for=condition=Ready", timeout)
    seconds, end = time.monotonic() - start, datetime.now(UTC)
    time.sleep(SETTLED)
    happenings = timeline.everything_since(kube, begin, {name}, NODE)
    before = [happening for happening in happenings if happening.at <= end]
    steps = pod_steps.durations(begin, pod_steps.reached(before))
    _delete(kube, kind, name)
    return seconds, steps


def _delete(kube: Kube, kind: Kind, name: str) -> None:
    claim: Any = kube.get("pvc", name, SPACE) if kind.storage_class else None
    kube.delete("pod", name, SPACE)
    if claim:
        kube.delete("pvc", name, SPACE)
        kube.gone("pv", claim["spec"]["volumeName"])


def table(kinds: Sequence[Kind]) -> list[str]:
    """Return the lines of the tables: how long all takes, who takes it, and each step."""
    labels = [f"{kind.label}, {len(kind.seconds)} pods" for kind in kinds]
    lines = [f"| median | {' | '.join(labels)} |", f"|---|{'---:|' * len(kinds)}"]
    lines.append(_row("**from apply to ready**", [_spread(kind.seconds) for kind in kinds]))
    owners = [pod_steps.by_owner(kind.steps) for kind in kinds]
    every_owner = dict.fromkeys(owner for each in owners for owner in each)
    lines += [_row(owner, [_seconds(each.get(owner)) for each in owners]) for owner in every_owner]
    lines += ["", f"| step | whose | {' | '.join(kind.label for kind in kinds)} |"]
    lines.append(f"|---|---|{'---:|' * len(kinds)}")
    medians = [pod_steps.medians(kind.steps) for kind in kinds]
    lines += [
        _row(f"{step.label} | {step.owner}", [_seconds(each.get(step)) for each in medians])
        for step in MILESTONES
        if any(step in each for each in medians)
    ]
    return lines


def _row(label: str, cells: Sequence[str]) -> str:
    return f"| {label} | {' | '.join(cells)} |"


def _spread(seconds: Sequence[float]) -> str:
    if not seconds:
        return ""
    return f"{statistics.median(seconds):.2f} s ({min(seconds):.2f} to {max(seconds):.2f})"


def _seconds(value: float | None) -> str:
    return "" if value is None else f"{1e3 * value:,.0f} ms"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
