"""Connections of strangers take no descriptors that pools need."""

from __future__ import annotations

import resource
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from tests.support.node import Node
from tests.support.ports import free_port, listens
from tests.support.waiting import wait_until

MANY = 1100
SOFT = 1024  # what many service managers give


@contextmanager
def _idle(port: int) -> Iterator[None]:
    """Connected, and silent."""
    with ExitStack() as stack:
        for _ in range(MANY):
            stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=10))
        yield


@pytest.fixture
def enough() -> Iterator[None]:
    """Descriptors for the test itself."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, 4 * MANY)), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.usefixtures("enough")
def test_calls_go_on_beside_a_thousand_idle_connections(node: Node, tmp_path: Path) -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    words = [sys.executable, "-m", "driver", "certs", str(tmp_path)]
    subprocess.run(words, check=True, capture_output=True, cwd=Path(__file__).parents[2])
    pages, port = free_port(), free_port()
    csi = node.start(
        f"p=loopfile:{node.disk('xfs').where}",
        options=[
            *("--metrics", f"127.0.0.1:{pages}", "--listen", f"127.0.0.1:{port}"),
            *("--tls-dir", str(tmp_path / "node")),
        ],
        wrapper=["prlimit", f"--nofile={SOFT}:{hard}"],
    )
    wait_until(lambda: listens(pages) and listens(port))  # its socket answers before they do
    with _idle(pages), _idle(port):
        for number in range(10):
            life = node.life(csi, csi.create(f"v{number}").volume_id)
            life.up()
            life.down()
            csi.delete(life.volume_id)
        with urllib.request.urlopen(f"http://127.0.0.1:{pages}/healthz", timeout=5) as answer:
            assert answer.status == 200
        descriptors = Path(f"/proc/{csi.driver.pid}/fd")
        # the handshakes end by themselves
        wait_until(lambda: len(list(descriptors.iterdir())) <= 200)
