"""Where the driver listens, and what is said if it does not."""

from __future__ import annotations

import grpc
import pytest

from csi_proto import csi_pb2 as csi
from driver.cli.client import CallFailed, Client
from tests.unit.cli.conftest import (
    VOLUME,
)


def test_a_refusal_keeps_its_code_and_text(endpoint: str) -> None:
    with Client(endpoint) as client, pytest.raises(CallFailed, match="it is in use") as refused:
        client.call(client.controller.DeleteVolume, csi.DeleteVolumeRequest(volume_id=VOLUME))
    assert refused.value.code is grpc.StatusCode.FAILED_PRECONDITION


def test_a_bare_path_is_an_endpoint_too(endpoint: str) -> None:
    with Client(endpoint.removeprefix("unix://")) as client:
        assert [pool.name for pool in client.pools()] == ["fast", "slow"]
