"""`cellar calls` of a real driver, and what following it does to the driver."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest

from csi_proto import csi_pb2 as csi
from tests.support.driver_process import DriverProcess

CAPABILITY = csi.VolumeCapability(
    mount=csi.VolumeCapability.MountVolume(fs_type="ext4"),
    access_mode=csi.VolumeCapability.AccessMode(
        mode=csi.VolumeCapability.AccessMode.SINGLE_NODE_WRITER
    ),
)


@pytest.fixture(scope="module")
def driver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DriverProcess]:
    with DriverProcess(tmp_path_factory.mktemp("calls"), ["sim=memory:10GiB"]) as driver:
        yield driver


def cellar(driver: DriverProcess, *words: str) -> str:
    command = [sys.executable, "-m", "driver", "calls", "--endpoint", driver.endpoint, *words]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout


def create(driver: DriverProcess, name: str) -> str:
    request = csi.CreateVolumeRequest(
        name=name, volume_capabilities=[CAPABILITY], secrets={"passphrase": "hunter2"}
    )
    return driver.controller.CreateVolume(request).volume.volume_id


def test_a_call_is_shown_with_request_and_answer_and_without_secrets(driver: DriverProcess) -> None:
    volume_id = create(driver, "shown")
    said = cellar(driver, "-o", "json", "--about", "shown")
    [call] = json.loads(said)
    assert (call["rpc"], call["code"]) == ("CreateVolume", "OK")
    assert call["request"]["name"] == "shown"
    assert call["response"]["volume"]["volume_id"] == volume_id
    assert "hunter2" not in said


def test_calls_that_failed_are_shown_with_the_reason(driver: DriverProcess) -> None:
    with pytest.raises(grpc.RpcError):
        driver.controller.CreateVolume(csi.CreateVolumeRequest(name="no capabilities"))
    said = cellar(driver, "--failed", "-o", "wide", "--about", "no capabilities")
    head, error, request, response = said.splitlines()
    assert "CreateVolume" in head
    assert "INVALID_ARGUMENT" in head
    assert error.split()[:2] == ["error", "volume_capabilities"]
    assert "no capabilities" in request
    assert response.endswith("(not kept)")


def test_lists_and_polls_are_shown_on_request(driver: DriverProcess) -> None:
    driver.controller.ListVolumes(csi.ListVolumesRequest())
    assert "ListVolumes" not in cellar(driver)
    assert "ListVolumes" in cellar(driver, "--all")


def test_a_follower_sees_each_call_at_once(driver: DriverProcess) -> None:
    words = ["calls", "--endpoint", driver.endpoint, "--follow", "--past", "0", "-o", "json"]
    stop = threading.Event()
    calling = threading.Thread(target=_call_until, args=(driver, stop))
    with subprocess.Popen(
        [sys.executable, "-m", "driver", *words], stdout=subprocess.PIPE, text=True
    ) as following:
        calling.start()
        try:
            assert following.stdout
            line = following.stdout.readline()
        finally:
            stop.set()
            following.kill()
    calling.join()
    assert json.loads(line)["request"] == {"volume_id": "followed"}


def _call_until(driver: DriverProcess, stop: threading.Event) -> None:
    """Call until somebody has seen it: when a follower is connected is not known."""
    while not stop.wait(0.1):
        driver.controller.DeleteVolume(csi.DeleteVolumeRequest(volume_id="followed"))


def test_a_follower_does_not_keep_the_driver_from_stopping(tmp_path: Path) -> None:
    with DriverProcess(tmp_path, ["sim=memory:10GiB"]) as driver:
        words = ["calls", "--endpoint", driver.endpoint, "--follow", "-o", "name"]
        with subprocess.Popen(
            [sys.executable, "-m", "driver", *words],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as following:
            create(driver, "seen")
            assert following.stdout
            assert following.stdout.readline() == "CreateVolume\n"
            start = time.monotonic()
            driver.stop()
            assert time.monotonic() - start < 10  # 17 if the stream were waited for
            _, said = following.communicate(timeout=30)
            assert (following.returncode, said) == (0, "the driver stopped\n")


def test_a_follower_that_does_not_read_does_not_keep_the_driver_from_stopping(
    tmp_path: Path,
) -> None:
    with DriverProcess(tmp_path, ["sim=memory:10GiB"]) as driver:
        words = ["calls", "--endpoint", driver.endpoint, "--follow", "-o", "name"]
        with subprocess.Popen(
            [sys.executable, "-m", "driver", *words], stdout=subprocess.PIPE, text=True
        ) as following:
            create(driver, "seen")
            assert following.stdout
            assert following.stdout.readline() == "CreateVolume\n"
            following.send_signal(signal.SIGSTOP)
            for number in range(500):  # more than the connection takes
                request = csi.DeleteVolumeRequest(volume_id=f"{number}".zfill(128))
                driver.controller.DeleteVolume(request)
            start = time.monotonic()
            assert driver.stop(60) == 0
            assert time.monotonic() - start < 10
            following.kill()
