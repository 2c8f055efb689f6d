"""`kubectl cellar` with a kubectl that answers from a file and writes down how it was called."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from driver.cli import main as cellar
from driver.cli.kubectl import plugin

KUBECTL = """\
#!{python}
import json, os, sys
with open({calls!r}, "a") as file:
    file.write(json.dumps(sys.argv[1:]) + "\\n")
if "get" in sys.argv:
    print(open({pods!r}).read())
elif "exec" in sys.argv:
    print("this is the pod")
    sys.exit(3)
"""


def pod(name: str, namespace: str = "cellar-system", *, ready: bool = True) -> dict[str, Any]:
    condition = {"type": "Ready", "status": str(ready)}
    return {
        "metadata": {"name": name, "namespace": namespace},
        "status": {"conditions": [condition]},
    }


class Fake:
    """The fake kubectl: the pods that it lists, and the calls that it got."""

    def __init__(self, folder: Path) -> None:
        self.path, self._calls, self._pods = folder / "kubectl", folder / "calls", folder / "pods"
        text = KUBECTL.format(python=sys.executable, calls=str(self._calls), pods=str(self._pods))
        self.path.write_text(text)
        self.path.chmod(0o755)
        self.lists(pod("cellar-controller-1"))

    def lists(self, *pods: dict[str, Any]) -> None:
        self._pods.write_text(json.dumps({"items": pods}))

    @property
    def calls(self) -> list[list[str]]:
        if not self._calls.exists():
            return []
        return [json.loads(line) for line in self._calls.read_text().splitlines()]

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run the plugin, as kubectl would."""
        command = [sys.executable, "-m", "driver.cli.kubectl.plugin"]
        command += ["--kubectl", str(self.path), *words]
        return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


@pytest.fixture
def kubectl(tmp_path: Path) -> Fake:
    return Fake(tmp_path)


def test_the_command_runs_in_a_controller_and_its_status_is_kept(kubectl: Fake) -> None:
    done = kubectl.run("volumes", "-o", "json", "--namespace", "shop")
    assert (done.stdout, done.returncode) == ("this is the pod\n", 3)
    get, run = kubectl.calls
    assert get[:3] == ["get", "pods", "--all-namespaces"]
    assert "app.kubernetes.io/name=cellar,app.kubernetes.io/component=controller" in get
    head, tail = run[: run.index("--")], run[run.index("--") :]
    assert head[:4] == ["exec", "--namespace", "cellar-system", "cellar-controller-1"]
    assert ("--tty" in head) is False
    assert tail == ["--", "cellar", "volumes", "-o", "json", "--namespace", "shop"]


def test_a_nodes_own_driver_is_asked_on_request(kubectl: Fake) -> None:
    kubectl.run("--node", "n1", "--driver-namespace", "storage", "calls", "--follow")
    get, run = kubectl.calls
    assert "app.kubernetes.io/name=cellar,app.kubernetes.io/component=node" in get
    assert get[get.index("--field-selector") + 1] == "spec.nodeName=n1"
    assert get[get.index("--namespace") + 1] == "storage"
    assert run[-2:] == ["calls", "--follow"]


def test_the_cluster_and_the_user_are_passed_on(kubectl: Fake) -> None:
    kubectl.run("--context", "prod", "--kubeconfig", "/k", "--as", "eve", "pools")
    for call in kubectl.calls:
        assert call[:6] == ["--context", "prod", "--kubeconfig", "/k", "--as", "eve"]


def test_a_pod_that_is_not_ready_is_not_asked(kubectl: Fake) -> None:
    kubectl.lists(pod("old", ready=False), pod("new"))
    kubectl.run("pools")
    assert "new" in kubectl.calls[1]


@pytest.mark.parametrize(
    ("pods", "text"),
    [
        ([], "is it installed?"),
        ([pod("a", ready=False)], "is it installed?"),
        ([pod("a", "one"), pod("b", "two")], "one, two; choose one with --driver-namespace"),
    ],
)
def test_without_one_driver_the_reason_is_said(
    kubectl: Fake, pods: list[dict[str, Any]], text: str
) -> None:
    kubectl.lists(*pods)
    done = kubectl.run("pools")
    assert done.returncode == 1
    assert text in done.stderr


@pytest.mark.parametrize("words", [[], ["serve"], ["certs", "/tmp"], ["nothing"]])
def test_only_commands_that_ask_a_driver_are_run(kubectl: Fake, words: list[str]) -> None:
    done = kubectl.run(*words)
    assert done.returncode == 2
    assert "give a command that asks a driver" in done.stderr
    assert kubectl.calls == []


def test_without_kubectl_that_is_said(tmp_path: Path) -> None:
    assert plugin.main(["--kubectl", str(tmp_path / "none"), "pools"]) == 1


def test_every_command_of_the_plugin_is_one_of_cellar() -> None:
    assert set(cellar.COMMANDS) >= plugin.COMMANDS


def test_the_manifest_names_the_program_of_pyproject() -> None:
    manifest = yaml.safe_load(Path("deploy/krew/cellar.yaml").read_text())
    assert manifest["metadata"]["name"] == "cellar"
    assert {platform["bin"] for platform in manifest["spec"]["platforms"]} == {"kubectl-cellar"}
