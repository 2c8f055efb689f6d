"""A Kubernetes of two nodes on this machine, driven from outside by the scripts in nodes/."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeAlias, TypeVar

NODES: Final = Path(__file__).with_name("nodes")
RUN: Final = Path(os.environ.get("CELLAR_E2E", "/tmp/cellar-e2e"))  # as nodes/env.sh has it
SCRIPT: Final = str(NODES / "cluster.sh")
CALL: Final = 120.0  # seconds for one command
TIMEOUT: Final = 90.0  # seconds for something to come true

Object: TypeAlias = Mapping[str, Any]
Found = TypeVar("Found")


class CommandError(Exception):
    """A command on a node ended badly; the text has what it said."""


class Cluster:
    def up(self, nodes: int = 2) -> None:
        self._script("up", env={"NODES": str(nodes)})

    def is_up(self) -> bool:
        return self._script("status").count(" up,") == 2

    def wipe(self) -> None:
        self._script("wipe")

    def load(self, archives: Sequence[Path]) -> None:
        """Into containerd of every running node."""
        self._script("import", *map(str, archives), timeout=600)

    def power_off(self, node: int) -> None:
        self._script("stop-node", str(node))

    def power_on(self, node: int) -> None:
        self._script("start-node", str(node))

    def disconnect(self, node: int) -> None:
        self._script("disconnect", str(node))

    def connect(self, node: int) -> None:
        self._script("connect", str(node))

    def mount_disk(self, node: int) -> None:
        """The disk of the node's pool, now and at every later start."""
        self.run("bash", str(NODES / "disk.sh"), node=node)

    def kubelet(self, verb: str, node: int) -> None:
        """stop, start or restart."""
        self.run("bash", str(NODES / "kubelet.sh"), verb, node=node)

    def run(self, *argv: str, node: int = 1, stdin: str = "", timeout: float = CALL) -> str:
        """The output of a command in the namespaces of a node. CommandError."""
        return self._script(f"exec@{node}", *argv, stdin=stdin, timeout=timeout)

    def follow(self, log: Path, *argv: str) -> bool:
        """A command's output as it comes, into `log` too. True: it ended well."""
        out, both = subprocess.PIPE, subprocess.STDOUT
        words = [SCRIPT, "exec@1", *argv]
        with log.open("wb") as file, subprocess.Popen(words, stdout=out, stderr=both) as child:
            assert child.stdout
            for some in iter(partial(os.read, child.stdout.fileno(), 65536), b""):
                for each in (file, sys.stdout.buffer):
                    each.write(some)
                    each.flush()
        return child.returncode == 0

    def keep_logs(self, folder: Path) -> None:
        shutil.copytree(RUN / "log", folder, dirs_exist_ok=True)

    def _script(
        self,
        *words: str,
        stdin: str = "",
        timeout: float = CALL,
        env: Mapping[str, str] | None = None,
    ) -> str:
        done = subprocess.run(
            [SCRIPT, *words],
            input=stdin,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
            env={**os.environ, **(env or {})},
        )
        if done.returncode:
            raise CommandError(f"{' '.join(words)}: {done.stderr.strip() or done.stdout.strip()}")
        return done.stdout


class Kube:
    """kubectl, with objects instead of text."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster

    def __call__(self, *words: str, stdin: str = "", timeout: float = CALL) -> str:
        return self.cluster.run("kubectl", *words, stdin=stdin, timeout=timeout)

    def apply(self, *objects: Object) -> None:
        """As one list; what is there already is changed."""
        whole = {"apiVersion": "v1", "kind": "List", "items": list(objects)}
        self("apply", "-f", "-", stdin=json.dumps(whole))

    def get(self, kind: str, name: str, namespace: str = "") -> Any | None:
        """None: it is not there."""
        text = self("get", kind, name, *_in(namespace), "--ignore-not-found", "-o", "json")
        return json.loads(text) if text.strip() else None

    def every(self, kind: str, namespace: str = "", labels: str = "") -> list[Any]:
        chosen = ["-l", labels] if labels else []
        where = _in(namespace) or ["--all-namespaces"]
        found = json.loads(self("get", kind, *where, *chosen, "-o", "json"))["items"]
        return list(found)

    def delete(self, kind: str, name: str, namespace: str = "", *, wait: bool = True) -> None:
        words = ["delete", kind, name, *_in(namespace), "--ignore-not-found"]
        self(*words, f"--wait={str(wait).lower()}", f"--timeout={int(CALL) - 10}s")

    def shell(self, pod: str, namespace: str, script: str) -> str:
        """What `sh -c` says in a pod."""
        return self("exec", pod, *_in(namespace), "--", "sh", "-c", script).strip()

    def events(self, namespace: str, name: str) -> list[str]:
        """The messages of all events about an object, the oldest first."""
        chosen = f"involvedObject.name={name}"
        text = self("get", "events", *_in(namespace), "--field-selector", chosen, "-o", "json")
        return [f"{one['reason']}: {one.get('message', '')}" for one in json.loads(text)["items"]]

    def until(
        self,
        question: Callable[[], Found | None],
        what: str,
        seconds: float = TIMEOUT,
    ) -> Found:
        """The first answer that is true. AssertionError says what did not come."""
        end = time.monotonic() + seconds
        while not (found := question()):
            assert time.monotonic() < end, f"it did not come true within {seconds:.0f} s: {what}"
            time.sleep(0.5)
        return found

    def phase(self, kind: str, name: str, namespace: str) -> str:
        found = self.get(kind, name, namespace)
        return str(found["status"].get("phase", "")) if found else ""

    def running(self, pod: str, namespace: str, seconds: float = TIMEOUT) -> Any:
        """Wait until a pod is ready; the pod."""

        def ready() -> Any | None:
            found = self.get("pod", pod, namespace)
            ready = found and _condition(found, "Ready")
            return found if ready else None

        try:
            return self.until(ready, f"pod {pod} is ready", seconds)
        except AssertionError as error:
            told = "\n".join(self.events(namespace, pod))
            raise AssertionError(f"{error}\n{told}") from None

    def gone(self, kind: str, name: str, namespace: str = "", seconds: float = TIMEOUT) -> None:
        self.until(
            lambda: self.get(kind, name, namespace) is None, f"{kind} {name} is gone", seconds
        )


def _in(namespace: str) -> list[str]:
    return ["-n", namespace] if namespace else []


def _condition(found: Any, kind: str) -> bool:
    conditions = found["status"].get("conditions", [])
    return any(one["type"] == kind and one["status"] == "True" for one in conditions)
