"""The files of deploy/examples do what they say. Only their images have other names here."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final, TypeAlias

import pytest

from driver.linux.devices import dm_ioctl
from tests import examples
from tests.e2e.cluster import Cluster, Kube
from tests.e2e.release import Release
from tools.e2e_images import BUSYBOX, POSTGRES

IMAGES: Final = {"busybox:1.37": BUSYBOX, "postgres:17": POSTGRES}
CONTAINERD: Final = ("ctr", "-a", "/run/containerd/containerd.sock", "-n", "k8s.io")
# Appends what the database has acknowledged, until it does not answer.
CLIENT: Final = (
    "cd /var/lib/postgresql/data; number=1;"
    ' while psql -U postgres -qc "INSERT INTO numbers VALUES ($number)";'
    " do echo $number >> acknowledged; number=$((number + 1)); done > /dev/null 2>&1 &"
)
WRITE: Final = "echo hello > /data/greeting && sync /data/greeting"
GIB: Final = 1 << 30

Apply: TypeAlias = Callable[[str], None]
Type: TypeAlias = Callable[[str], list[str]]


@pytest.fixture
def apply(driver: Release, kube: Kube, space: str) -> Iterator[Apply]:
    """Apply an example by its name. Afterwards its objects and volumes are deleted: until they
    are, the pools have less space, which other tests measure.
    """
    applied: list[str] = []

    def run(name: str) -> None:
        text = examples.with_images(name, IMAGES)
        applied.insert(0, text)
        kube("-n", space, "apply", "-f", "-", stdin=text)

    yield run
    # pods first, with a grace period of their own: `sleep` ignores SIGTERM for 30 s
    kube("-n", space, "delete", "statefulsets", "--all", "--cascade=orphan")
    kube("-n", space, "delete", "pods", "--all", "--grace-period=1", "--wait=false")
    for text in applied:
        kube("-n", space, "delete", "-f", "-", "--ignore-not-found", "--wait=false", stdin=text)
    kube("-n", space, "delete", "pvc", "--all", "--wait=false")
    kube.until(lambda: not _images(kube, space), "the volumes and snapshots are deleted", 150)


@pytest.fixture
def type_commands(cluster: Cluster, space: str) -> Type:
    """Type all commands in an example's comment; their outputs. CommandError."""

    def run(name: str) -> list[str]:
        there = f'kubectl() {{ command kubectl -n {space} "$@"; }}'
        typed = examples.commands(name)
        assert typed
        return [
            cluster.run("bash", "-euc", f"{there}\n{command}", timeout=180).strip()
            for command in typed
        ]

    return run


def test_a_pod_writes_to_its_claim(
    apply: Apply, type_commands: Type, kube: Kube, space: str
) -> None:
    apply("claim")
    kube.running("writer", space)
    type_commands("claim")
    assert kube.shell("writer", space, "cat /data/greeting") == "hello"
    assert 0.8 * GIB < _filesystem(kube, space, "writer", "/data") <= GIB


def test_a_snapshot_is_restored(apply: Apply, type_commands: Type, kube: Kube, space: str) -> None:
    apply("claim")
    kube.running("writer", space)
    kube.shell("writer", space, WRITE)
    apply("snapshot")
    assert type_commands("snapshot")[-1] == "hello"
    kube.shell("reader-of-snapshot", space, "echo other > /data/greeting")
    assert kube.shell("writer", space, "cat /data/greeting") == "hello"


def test_a_clone_is_independent(apply: Apply, type_commands: Type, kube: Kube, space: str) -> None:
    apply("claim")
    kube.running("writer", space)
    kube.shell("writer", space, WRITE)
    apply("clone")
    assert type_commands("clone")[-1] == "hello"
    kube.shell("writer", space, "echo other > /data/greeting")
    assert kube.shell("reader-of-clone", space, "cat /data/greeting") == "hello"


def test_the_log_of_a_stateful_set_goes_on_after_a_kill(
    apply: Apply, type_commands: Type, cluster: Cluster, kube: Kube, space: str
) -> None:
    apply("statefulset")
    kube.running("logger-0", space)
    kube.until(lambda: _numbers(kube, space) >= 3, "the log has lines")
    before = _numbers(kube, space)
    _kill(cluster, kube, space, "logger-0")
    kube.until(lambda: _numbers(kube, space) > before, "the log goes on")
    old = kube.running("logger-0", space)["metadata"]["uid"]
    type_commands("statefulset")  # the last command deletes the pod
    kube.until(
        lambda: (
            (kube.get("pod", "logger-0", space) or {}).get("metadata", {}).get("uid", old) != old
        ),
        "the pod is another one",
    )
    kube.running("logger-0", space)
    kube.until(lambda: _numbers(kube, space) > before + 1, "the log goes on")
    kube.running("logger-1", space)


def test_a_database_keeps_what_it_acknowledged_when_it_is_killed(
    apply: Apply, type_commands: Type, cluster: Cluster, kube: Kube, space: str
) -> None:
    apply("database")
    kube.running("database-0", space)
    type_commands("database")
    _sql(kube, space, "CREATE TABLE numbers (number int)")
    kube.shell("database-0", space, CLIENT)
    acknowledged = "cat /var/lib/postgresql/data/acknowledged 2> /dev/null || true"
    kube.until(
        lambda: len(kube.shell("database-0", space, acknowledged).split()) > 20, "rows are written"
    )
    _kill(cluster, kube, space, "database-0")
    kube.running("database-0", space)
    rows = set(_sql(kube, space, "SELECT number FROM numbers").split())
    assert set(kube.shell("database-0", space, acknowledged).split()) <= rows
    assert len(rows) > 20
    assert _sql(kube, space, "SELECT text FROM greetings") == "hello"


def test_a_raw_block_volume_is_a_device(
    apply: Apply, type_commands: Type, kube: Kube, space: str
) -> None:
    apply("block")
    kube.running("uses-disk", space)
    assert type_commands("block")[-1] == str(GIB)
    read = "dd if=/dev/disk bs=4096 skip=1 count=1 2> /dev/null | head -c 5"
    assert kube.shell("uses-disk", space, read) == "bytes"


def test_a_volume_grows_while_it_is_used(
    apply: Apply, type_commands: Type, kube: Kube, space: str
) -> None:
    apply("growth")
    kube.running("uses-growing", space)
    kube.shell("uses-growing", space, WRITE)
    before = _filesystem(kube, space, "uses-growing", "/data")
    type_commands("growth")
    assert _filesystem(kube, space, "uses-growing", "/data") > before + 0.9 * GIB
    assert kube.shell("uses-growing", space, "cat /data/greeting") == "hello"
    (status,) = kube.running("uses-growing", space)["status"]["containerStatuses"]
    assert status["restartCount"] == 0


def test_an_encrypted_volume_is_used_or_its_pod_waits_for_a_node_that_can(
    apply: Apply, driver: Release, kube: Kube, space: str
) -> None:
    """On a machine without dm-crypt only that the pod waits can be shown."""
    apply("encrypted")
    if _has_dm_crypt():
        kube.running("uses-secret-data", space)
        kube.shell("uses-secret-data", space, WRITE)
        assert "/dev/mapper/" in kube.shell("uses-secret-data", space, "df /data")
        return
    reason = "did not have enough free storage"
    kube.until(
        lambda: any(reason in event for event in kube.events(space, "uses-secret-data")),
        "an event says that no node has capacity",
    )
    kube.until(lambda: len(driver.room("example-encrypted")) == 2, "both nodes have said it")
    assert set(driver.room("example-encrypted").values()) == {0}
    assert kube.phase("pvc", "secret-data", space) == "Pending"


def test_a_group_snapshot_has_both_claims(
    apply: Apply, type_commands: Type, kube: Kube, space: str
) -> None:
    apply("group-snapshot")
    kube.running("uses-pair", space)
    type_commands("group-snapshot")
    members = kube.every("volumesnapshots", space)
    assert len(members) == 2
    assert all(member["status"]["readyToUse"] for member in members)


def test_a_claim_for_scratch_space_goes_with_its_pod(apply: Apply, kube: Kube, space: str) -> None:
    apply("ephemeral")
    kube.running("worker", space)
    assert 0.8 * GIB < _filesystem(kube, space, "worker", "/scratch") <= GIB
    assert kube.phase("pvc", "worker-scratch", space) == "Bound"
    kube("-n", space, "delete", "pod", "worker", "--grace-period=1")
    kube.gone("pvc", "worker-scratch", space)


def test_scratch_space_without_a_claim_goes_with_its_pod(
    apply: Apply, driver: Release, kube: Kube, space: str
) -> None:
    apply("inline")
    node = kube.running("inline-worker", space)["spec"]["nodeName"]
    (volume,) = driver.inline_volumes(node)
    assert volume["size_bytes"] == 2 * GIB
    assert kube.shell("inline-worker", space, "stat -f -c %T /scratch") == "xfs"
    assert kube.every("pvc", space) == []
    kube("-n", space, "delete", "pod", "inline-worker", "--grace-period=1")
    kube.until(lambda: not driver.inline_volumes(node), "the volume is deleted")


def test_limits_are_enforced_or_refused_with_the_cure(apply: Apply, kube: Kube, space: str) -> None:
    """On a machine with control groups of version 1 only that they are refused can be shown."""
    apply("limits")
    if not Path("/sys/fs/cgroup/cgroup.controllers").exists():
        cure = "control groups of version 2"
        kube.until(
            lambda: any(cure in event for event in kube.events(space, "limited")),
            "an event has the cure",
        )
        return
    kube.running("uses-limited", space)
    write = "dd if=/dev/zero of=/data/file bs=1M count=150 conv=fsync 2> /dev/null"
    seconds = kube.shell(
        "uses-limited", space, f"begin=$(date +%s); {write}; echo $(($(date +%s) - begin))"
    )
    assert int(seconds) >= 2


def _has_dm_crypt() -> bool:
    """Whether the kernel, which the nodes share, has it. /dev/mapper/control proves nothing."""
    try:
        return dm_ioctl.knows("crypt")
    except OSError:
        return False


def _images(kube: Kube, space: str) -> list[str]:
    """The names of the PersistentVolumes and VolumeSnapshotContents of a namespace."""
    references = ("claimRef", "volumeSnapshotRef")
    return [
        found["metadata"]["name"]
        for found in kube.every("pv,volumesnapshotcontents")
        if any(found["spec"].get(key, {}).get("namespace") == space for key in references)
    ]


def _filesystem(kube: Kube, space: str, pod: str, path: str) -> int:
    """Bytes of the filesystem at a path in a pod."""
    size, count = kube.shell(pod, space, f"stat -f -c '%S %b' {path}").split()
    return int(size) * int(count)


def _numbers(kube: Kube, space: str) -> int:
    """The last number in the log of logger-0, which has all numbers before it, too; 0 if it does
    not run.
    """
    found = kube.get("pod", "logger-0", space)
    statuses = (found or {}).get("status", {}).get("containerStatuses") or [{}]
    if not statuses[0].get("ready"):
        return 0
    numbers = [int(line) for line in kube.shell("logger-0", space, "cat /data/log").split()]
    assert numbers == list(range(1, len(numbers) + 1))
    return len(numbers)


def _kill(cluster: Cluster, kube: Kube, space: str, pod: str) -> None:
    """SIGKILL to the first process of a pod's container; until kubelet has started it again."""
    found = kube.running(pod, space)
    (status,) = found["status"]["containerStatuses"]
    container = status["containerID"].removeprefix("containerd://")
    node = int(found["spec"]["nodeName"].removeprefix("node-"))
    cluster.run(*CONTAINERD, "tasks", "kill", "-s", "SIGKILL", container, node=node)

    def is_restarted() -> bool:
        (now,) = (kube.get("pod", pod, space) or found)["status"]["containerStatuses"]
        return bool(now["restartCount"] > status["restartCount"] and now["ready"])

    kube.until(is_restarted, f"{pod} runs again")


def _sql(kube: Kube, space: str, statement: str) -> str:
    words = ("exec", "database-0", "--", "psql", "-U", "postgres", "-qAtc", statement)
    return kube("-n", space, *words).strip()
