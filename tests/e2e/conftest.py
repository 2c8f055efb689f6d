"""One cluster for all tests of a run. They run in the order of their files: later ones are harder on it.

KEEP=1 leaves the cluster up; the next run begins with what it finds.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e import objects, release
from tests.e2e.cluster import RUN, Cluster, Kube
from tests.e2e.release import SPACE, Release
from tools.shell import CACHE

HERE = Path(__file__).parent
LOGS = CACHE / "e2e/logs/last"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.is_relative_to(HERE):
            item.add_marker(pytest.mark.e2e)
            item.add_marker(pytest.mark.timeout(600))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if LOGS.exists() and terminalreporter.stats.get("failed"):
        terminalreporter.section("logs")
        terminalreporter.write_line(f"of the nodes, the driver and the sidecars: {LOGS}")


@pytest.fixture(scope="session")
def cluster(request: pytest.FixtureRequest) -> Iterator[Cluster]:
    """Two nodes with all images, the snapshot CRDs and their controller; no driver yet."""
    one = Cluster()
    before = _loops()
    if not (release.keep_going() and one.is_up()):
        one.wipe()
        before = _loops()
        release.bring_up(one)
    yield one
    if request.session.testsfailed:
        _keep(one)
    if release.keep_going():
        return
    one.wipe()
    assert _loops() <= before
    assert str(RUN) not in Path("/proc/self/mountinfo").read_text()


@pytest.fixture(scope="session")
def kube(cluster: Cluster) -> Kube:
    return Kube(cluster)


@pytest.fixture(scope="session")
def bare(cluster: Cluster, kube: Kube) -> Release:
    """The chart, that nobody has installed yet."""
    return Release(cluster, kube)


@pytest.fixture(scope="session")
def driver(bare: Release) -> Release:
    """The chart, installed, and both nodes with a pool."""
    bare.ready()
    return bare


@pytest.fixture
def space(kube: Kube, request: pytest.FixtureRequest) -> Iterator[str]:
    """A namespace for a test. It goes by and by: test_90 looks whether all of them went."""
    name = request.node.name.removeprefix("test_").replace("_", "-")[:60].strip("-")
    if kube.get("namespace", name):
        kube.delete("namespace", name)
    kube.apply(objects.namespace(name))
    kube.until(lambda: kube.get("serviceaccount", "default", name), "pods may be made")
    yield name
    kube.delete("namespace", name, wait=False)


def _loops() -> set[str]:
    """Loop devices of this cluster's disks and volumes, those of dead nodes too (`/ID/disk.img`)."""
    text = subprocess.check_output(["losetup", "-nl", "-O", "NAME,BACK-FILE"], text=True)
    ours = re.compile(rf" ({RUN}/|/var/lib/(cellar/pools|kubelet)/|/[0-9a-f]{{12}}-)")
    return {line for line in text.splitlines() if ours.search(line)}


def _keep(one: Cluster) -> None:
    """What a failed run leaves to be read."""
    shutil.rmtree(LOGS, ignore_errors=True)
    LOGS.mkdir(parents=True)
    one.keep_logs(LOGS)
    asked = {
        "objects.txt": ["get", "all,pvc,pv,volumeattachments,csinodes,csistoragecapacities", "-A"],
        "events.txt": ["get", "events", "-A", "--sort-by=.lastTimestamp"],
        "pods.yaml": ["-n", SPACE, "get", "pods", "-o", "yaml"],
    }
    for name, words in asked.items():
        (LOGS / name).write_text(_asked(one, words))
    for pod in _asked(one, ["-n", SPACE, "get", "pods", "-o", "name"]).split():
        words = ["-n", SPACE, "logs", pod, "--all-containers", "--prefix", "--tail=5000"]
        (LOGS / f"{pod.rpartition('/')[2]}.log").write_text(_asked(one, words))


def _asked(one: Cluster, words: list[str]) -> str:
    try:
        return one.run("kubectl", *words)
    except Exception as error:  # noqa: BLE001 - a log that cannot be had must not hide the others
        return str(error)
