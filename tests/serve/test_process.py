"""`cellar serve` as a process: how it begins, how it ends, and what it says when it cannot."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from csi_proto import csi_pb2 as csi
from tests.support.driver_process import ROOT, DriverProcess
from tests.support.ports import free_port, listens
from tests.support.waiting import wait_until

POOL = "sim=memory:10GiB"
NEVER = {"typer", "rich", "click", "cryptography", "kubernetes", "aiohttp", "yaml"}
CAPABILITY = csi.VolumeCapability(
    block=csi.VolumeCapability.BlockVolume(),
    access_mode=csi.VolumeCapability.AccessMode(
        mode=csi.VolumeCapability.AccessMode.SINGLE_NODE_WRITER
    ),
)
REQUEST = csi.CreateVolumeRequest(name="data", volume_capabilities=[CAPABILITY])


@pytest.fixture
def where() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="serve-") as name:
        yield Path(name)


def test_it_says_that_it_is_ready_and_leaves_nothing_behind(where: Path) -> None:
    with DriverProcess(where, [POOL]) as driver:
        assert driver.identity.Probe(csi.ProbeRequest()).ready.value
        volume = driver.controller.CreateVolume(REQUEST).volume
        assert driver.socket.stat().st_mode & 0o777 == 0o660
        assert driver.stop() == 0
        assert not driver.socket.exists()
    log = driver.log.read_text()
    assert "ready endpoint=" in log
    assert "CreateVolume OK" in log
    assert f"volume_id={volume.volume_id}" in log
    assert "Traceback" not in log
    assert os.listdir(where) == ["driver.log"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP, signal.SIGQUIT])
def test_the_signals_of_a_terminal_end_it_cleanly_too(where: Path, number: signal.Signals) -> None:
    reset = ["env", f"--default-signal={number}"]  # a shell ignores them in the background
    with DriverProcess(where, [POOL], wrap=reset) as driver:
        assert driver.process
        driver.process.send_signal(number)
        assert driver.wait(20) == 0
        assert not driver.socket.exists()


def test_a_signal_that_its_parent_ignores_does_not_end_it(where: Path) -> None:
    nohup = ["sh", "-c", "trap '' HUP; exec \"$@\"", "sh"]
    with DriverProcess(where, [POOL], wrap=nohup) as driver:
        assert driver.process
        driver.process.send_signal(signal.SIGHUP)
        time.sleep(0.1)
        assert driver.identity.Probe(csi.ProbeRequest()).ready.value


def test_a_signal_shows_where_its_threads_are_and_another_does_nothing(where: Path) -> None:
    with DriverProcess(where, [POOL]) as driver:
        assert driver.process
        driver.process.send_signal(signal.SIGUSR2)
        driver.process.send_signal(signal.SIGUSR1)
        wait_until(lambda: "most recent call first" in driver.log.read_text())
        assert driver.identity.Probe(csi.ProbeRequest()).ready.value
        assert driver.stop() == 0


def test_a_signal_before_it_can_handle_one_is_not_lost(where: Path) -> None:
    script = (
        "import os, signal, sys; signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM]);"
        " os.kill(os.getpid(), signal.SIGTERM); os.execv(sys.argv[1], sys.argv[1:])"
    )
    driver = DriverProcess(where, [POOL], wrap=[sys.executable, "-c", script])
    assert driver.spawn().wait(30) == 0
    assert not driver.socket.exists()


def test_a_second_driver_on_the_same_socket_gives_way(where: Path) -> None:
    with DriverProcess(where, [POOL]) as driver:
        second = subprocess.run(driver.command(), cwd=ROOT, capture_output=True, check=False)
        assert second.returncode == 1
        assert f"another process listens on {driver.socket}" in second.stderr.decode()
        assert driver.identity.Probe(csi.ProbeRequest()).ready.value


def test_a_socket_that_a_killed_driver_left_is_taken_over(where: Path) -> None:
    with DriverProcess(where, [POOL]) as driver:
        driver.kill()
        assert driver.socket.exists()
        driver.start()
        assert driver.identity.Probe(csi.ProbeRequest()).ready.value


def test_metrics_and_health_over_http(where: Path) -> None:
    port = free_port()
    with DriverProcess(where, [POOL], arguments=["--metrics", f"127.0.0.1:{port}"]) as driver:
        driver.controller.CreateVolume(REQUEST)
        assert _page(port, "healthz") == "ok\n"
        metrics = _page(port, "metrics")
        assert 'cellar_rpc_seconds_count{code="OK",method="CreateVolume"} 1.0' in metrics
        assert 'cellar_pool_volumes{pool="sim",type="memory"} 1.0' in metrics


def test_a_pool_that_is_away_is_said_at_the_start_and_where_readiness_is_asked(where: Path) -> None:
    port, missing = free_port(), where / "missing"
    pools = [POOL, f"fast=loopfile:{missing}"]
    with DriverProcess(where, pools, arguments=["--metrics", f"127.0.0.1:{port}"]) as driver:
        end = time.monotonic() + 10
        while (text := _page(port, "readyz")) == "ok\n" and time.monotonic() < end:
            time.sleep(0.05)
        assert text.startswith("ok\npool fast cannot be used: ")
        assert str(missing) in text
        assert "sim" not in text
        assert "WARNING pool fast cannot be used: " in driver.log.read_text()


def _page(port: int, name: str) -> str:
    """The page, once the driver listens: its socket answers a moment before."""
    wait_until(lambda: listens(port))
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/{name}", timeout=10) as answer:
        return str(answer.read().decode())


def test_it_imports_nothing_that_only_other_commands_need(where: Path) -> None:
    env = {"PYTHONPROFILEIMPORTTIME": "1"}
    with DriverProcess(where, [POOL], env=env) as driver:
        driver.controller.CreateVolume(REQUEST)
    imported = {
        line.rsplit("|", 1)[1].strip().partition(".")[0]
        for line in driver.log.read_text().splitlines()
        if line.startswith("import time:")
    }
    assert "driver" in imported
    assert not imported & NEVER


def test_calls_that_run_when_it_is_told_to_stop_are_answered(where: Path) -> None:
    """Those that gRPC had not handed over yet are not begun: UNAVAILABLE or CANCELLED."""
    with DriverProcess(where, [POOL]) as driver:
        calls = [
            driver.controller.CreateVolume.future(
                csi.CreateVolumeRequest(name=f"v{number}", volume_capabilities=[CAPABILITY])
            )
            for number in range(8)
        ]
        calls[0].result()
        assert driver.process
        driver.process.send_signal(signal.SIGTERM)
        answered = [call.code().name for call in calls]
        assert driver.wait(20) == 0
    done = driver.log.read_text().count("CreateVolume OK")
    assert answered.count("OK") == done >= 1
    assert set(answered) <= {"OK", "UNAVAILABLE", "CANCELLED"}


def test_a_log_that_nobody_reads_stops_neither_calls_nor_the_end(where: Path) -> None:
    reader, writer = os.pipe()
    try:
        driver = DriverProcess(where, [POOL])
        driver.process = subprocess.Popen(
            driver.command(), cwd=ROOT, stdin=subprocess.DEVNULL, stdout=writer, stderr=writer
        )
        driver.connect()
        for number in range(700):  # over 64 KiB, which a pipe holds
            driver.controller.DeleteVolume(
                csi.DeleteVolumeRequest(volume_id=f"{number}".zfill(128)), timeout=20
            )
        assert driver.identity.Probe(csi.ProbeRequest(), timeout=20).ready.value
        assert driver.stop(20) == 0
        assert len(os.read(reader, 1 << 20)) > 60_000  # the pipe was full
    finally:
        os.close(reader)
        os.close(writer)


def test_it_serves_also_if_it_was_started_without_standard_streams(where: Path) -> None:
    driver = DriverProcess(where, [POOL], wrap=["sh", "-c", 'exec "$@" 0<&- 1>&- 2>&-', "sh"])
    with driver:
        assert driver.identity.Probe(csi.ProbeRequest()).ready.value
        for number in range(3):
            assert os.readlink(f"/proc/{driver.pid}/fd/{number}") == os.devnull
        assert driver.stop() == 0
