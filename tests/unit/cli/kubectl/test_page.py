"""`kubectl cellar page` with a kubectl that acts the pod, and writes down how it was called."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

KUBECTL = """\
#!{python}
import json, pathlib, sys, time
folder = pathlib.Path({folder!r})
def note(*words):
    with open(folder / "calls", "a") as file:
        file.write(json.dumps(words) + "\\n")
note(*sys.argv[1:])
if "get" in sys.argv:
    print((folder / "pods").read_text())
elif "exec" in sys.argv:
    print("http://127.0.0.1:43210/ shows unix:///csi.sock until Ctrl-C", flush=True)
    sys.stdin.read()
    note("the page has ended")
elif (folder / "refused").exists():
    sys.exit("forbidden")
else:
    print("Forwarding from 127.0.0.1:9580 -> 43210", flush=True)
    time.sleep((folder / "short").exists() or 600)
"""


class Pod:
    """A fake kubectl with one pod."""

    def __init__(self, folder: Path, ports: Sequence[dict[str, Any]] = ()) -> None:
        self.folder, self.kubectl = folder, folder / "kubectl"
        self.kubectl.write_text(KUBECTL.format(python=sys.executable, folder=str(folder)))
        self.kubectl.chmod(0o755)
        pod = {
            "metadata": {"name": "cellar-node-x", "namespace": "storage"},
            "spec": {"containers": [{"name": "cellar"}, {"name": "page", "ports": ports}]},
            "status": {"conditions": [{"type": "Ready", "status": "True"}]},
        }
        (folder / "pods").write_text(json.dumps({"items": [pod]}))

    @property
    def calls(self) -> list[list[str]]:
        lines = (self.folder / "calls").read_text().splitlines()
        return [json.loads(line) for line in lines]

    @contextmanager
    def page(self, *words: str) -> Iterator[subprocess.Popen[str]]:
        command = [sys.executable, "-m", "driver.cli.kubectl.plugin"]
        command += ["--kubectl", str(self.kubectl), "--as", "eve", "--node", "n1", "page", *words]
        with subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        ) as process:
            try:
                yield process
            finally:
                process.kill()


@pytest.fixture
def pod(tmp_path: Path) -> Pod:
    return Pod(tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_page_is_started_in_the_pod_brought_here_and_ended(
    pod: Pod, number: signal.Signals
) -> None:
    with pod.page("--listen", "127.0.0.1:9580") as process:
        assert process.stdout
        line = process.stdout.readline()
        assert line == "http://127.0.0.1:9580/ shows cellar-node-x until Ctrl-C\n"
        process.send_signal(number)
        assert process.wait(30) == 0
    get, start, forward, end = pod.calls
    assert get[:3] == ["--as", "eve", "get"]
    assert start[:6] == ["--as", "eve", "exec", "--namespace", "storage", "cellar-node-x"]
    assert start[start.index("--") :] == [
        *("--", "cellar", "page", "--listen", "127.0.0.1:0", "--until-eof")
    ]
    assert forward[2:] == [
        *("port-forward", "--namespace", "storage", "pod/cellar-node-x"),
        *("--address=127.0.0.1", "9580:43210"),
    ]
    assert end == ["the page has ended"]


@pytest.mark.slow
def test_a_pod_that_serves_the_page_is_only_forwarded(tmp_path: Path) -> None:
    pod = Pod(tmp_path, [{"name": "page", "containerPort": 9502}])
    with pod.page("--listen", "[::1]:7000") as process:
        assert process.stdout
        assert process.stdout.readline()
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 0
    _, forward = pod.calls
    assert forward[-2:] == ["--address=::1", "7000:9502"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("file", "text"), [("refused", "forbidden"), ("short", "port-forward has ended")]
)
def test_the_end_of_kubectl_is_said_and_ends_the_page(pod: Pod, file: str, text: str) -> None:
    (pod.folder / file).touch()
    with pod.page() as process:
        _, error = process.communicate(timeout=60)
        assert process.returncode == 1
        assert text in error
    end = time.monotonic() + 20
    while pod.calls[-1] != ["the page has ended"]:
        assert time.monotonic() < end
        time.sleep(0.05)


@pytest.mark.slow
@pytest.mark.parametrize("address", ["here", "0.0.0.0:9580", "laptop:9580", "127.0.0.1:http"])
def test_an_address_at_which_the_page_would_not_answer_is_refused(pod: Pod, address: str) -> None:
    with pod.page("--listen", address) as process:
        _, error = process.communicate(timeout=60)
        assert process.returncode == 2
        assert f"'{address}' is not HOST:PORT" in error
