"""How a driver makes itself known to kubelet, and what becomes of that."""

from __future__ import annotations

import signal
import subprocess
import tempfile
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest

from csi_proto import cellar_pb2 as cellar
from csi_proto import cellar_pb2_grpc
from csi_proto import csi_pb2 as csi
from tests.cluster.fake_kubelet import NAME, Kubelet
from tests.cluster.machines import code_of
from tests.support.driver_process import ROOT, DriverProcess
from tests.support.ports import free_port
from tests.support.waiting import wait_until

REGISTERED = "cellar_kubelet_registered 1.0"


@pytest.fixture
def kubelet() -> Iterator[Kubelet]:
    with tempfile.TemporaryDirectory(prefix="kl-") as name:
        yield Kubelet(Path(name))


@pytest.fixture
def driver(kubelet: Kubelet) -> Iterator[Announced]:
    with tempfile.TemporaryDirectory(prefix="dr-") as name:
        with Announced(Path(name), kubelet) as driver:
            yield driver
        assert "Traceback" not in driver.log.read_text()


class Announced(DriverProcess):
    """Its socket is where kubelet looks for it."""

    def __init__(self, where: Path, kubelet: Kubelet) -> None:
        self.port = free_port()
        own = ["--kubelet-dir", str(kubelet.folder), "--metrics", f"127.0.0.1:{self.port}"]
        super().__init__(where, ["sim=memory:1GiB"], arguments=own)
        self.socket = kubelet.folder / "plugins" / NAME / "csi.sock"
        self.kubelet = kubelet

    def command(self) -> list[str]:
        words = super().command()
        at = words.index("--endpoint")
        return words[:at] + words[at + 2 :]

    def page(self, name: str) -> tuple[int, str]:
        try:
            url = f"http://127.0.0.1:{self.port}/{name}"
            with urllib.request.urlopen(url, timeout=10) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()

    def start(self) -> Announced:
        super().start()
        wait_until(lambda: self.kubelet.made() != 0)
        return self


def test_kubelet_is_told_who_it_is_and_where(driver: Announced, kubelet: Kubelet) -> None:
    info = kubelet.info()
    assert (info.type, info.name) == ("CSIPlugin", NAME)
    assert info.endpoint == str(driver.socket)
    assert list(info.supported_versions) == ["1.0.0"]
    assert kubelet.register() == "node-a"


def test_it_is_ready_once_kubelet_has_it(driver: Announced, kubelet: Kubelet) -> None:
    assert driver.page("healthz") == (200, "ok\n")
    assert driver.page("readyz") == (503, "kubelet has not called yet\n")
    assert REGISTERED not in driver.page("metrics")[1]
    kubelet.register()
    assert driver.page("readyz") == (200, "ok\n")
    assert REGISTERED in driver.page("metrics")[1]


def test_a_refusal_is_told_and_a_new_socket_makes_kubelet_ask_again(
    driver: Announced, kubelet: Kubelet
) -> None:
    """As when the API server is down. A new process would not help: it stays alive."""
    kubelet.register()
    before = kubelet.made()
    kubelet.tell("the API server is down")
    status, text = driver.page("readyz")
    assert (status, "the API server is down" in text) == (503, True)
    assert driver.page("healthz")[0] == 200
    assert REGISTERED not in driver.page("metrics")[1]
    wait_until(lambda: kubelet.made() not in {0, before})
    wait_until(lambda: code_of(kubelet.register) is grpc.StatusCode.OK)
    assert driver.page("readyz")[0] == 200


def test_a_kubelet_that_begins_anew_finds_the_driver(driver: Announced, kubelet: Kubelet) -> None:
    """It looks through the folder, and asks again: the socket is the same."""
    kubelet.register()
    before = kubelet.made()
    Kubelet(kubelet.folder).register()
    assert kubelet.made() == before


def test_a_socket_that_somebody_removed_is_made_again(driver: Announced, kubelet: Kubelet) -> None:
    kubelet.register()
    kubelet.socket.unlink()
    wait_until(lambda: kubelet.made() != 0)
    wait_until(lambda: code_of(kubelet.register) is grpc.StatusCode.OK)


def test_a_socket_that_a_killed_driver_left_is_replaced(
    driver: Announced, kubelet: Kubelet
) -> None:
    driver.kill()
    assert code_of(kubelet.info) is not grpc.StatusCode.OK
    driver.start()
    wait_until(lambda: code_of(kubelet.register) is grpc.StatusCode.OK)


def test_kubelet_forgets_the_driver_after_the_last_call_only(
    driver: Announced, kubelet: Kubelet
) -> None:
    assert driver.channel
    stub = cellar_pb2_grpc.NodeStub(driver.channel)
    running = stub.Reserve(cellar.ReserveRequest(key="k"), timeout=60)
    assert next(iter(running)).taken
    assert driver.process
    driver.process.send_signal(signal.SIGTERM)
    wait_until(lambda: "running calls end first" in driver.log.read_text())
    probe = csi.ProbeRequest()
    wait_until(lambda: code_of(lambda: driver.identity.Probe(probe)) is grpc.StatusCode.UNAVAILABLE)
    assert kubelet.info().name == NAME
    running.cancel()
    assert driver.wait() == 0
    assert kubelet.made() == 0


def test_a_folder_that_is_not_there_is_said(tmp_path: Path) -> None:
    with tempfile.TemporaryDirectory(prefix="dr-") as name:
        folder = Path(name) / "not-mounted"
        words = ["--kubelet-dir", str(folder), "--endpoint", f"unix://{name}/csi.sock"]
        driver = DriverProcess(Path(name), ["sim=memory:1GiB"])
        command = [*driver.command()[:4], *words, "--pool", "sim=memory:1GiB"]
        ended = subprocess.run(command, cwd=ROOT, capture_output=True, check=False, timeout=60)
        assert ended.returncode == 1
        assert f"--kubelet-dir {folder} does not exist" in ended.stderr.decode()
        assert not folder.exists()


def test_one_node_has_one_driver_of_a_name(driver: Announced, kubelet: Kubelet) -> None:
    """Two DaemonSets on one node: the second waits until the first has left, as when a node moves
    from group to group, and takes nothing from it meanwhile.
    """
    kubelet.register()
    with tempfile.TemporaryDirectory(prefix="dr-") as name:
        second = Announced(Path(name), kubelet)
        process = second.spawn()
        wait_until(lambda: "waiting for its end" in second.log.read_text())
        assert kubelet.register() == "node-a"
        assert driver.identity.Probe(csi.ProbeRequest()).ready.value
        assert process.poll() is None
        assert driver.stop() == 0
        second.connect()
        wait_until(lambda: code_of(kubelet.register) is grpc.StatusCode.OK)
        assert second.stop() == 0


def test_a_driver_that_stays_has_the_node(driver: Announced, kubelet: Kubelet) -> None:
    with tempfile.TemporaryDirectory(prefix="dr-") as name:
        second = Announced(Path(name), kubelet)
        assert second.spawn().wait(60) == 1
        assert f"another driver named {NAME} runs on this node" in second.log.read_text()
        assert kubelet.register() == "node-a"
