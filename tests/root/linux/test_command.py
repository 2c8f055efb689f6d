"""A driver whose control group may have no more processes refuses calls, and serves on after it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import grpc
import pytest

from csi_proto import csi_pb2 as csi
from tests.root.conftest import MakePool, skip
from tests.support.client import Csi, capability, code_of
from tests.support.driver_process import DriverProcess

GIB = 1 << 30
GROUPS = (Path("/sys/fs/cgroup/pids"), Path("/sys/fs/cgroup"))  # versions 1 and 2


@pytest.fixture
def group() -> Iterator[Path]:
    """Return a control group of its own with a pids.max."""
    for parent in GROUPS:
        path = parent / f"cellar-test-{os.getpid()}"
        with suppress(OSError):
            path.mkdir()
            if (path / "pids.max").exists():
                yield path
                path.rmdir()
                return
            path.rmdir()
    skip("no control group with pids.max can be made here")


def test_no_child_process_now_is_no_end_of_the_driver(
    group: Path, make_pool: MakePool, tmp_path: Path
) -> None:
    pool = make_pool("xfs", size=2 * GIB)
    with DriverProcess(tmp_path, [f"p=loopfile:{pool}"]) as driver:
        client = Csi(driver)
        client.delete(client.create("threads are there", block=True).volume_id)
        (group / "cgroup.procs").write_text(f"{driver.pid}\n")
        (group / "pids.max").write_text((group / "pids.current").read_text())
        request = csi.CreateVolumeRequest(name="a", volume_capabilities=[capability("xfs")])
        with pytest.raises(grpc.RpcError) as refused:
            driver.controller.CreateVolume(request, timeout=20)
        # INTERNAL if mkfs was started, because a thread ended, and got no threads of its own.
        assert code_of(refused.value) in {"UNAVAILABLE", "INTERNAL"}
        (group / "pids.max").write_text("max\n")
        client.delete(driver.controller.CreateVolume(request, timeout=20).volume.volume_id)
        assert client.probe(timeout=5)
        assert driver.stop() == 0
