"""`cellar page` as a process: it shows a real driver, and ends when it is told to."""

from __future__ import annotations

import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

from csi_proto import csi_pb2 as csi
from tests.support.driver_process import DriverProcess
from tests.support.ports import free_port


def test_the_page_of_a_real_driver_is_live_and_ends_with_ctrl_c(tmp_path: Path) -> None:
    address = f"127.0.0.1:{free_port()}"
    with DriverProcess(tmp_path, ["sim=memory:10GiB"]) as driver:
        words = ["page", "--endpoint", driver.endpoint, "--listen", address]
        with subprocess.Popen(
            [sys.executable, "-u", "-m", "driver", *words],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        ) as page:
            try:
                assert page.stdout
                assert address in page.stdout.readline()
                with urllib.request.urlopen(f"http://{address}/events", timeout=60) as events:
                    driver.controller.DeleteVolume(csi.DeleteVolumeRequest(volume_id="seen-live"))
                    assert any(b"seen-live" in line for line in events)
                page.send_signal(signal.SIGINT)
                assert page.wait(30) == 0
                assert "Traceback" not in page.stdout.read()
            finally:
                page.kill()


def test_it_ends_with_its_standard_input_and_takes_a_free_port(tmp_path: Path) -> None:
    """As `kubectl cellar page` runs it in a pod, before the driver is there."""
    endpoint = f"unix://{tmp_path}/none.sock"
    words = ["page", "--endpoint", endpoint, "--listen", "127.0.0.1:0", "--until-eof", "--wait"]
    with subprocess.Popen(
        [sys.executable, "-u", "-m", "driver", *words],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as page:
        try:
            assert page.stdin
            assert page.stdout
            address = page.stdout.readline().split()[0]
            with urllib.request.urlopen(f"{address}events", timeout=60) as events:
                assert any(b"nothing answers" in line for line in events)
            page.stdin.close()
            assert page.wait(30) == 0
        finally:
            page.kill()
