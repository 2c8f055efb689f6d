"""The steps from a claim to a pod that runs: what the logs say, and what each step took."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.bench import pod_steps
from tests.bench.pod_steps import MILESTONES, Milestone
from tests.e2e import peer, pods

BEGIN = datetime(2026, 11, 27, 22, 0, tzinfo=UTC)


@dataclass(frozen=True)
class Entry:
    at: datetime
    actor: str
    what: str


def at(seconds: float) -> datetime:
    return BEGIN + timedelta(seconds=seconds)


# As tests/e2e/timeline.py tells them.
POD = [
    Entry(at(0.01), "kubectl", "create persistentvolumeclaims pods-cellar-1"),
    Entry(at(0.02), "kubectl", "create pods pods-cellar-1"),
    Entry(at(0.05), "scheduler", "update persistentvolumeclaims pods-cellar-1"),
    Entry(at(0.20), "cellar node-2", "CreateVolume: OK, 8.0 ms"),
    Entry(at(0.21), "cellar route", "CreateVolume: OK, 10.0 ms"),
    Entry(at(0.24), "csi-provisioner", "create persistentvolumes pvc-1"),
    Entry(at(0.25), "volume binder", "update persistentvolumes/status pvc-1"),
    Entry(at(0.26), "volume binder", "update persistentvolumeclaims/status pods-cellar-1"),
    Entry(at(1.00), "scheduler", "create pods/binding pods-cellar-1"),
    Entry(at(1.10), "attach-detach", "create volumeattachments csi-1"),
    Entry(at(1.14), "csi-attacher", "patch volumeattachments csi-1"),
    Entry(at(1.20), "cellar route", "ControllerPublishVolume 1: OK, 20.0 ms"),
    Entry(at(1.25), "csi-attacher", "patch volumeattachments/status csi-1"),
    Entry(at(1.05), "kubelet node-2", "patch pods/status pods-cellar-1"),
    Entry(at(2.01), "cellar node-2", "NodeStageVolume 1: OK, 10.0 ms"),
    Entry(at(2.03), "cellar node-2", "NodePublishVolume 1: OK, 5.0 ms"),
    Entry(at(2.30), "containerd node-2", "RunPodSandbox for pods-cellar-1"),
    Entry(at(2.50), "containerd node-2", "RunPodSandbox for pods-cellar-1 returns sandbox id ab"),
    Entry(at(2.51), "containerd node-2", "CreateContainer within sandbox ab for container c"),
    Entry(at(2.70), "containerd node-2", "StartContainer for cd returns successfully"),
    Entry(at(3.00), "kubelet node-2", "patch pods/status pods-cellar-1"),
]


def steps() -> dict[str, float]:
    taken = pod_steps.durations(BEGIN, pod_steps.reached(POD))
    return {milestone.label: seconds for milestone, seconds in taken.items()}


def test_each_step_is_found_in_the_logs_and_they_are_the_whole_time() -> None:
    taken = steps()
    assert list(taken) == [milestone.label for milestone in MILESTONES]
    assert sum(taken.values()) == pytest.approx(3.0)
    assert taken["the provisioner calls"] == pytest.approx(0.15)  # it was called 10 ms before
    assert taken["CreateVolume"] == pytest.approx(0.01)
    assert taken["the volume is attached"] == pytest.approx(0.05)
    assert taken["kubelet calls to publish"] == pytest.approx(0.015)
    assert taken["the pod is ready"] == pytest.approx(0.3)  # the last report, not the first


def test_what_a_driver_does_not_log_belongs_to_the_step_after_it() -> None:
    without = [entry for entry in POD if not entry.actor.startswith("cellar")]
    taken = pod_steps.durations(BEGIN, pod_steps.reached(without))
    by_label = {milestone.label: seconds for milestone, seconds in taken.items()}
    assert sum(by_label.values()) == pytest.approx(3.0)
    assert by_label["the volume is there"] == pytest.approx(0.24 - 0.05)
    assert by_label["kubelet asks for a sandbox"] == pytest.approx(2.30 - 1.25)


def test_a_pod_without_a_volume_has_the_steps_that_it_has() -> None:
    actors = {"kubectl", "scheduler", "kubelet node-2", "containerd node-2"}
    bare = [each for each in POD if each.actor in actors and "claims" not in each.what]
    labels = [milestone.label for milestone in pod_steps.reached(bare)]
    assert labels[:3] == ["the pod is created", "the pod is bound", "kubelet asks for a sandbox"]


@given(st.lists(st.none() | st.floats(0, 100), min_size=len(MILESTONES), max_size=len(MILESTONES)))
def test_steps_are_never_negative_and_add_up_in_any_order_of_milestones(
    seconds: list[float | None],
) -> None:
    times: dict[Milestone, datetime] = {
        milestone: at(after)
        for milestone, after in zip(MILESTONES, seconds, strict=True)
        if after is not None
    }
    taken = pod_steps.durations(BEGIN, times)
    assert set(taken) == set(times)
    assert all(step >= 0 for step in taken.values())
    last = max(times.values(), default=BEGIN)
    assert sum(taken.values()) == pytest.approx((last - BEGIN).total_seconds(), abs=1e-4)


def test_medians_are_of_those_pods_that_had_the_step_and_owners_have_the_sum_of_theirs() -> None:
    first, second = (m for m in MILESTONES if m.owner == "scheduler")
    driver = next(m for m in MILESTONES if m.owner == "driver")
    pods = [{first: 1.0, second: 2.0}, {first: 3.0, second: 4.0, driver: 9.0}, {first: 2.0}]
    assert pod_steps.medians(pods) == {first: 2.0, second: 3.0, driver: 9.0}
    assert pod_steps.by_owner(pods) == {"scheduler": 3.0, "driver": 0}


def test_the_table_has_all_kinds_of_pods_beside_each_other() -> None:
    times = pod_steps.reached(POD)
    bare = {each: moment for each, moment in times.items() if "pod" in each.label}
    kinds = [
        pods.Kind("no volume", None, [1.0], [pod_steps.durations(BEGIN, bare)]),
        pods.Kind("Cellar", "cellar", [3.0, 3.5], [pod_steps.durations(BEGIN, times)] * 2),
    ]
    lines = pods.table(kinds)
    assert lines[0] == "| median | no volume, 1 pods | Cellar, 2 pods |"
    assert lines[2].endswith("| 1.00 s (1.00 to 1.00) | 3.25 s (3.00 to 3.50) |")
    assert "| CreateVolume | driver |  | 10 ms |" in lines
    assert "| driver |  | 45 ms |" in lines
    assert {line.count("|") for line in lines if line} == {4, 5}


def test_the_peer_runs_with_the_sidecars_of_the_chart_on_one_node() -> None:
    *_, deployment = peer.peer_objects("node-2")
    spec = deployment["spec"]["template"]["spec"]
    names = [container["name"] for container in spec["containers"]]
    assert names == ["driver", "registrar", "csi-provisioner", "csi-attacher"]
    mounted = {mount["name"] for each in spec["containers"] for mount in each["volumeMounts"]}
    assert mounted == {volume["name"] for volume in spec["volumes"]}
    assert spec["nodeSelector"] == {"kubernetes.io/hostname": "node-2"}


def test_programs_of_the_peer_that_are_missing_are_named(tmp_path: Path) -> None:
    (tmp_path / "hostpathplugin").touch()
    with pytest.raises(SystemExit, match="it has no csi-node-driver-registrar"):
        peer.check(tmp_path)
