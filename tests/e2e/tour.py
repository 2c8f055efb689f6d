"""A user's story in a real cluster: `make e2e-tour`. Each step with the calls that made it.

Nothing is staged: the lines are from the API server's audit log, the driver's log and containerd's.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import yaml
from rich.console import Console
from rich.text import Text

from tests.e2e import objects, pace, release, timeline
from tests.e2e.cluster import Cluster, Kube
from tests.e2e.release import DRIVER, NODES, SPACE, Release

HERE = "tour"
NODE = NODES[1]
ROUNDS = 20
STYLES = {"kubectl": "bold green", "cellar": "bold yellow", "containerd": "cyan", "kubelet": "blue"}


class Tour:
    def __init__(self, console: Console, cluster: Cluster) -> None:
        self.console = console
        self.cluster = cluster
        self.kube = Kube(cluster)
        self.release = Release(cluster, self.kube)
        self.chapters = 0

    def chapter(self, title: str, why: str) -> None:
        self.chapters += 1
        self.console.print()
        self.console.print(Text(f"{self.chapters:2} {title}", style="bold yellow"))
        self.console.print(Text(f"   {why}", style="italic dim"))

    def command(self, text: str, answer: str = "") -> None:
        self.console.print(Text(f"   $ {text}", style="bold green"))
        for line in answer.splitlines():
            self.console.print(Text(f"     {line}"), soft_wrap=True)

    def happened(self, begin: datetime, names: set[str]) -> None:
        """Everybody's part in it since then."""
        for one in timeline.since(self.kube, begin, names, NODE):
            after = (one.at - begin).total_seconds()
            line = Text(f"   {after:7.3f} s  ", style="dim")
            line.append(f"{one.actor:<20} ", style=STYLES.get(one.actor.split()[0], "magenta"))
            line.append(one.what)
            self.console.print(line, overflow="ellipsis", no_wrap=True)

    def tell(self) -> None:
        self._cluster()
        self._install()
        self._apply()
        self._use()
        self._look()
        self._away()
        self._pace()
        self._left()

    def _cluster(self) -> None:
        self.chapter("A cluster", "two nodes with kernel namespaces of their own, real components")
        if not self.cluster.is_up():
            self.cluster.wipe()
            release.bring_up(self.cluster)
        columns = "NAME:.metadata.name,VERSION:.status.nodeInfo.kubeletVersion"
        runtime = "RUNTIME:.status.nodeInfo.containerRuntimeVersion"
        wanted = ["get", "nodes", "-o", f"custom-columns={columns},{runtime}"]
        self.command("kubectl get nodes", self.kube(*wanted))

    def _install(self) -> None:
        self.chapter("The driver", "one chart; nodes with a label and a disk become pools")
        self.command(f"helm upgrade --install cellar charts/cellar --namespace {SPACE}")
        self.release.install()
        self.release.ready()
        columns = "custom-columns=POD:.metadata.name,NODE:.spec.nodeName,IP:.status.podIP"
        self.command("kubectl get pods", self.kube("-n", SPACE, "get", "pods", "-o", columns))
        room = "\n".join(f"{node}: {size >> 20} MiB" for node, size in self.release.room().items())
        self.command("kubectl get csistoragecapacities", room)

    def _apply(self) -> None:
        self.chapter(
            "Apply: a claim and a pod",
            "the scheduler waits for the pod, then chooses a node that has room",
        )
        self.kube.delete("namespace", HERE)
        self.kube.apply(objects.namespace(HERE))
        self.kube.until(
            lambda: self.kube.get("serviceaccount", "default", HERE), "pods may be made"
        )
        wanted = [
            objects.claim("data", HERE),
            objects.pod("writer", HERE, {"data": "/data"}, node=NODE),
        ]
        self.command("kubectl apply -f -", yaml.safe_dump_all(map(_essentials, wanted)))
        begin = datetime.now(UTC)
        self.kube.apply(*wanted)
        self.kube.running("writer", HERE)
        self.chapter(
            "Provision, attach, sandbox, network, stage, publish, start",
            "claim → CreateVolume → VolumeAttachment → ControllerPublish → NodeStage → NodePublish,"
            " then the pod's sandbox and its container, by CRI",
        )
        self.happened(begin, {"data", "writer"})

    def _use(self) -> None:
        self.chapter("Write", "the pod's own filesystem, on a loop device, in the node's pool")
        for script in ("echo 'written by the pod' > /data/hello; sync; cat /data/hello",):
            self.command(f"kubectl exec writer -- {script}", self._pod(script))
        script = "df -h /data; grep ' /data ' /proc/mounts"
        self.command(f"kubectl exec writer -- {script}", self._pod(script))

    def _look(self) -> None:
        self.chapter("Below", f"the same on {NODE}: CNI's address, the mounts, the loop device")
        found: Any = self.kube.get("pod", "writer", HERE)
        address = found["status"]["podIP"]
        links = self._node("sh", "-c", "grep -l . /run/cni-ipam/*/10.* | tail -n 20")
        given = [line for line in links.splitlines() if line.endswith(f"/{address}")]
        self.command(f"ls /run/cni-ipam   # bridge plugin, host-local: {address}", "\n".join(given))
        mounts = self._node("findmnt", "-rno", "SOURCE,TARGET,FSTYPE")
        ours = [line for line in mounts.splitlines() if f"/{DRIVER}/" in line or "~csi/" in line]
        self.command("findmnt", "\n".join(sorted(set(ours))))
        device = ours[0].split()[0] if ours else ""
        columns = "NAME,BACK-FILE,LOG-SEC,DIO"
        self.command(f"losetup -l {device}", self._node("losetup", "-l", "-O", columns, device))
        self.command("cellar volumes   # asked of the node's driver", self._cellar("volumes"))

    def _away(self) -> None:
        self.chapter("Tear down", "the way back: unpublish, unstage, detach, delete")
        begin = datetime.now(UTC)
        claim: Any = self.kube.get("pvc", "data", HERE)
        self.command("kubectl delete pod writer && kubectl delete pvc data")
        self.kube.delete("pod", "writer", HERE)
        self.kube.delete("pvc", "data", HERE)
        self.kube.gone("pv", claim["spec"]["volumeName"])
        self.happened(begin, {"data", "writer"})

    def _pace(self) -> None:
        """PEER: the storage class of another driver in this cluster, which takes turns with ours."""
        self.chapter(
            "Pace", f"from apply of a claim and its pod to the pod that runs, {ROUNDS} times"
        )
        classes = ["cellar", *filter(None, [os.environ.get("PEER")])]
        for one in pace.measured(self.kube, HERE, classes, ROUNDS):
            self.command(
                "kubectl apply -f - && kubectl wait --for=condition=Ready pod/pace", str(one)
            )

    def _left(self) -> None:
        self.chapter("Left", "nothing: no volume, no mount, no loop device, no attachment")
        self.kube.delete("namespace", HERE)
        self.command("kubectl get pv,volumeattachments", self.kube("get", "pv,volumeattachments"))
        self.command("cellar volumes", self._cellar("volumes"))

    def _pod(self, script: str) -> str:
        return self.kube.shell("writer", HERE, script)

    def _node(self, *argv: str) -> str:
        return self.cluster.run(*argv, node=2)

    def _cellar(self, what: str) -> str:
        pod = self.release.driver_pod(NODE)
        assert pod
        return self.kube("-n", SPACE, "exec", pod["metadata"]["name"], "--", "cellar", what)


def _essentials(wanted: objects.Object) -> objects.Object:
    """Without what says the same for every pod of the tests."""
    kept = ("accessModes", "resources", "storageClassName", "nodeSelector", "volumes")
    spec = {name: part for name, part in wanted["spec"].items() if name in kept}
    name = {"name": wanted["metadata"]["name"]}
    return {"kind": wanted["kind"], "metadata": name, "spec": spec}


def main(arguments: Sequence[str]) -> int:
    """The cluster goes afterwards, unless KEEP=1."""
    cluster = Cluster()
    console = Console(width=None if sys.stdout.isatty() else 140)
    try:
        Tour(console, cluster).tell()
    finally:
        if not release.keep_going():
            cluster.wipe()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
