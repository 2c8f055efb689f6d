"""Where the driver listens, and what is said if it does not."""

from __future__ import annotations

from pathlib import Path

import grpc
import pytest

from csi_proto import csi_pb2 as csi
from driver.cli.client import CallFailed, Client
from tests.unit.cli.conftest import (
    SNAPSHOT,
    VOLUME,
    run,
)


def test_the_endpoint_may_come_from_the_environment(
    endpoint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CELLAR_ENDPOINT", endpoint)
    assert SNAPSHOT in run("snapshots")


def test_without_an_endpoint_the_cure_is_said() -> None:
    assert "CELLAR_ENDPOINT" in run("volumes", status=2)


def test_a_socket_that_nobody_listens_on_is_said_in_one_line(tmp_path: Path) -> None:
    said = run("volumes", "--endpoint", f"unix://{tmp_path}/no.sock", status=1)
    assert "nothing answers" in said
    assert len(said.splitlines()) == 1


def test_a_refusal_keeps_its_code_and_text(endpoint: str) -> None:
    with Client(endpoint) as client, pytest.raises(CallFailed, match="it is in use") as refused:
        client.call(client.controller.DeleteVolume, csi.DeleteVolumeRequest(volume_id=VOLUME))
    assert refused.value.code is grpc.StatusCode.FAILED_PRECONDITION


def test_a_bare_path_is_an_endpoint_too(endpoint: str) -> None:
    with Client(endpoint.removeprefix("unix://")) as client:
        assert [pool.name for pool in client.pools()] == ["fast", "slow"]
