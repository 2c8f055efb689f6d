"""`kubectl cellar`: runs the commands of `cellar` in a pod of the driver, with the user's
permissions.

kubectl finds this program as `kubectl-cellar` on its PATH. It asks kubectl for the pods of the
driver, and then executes `kubectl exec`.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import shutil
import sys
from collections.abc import Iterable, Sequence
from typing import Any, Final

from driver.cli.kubectl import page
from driver.cli.output import ExitStatus
from driver.core.errors import CellarError, Failed
from driver.linux import command

# Those that ask the driver of the pod; the others are for a machine, not for a cluster.
COMMANDS: Final = frozenset(
    {
        *("pools", "volumes", "snapshots", "nodes"),
        *("describe", "hold", "release"),
        *("calls", "top", "page", "call"),
    }
)
LABELS: Final = "app.kubernetes.io/name=cellar,app.kubernetes.io/component="
CONTAINER: Final = "cellar"
TIMEOUT: Final = 30.0  # seconds in which the API server lists the pods


def main(arguments: Sequence[str] | None = None) -> int:  # noqa: RET503 - execv does not return
    """Replace this process by `kubectl exec` of the command in the driver's pod.

    Returns, with the exit status, only if that fails, or after the command `page`.
    """
    options = _parser().parse_args(arguments)
    words = options.command
    if not words or words[0] not in COMMANDS:
        names = ", ".join(sorted(COMMANDS))
        return _fail(f"give a command that asks a driver: {names}", ExitStatus.WRONG_USE)
    kubectl = shutil.which(options.kubectl)
    if not kubectl:
        return _fail(f"{options.kubectl} is not installed")
    cluster = _cluster_options(options)
    try:
        pod = find_pod([kubectl, *cluster], namespace=options.driver_namespace, node=options.node)
    except CellarError as error:
        return _fail(str(error))
    if words[0] == "page":
        return _show_page([kubectl, *cluster], pod, words[1:])
    metadata = pod["metadata"]
    run = [*cluster, "exec", "--namespace", metadata["namespace"], metadata["name"]]
    run += ["--container", CONTAINER, *_terminal(), "--", "cellar", *words]
    os.execv(kubectl, [kubectl, *run])  # noqa: S606 - a list of words; it never returns


def _show_page(kubectl: Sequence[str], pod: Any, words: Sequence[str]) -> int:
    """Serve the page of the driver in `pod` on this machine; return the exit status."""
    parser = argparse.ArgumentParser(prog="kubectl cellar page", allow_abbrev=False)
    parser.add_argument(
        "--listen",
        metavar="HOST:PORT",
        default=page.LISTEN,
        help=f"where it listens on this machine: {page.LISTEN}, or another port",
    )
    options = parser.parse_args(words)
    host, _, port = options.listen.rpartition(":")
    if host not in page.LOCAL or not port.isdigit():
        names = ", ".join(page.LOCAL)
        text = f"{options.listen!r} is not HOST:PORT, with {names} for HOST: others are refused"
        return _fail(text, ExitStatus.WRONG_USE)
    try:
        asyncio.run(page.show(kubectl, pod, container=CONTAINER, listen=options.listen))
    except CellarError as error:
        return _fail(str(error))
    except asyncio.CancelledError:
        return ExitStatus.DONE
    return ExitStatus.DONE


def find_pod(kubectl: Sequence[str], *, namespace: str, node: str) -> Any:
    """Return the driver's pod in which to run a command: a controller or, with `node`, the one on
    this node.

    `namespace`: the driver's namespace; "": any. Raises: Failed if there is no such pod, or kubectl
    failed.
    """
    component = "node" if node else "controller"
    scope = ["--namespace", namespace] if namespace else ["--all-namespaces"]
    chosen = ["--field-selector", f"spec.nodeName={node}"] if node else []
    words = ["get", "pods", *scope, "--selector", f"{LABELS}{component}", *chosen]
    text = command.run(
        [*kubectl, *words, "--output", "json"], timeout=TIMEOUT, more=dict(os.environ)
    )
    return _ready_pod(json.loads(text)["items"], f"{component} of Cellar")


def _ready_pod(pods: Iterable[Any], description: str) -> Any:
    """Return a pod that is ready. Raises: Failed if there is none, or several namespaces have one.

    `description`: for the error.
    """
    ready = [pod for pod in pods if _is_ready(pod)]
    namespaces = sorted({pod["metadata"]["namespace"] for pod in ready})
    if len(namespaces) > 1:
        raise Failed(
            f"several namespaces have a {description}: {', '.join(namespaces)}; choose one with"
            " --driver-namespace"
        )
    if not ready:
        raise Failed(f"no pod that is ready is the {description}; is it installed?")
    return ready[0]


def _is_ready(pod: Any) -> bool:
    conditions = pod.get("status", {}).get("conditions", ())
    ready = any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)
    return ready and "deletionTimestamp" not in pod["metadata"]


def _terminal() -> list[str]:
    """Return the options with which the command has this terminal, if it is one."""
    if sys.stdin.isatty() and sys.stdout.isatty():
        return ["--stdin", "--tty"]
    return ["--stdin"]


def _cluster_options(options: argparse.Namespace) -> list[str]:
    """Return the options that say which cluster kubectl speaks to, and as whom."""
    given = {
        "--context": options.context,
        "--kubeconfig": options.kubeconfig,
        "--as": options.impersonate,
    }
    return [word for name, value in given.items() if value for word in (name, value)]


def _fail(text: str, status: ExitStatus = ExitStatus.FAILED) -> int:
    sys.stderr.write(f"kubectl cellar: {text}\n")
    return status


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="kubectl cellar",
        description="Run a command of `cellar` in a pod of the driver.",
        usage="kubectl cellar [options] COMMAND ...",
        epilog=f"Commands: {', '.join(sorted(COMMANDS))}. `kubectl cellar COMMAND --help` says what"
        " one does. Options of the plugin come before the command.",
        allow_abbrev=False,
    )
    parser.add_argument("--context", help="the context in the kubeconfig")
    parser.add_argument("--kubeconfig", metavar="FILE", help="the kubeconfig")
    parser.add_argument("--as", dest="impersonate", metavar="USER", help="the user to act as")
    parser.add_argument(
        "--driver-namespace", metavar="NAME", default="", help="where Cellar is installed"
    )
    parser.add_argument(
        "--node", metavar="NAME", default="", help="ask the driver of this node, not a controller"
    )
    parser.add_argument("--kubectl", metavar="PROGRAM", default="kubectl", help=argparse.SUPPRESS)
    parser.add_argument("command", nargs=argparse.REMAINDER, help=argparse.SUPPRESS)
    return parser


if __name__ == "__main__":
    sys.exit(main())
