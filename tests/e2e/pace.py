"""How long a user waits: from `kubectl apply` of a claim and its pod to the pod that runs."""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tests.e2e import objects
from tests.e2e.cluster import CALL, Kube


@dataclass(frozen=True, slots=True)
class Pace:
    """Of one storage class; seconds, as seen by a client that watches."""

    of: str
    times: Sequence[float]

    def __str__(self) -> str:
        few, most = min(self.times), max(self.times)
        median = statistics.median(self.times)
        return f"{self.of}: {median:.2f} s ({few:.2f} to {most:.2f}, {len(self.times)} pods)"


def measured(kube: Kube, space: str, classes: Sequence[str], rounds: int) -> list[Pace]:
    """The classes take turns, so that a busy moment hits them alike; one pod at a time."""
    times: dict[str, list[float]] = {one: [] for one in classes}
    for _ in range(rounds):
        for one, found in times.items():
            found.append(_once(kube, space, one))
    return [Pace(one, found) for one, found in times.items()]


def _once(kube: Kube, space: str, of: str) -> float:
    begin = time.monotonic()
    kube.apply(objects.claim("pace", space, of=of), objects.pod("pace", space, {"pace": "/data"}))
    patience = f"--timeout={int(CALL) - 10}s"
    kube("wait", "pod/pace", "-n", space, "--for=condition=Ready", patience)
    taken = time.monotonic() - begin
    kube.delete("pod", "pace", space)
    claim: Any = kube.get("pvc", "pace", space)
    kube.delete("pvc", "pace", space)
    kube.gone("pv", claim["spec"]["volumeName"])
    return taken
