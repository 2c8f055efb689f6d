"""Where the time goes from a claim and its pod to the pod that runs: the arithmetic.

What happened is known from the logs of all who took part. A step ends at its milestone and begins
at the one before, so that all steps together are the whole time.
"""

from __future__ import annotations

import re
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum
from typing import Protocol

ANYBODY = ""


class Happening(Protocol):
    """Who did what; a call says at its end how long it took."""

    @property
    def at(self) -> datetime: ...
    @property
    def actor(self) -> str: ...
    @property
    def what(self) -> str: ...


class Moment(Enum):
    """Which moment of the happenings that match is the milestone."""

    FIRST = "of the first"
    LAST = "of the last"
    CALLED = "of the first, before its call began"


@dataclass(frozen=True, slots=True)
class Milestone:
    """The end of a step. `owner`: whose step it is. `actor`: a prefix; `pattern`: of the text."""

    label: str
    owner: str
    actor: str
    pattern: str
    moment: Moment = Moment.FIRST


KUBELET, DRIVER = "kubelet", "driver"
MILESTONES = (
    Milestone("the pod is created", "API server", "kubectl", r"create pods\b(?!/)"),
    Milestone(
        "a node is chosen",
        "scheduler",
        "scheduler",
        r"(update|patch) persistentvolumeclaims\b(?!/)",
    ),
    Milestone(
        "the provisioner calls", "csi-provisioner", "cellar route", r"CreateVolume\b", Moment.CALLED
    ),
    Milestone("CreateVolume", DRIVER, "cellar route", r"CreateVolume\b"),
    Milestone(
        "the volume is there", "csi-provisioner", ANYBODY, r"create persistentvolumes\b(?!/)"
    ),
    Milestone(
        "the claim is bound",
        "controller manager",
        "volume binder",
        "update persistentvolumeclaims/status",
    ),
    Milestone("the pod is bound", "scheduler", "scheduler", "create pods/binding"),
    Milestone(
        "an attachment is made", "controller manager", ANYBODY, r"create volumeattachments\b(?!/)"
    ),
    Milestone(
        "the attacher calls",
        "csi-attacher",
        "cellar route",
        r"ControllerPublishVolume\b",
        Moment.CALLED,
    ),
    Milestone("ControllerPublishVolume", DRIVER, "cellar route", r"ControllerPublishVolume\b"),
    Milestone("the volume is attached", "csi-attacher", ANYBODY, "patch volumeattachments/status"),
    Milestone(
        "kubelet calls to stage", KUBELET, "cellar node", r"NodeStageVolume\b", Moment.CALLED
    ),
    Milestone("NodeStageVolume", DRIVER, "cellar node", r"NodeStageVolume\b"),
    Milestone(
        "kubelet calls to publish", KUBELET, "cellar node", r"NodePublishVolume\b", Moment.CALLED
    ),
    Milestone("NodePublishVolume", DRIVER, "cellar node", r"NodePublishVolume\b"),
    Milestone("kubelet asks for a sandbox", KUBELET, "containerd", r"RunPodSandbox (?!.*returns)"),
    Milestone("the sandbox runs", "containerd", "containerd", r"RunPodSandbox .*returns"),
    Milestone("kubelet asks for the container", KUBELET, "containerd", "CreateContainer "),
    Milestone("the container runs", "containerd", "containerd", r"StartContainer .*returns"),
    Milestone("the pod is ready", KUBELET, KUBELET, "patch pods/status", Moment.LAST),
)
_TOOK = re.compile(r", ([\d.]+) ms$")


def reached(
    happenings: Iterable[Happening], milestones: Sequence[Milestone] = MILESTONES
) -> dict[Milestone, datetime]:
    """Return when each milestone was reached, without those that nothing matches."""
    ordered = sorted(happenings, key=lambda happening: happening.at)
    found: dict[Milestone, datetime] = {}
    for milestone in milestones:
        matching = [each for each in ordered if _matches(each, milestone)]
        if matching:
            happening = matching[-1 if milestone.moment is Moment.LAST else 0]
            called = milestone.moment is Moment.CALLED
            found[milestone] = happening.at - _taken(happening) * called
    return found


def durations(
    begin: datetime,
    times: Mapping[Milestone, datetime],
    milestones: Sequence[Milestone] = MILESTONES,
) -> dict[Milestone, float]:
    """Return the seconds of each step, of which the first begins at `begin`.

    A milestone that was reached before an earlier one took no time of its own, so that the sum is
    that from `begin` to the last of all.
    """
    latest, taken = begin, dict[Milestone, float]()
    for milestone in milestones:
        if at := times.get(milestone):
            taken[milestone] = max(0.0, (at - latest).total_seconds())
            latest = max(latest, at)
    return taken


def medians(pods: Sequence[Mapping[Milestone, float]]) -> dict[Milestone, float]:
    """Return the median of each step over those pods that had it."""
    return {
        milestone: statistics.median(pod[milestone] for pod in pods if milestone in pod)
        for milestone in MILESTONES
        if any(milestone in pod for pod in pods)
    }


def by_owner(pods: Sequence[Mapping[Milestone, float]]) -> dict[str, float]:
    """Return the median over the pods of the seconds that each owner's steps took, the most first."""
    owners = dict.fromkeys(milestone.owner for pod in pods for milestone in pod)
    sums = {
        owner: statistics.median(
            sum(seconds for milestone, seconds in pod.items() if milestone.owner == owner)
            for pod in pods
        )
        for owner in owners
    }
    return dict(sorted(sums.items(), key=lambda item: -item[1]))


def _matches(happening: Happening, milestone: Milestone) -> bool:
    by_actor = happening.actor.startswith(milestone.actor)
    return by_actor and re.match(milestone.pattern, happening.what) is not None


def _taken(happening: Happening) -> timedelta:
    match = _TOOK.search(happening.what)
    return timedelta(milliseconds=float(match[1])) if match else timedelta()
