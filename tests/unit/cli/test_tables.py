# ruff: noqa: N802 - the spec names the methods
"""The tables against a server that answers as the driver does, over a real socket."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import pytest
import typer
import yaml
from typer.testing import CliRunner

from csi_proto import cellar_pb2 as cellar
from csi_proto import cellar_pb2_grpc, csi_pb2_grpc
from csi_proto import csi_pb2 as csi
from driver.cli import call, tables
from driver.cli.client import CallFailed, Client

POOL = "0123456789ab"
VOLUME = f"{POOL}-{'a' * 32}"
CLONE = f"{POOL}-{'c' * 32}"
INLINE = f"{POOL}-{'d' * 32}"
HANDLE = f"csi-{'e' * 64}"
SNAPSHOT = f"{POOL}-{'b' * 32}"

app = typer.Typer()
app.command("volumes")(tables.volumes)
app.command("snapshots")(tables.snapshots)
app.command("call")(call.command)
app.add_typer(tables.pools, name="pools")


class FakePools(cellar_pb2_grpc.NodeServicer):
    def ListPools(self, request: cellar.ListPoolsRequest, context: Any) -> Any:
        return cellar.ListPoolsResponse(
            pools=[
                cellar.Pool(
                    name="fast",
                    type="loopfile",
                    where="/srv/fast",
                    id=POOL,
                    allocation="thick",
                    reflink=True,
                    volumes=2,
                    snapshots=1,
                    total_bytes=10 << 30,
                    committed_bytes=2 << 30,
                    largest_bytes=7 << 30,
                ),
                cellar.Pool(name="slow", type="loopfile", where="/srv/slow", away="no marker"),
            ]
        )

    def Describe(self, request: cellar.DescribeRequest, context: Any) -> Any:
        records = [
            cellar.Record(id=VOLUME, name="pvc-1", filesystem="ext4", allocation="thick"),
            cellar.Record(id=INLINE, name=HANDLE, filesystem="ext4", inline=True),
            cellar.Record(id=SNAPSHOT, name="snap-1", filesystem="ext4", created=1.0),
        ]
        ids = {*request.volume_ids, *request.snapshot_ids}
        return cellar.DescribeResponse(records=[one for one in records if one.id in ids])


class FakeController(csi_pb2_grpc.ControllerServicer):
    """Three volumes on two pages, and a snapshot."""

    def ListVolumes(self, request: csi.ListVolumesRequest, context: Any) -> Any:
        if not request.starting_token:
            volume = csi.Volume(volume_id=VOLUME, capacity_bytes=1 << 30)
            status = csi.ListVolumesResponse.VolumeStatus(
                published_node_ids=["n1"],
                volume_condition=csi.VolumeCondition(abnormal=True, message="image is gone"),
            )
            entry = csi.ListVolumesResponse.Entry(volume=volume, status=status)
            return csi.ListVolumesResponse(entries=[entry], next_token="2")
        source = csi.VolumeContentSource(
            snapshot=csi.VolumeContentSource.SnapshotSource(snapshot_id=SNAPSHOT)
        )
        volume = csi.Volume(volume_id=CLONE, capacity_bytes=1 << 30, content_source=source)
        inline = csi.Volume(volume_id=INLINE, capacity_bytes=1 << 30)
        entries = [csi.ListVolumesResponse.Entry(volume=one) for one in (volume, inline)]
        return csi.ListVolumesResponse(entries=entries)

    def ListSnapshots(self, request: csi.ListSnapshotsRequest, context: Any) -> Any:
        snapshot = csi.Snapshot(snapshot_id=SNAPSHOT, source_volume_id=VOLUME, size_bytes=1 << 30)
        snapshot.creation_time.FromSeconds(60)
        entry = csi.ListSnapshotsResponse.Entry(snapshot=snapshot)
        return csi.ListSnapshotsResponse(entries=[entry])

    def DeleteVolume(self, request: csi.DeleteVolumeRequest, context: Any) -> Any:
        context.abort(grpc.StatusCode.FAILED_PRECONDITION, "it is in use")


@pytest.fixture
def endpoint(tmp_path: Path) -> Iterator[str]:
    server = grpc.server(ThreadPoolExecutor(2))
    cellar_pb2_grpc.add_NodeServicer_to_server(FakePools(), server)
    csi_pb2_grpc.add_ControllerServicer_to_server(FakeController(), server)
    server.add_insecure_port(f"unix://{tmp_path}/csi.sock")
    server.start()
    yield f"unix://{tmp_path}/csi.sock"
    server.stop(None).wait(5)


def run(*words: str, status: int = 0) -> str:
    result = CliRunner().invoke(app, words)
    assert result.exit_code == status, result.output
    return result.output


@pytest.mark.parametrize("words", [["pools"], ["pools", "list"]])
def test_pools_are_listed_by_default_and_by_name(endpoint: str, words: list[str]) -> None:
    said = run(*words, "--endpoint", endpoint)
    fast = next(line for line in said.splitlines() if line.startswith("fast"))
    assert "loopfile:/srv/fast" in fast
    assert POOL in fast
    assert fast.split()[-7:-1] == ["10", "GiB", "2", "GiB", "7", "GiB"]
    assert "no (page cache)" in fast


def test_of_a_pool_that_is_away_nothing_is_known(endpoint: str) -> None:
    slow = next(
        line for line in run("pools", "--endpoint", endpoint).splitlines() if "slow" in line
    )
    assert slow.split().count("-") == 8


def test_a_pool_that_is_away_says_why(endpoint: str) -> None:
    assert "slow is unavailable: no marker" in run("pools", "--endpoint", endpoint)


def test_pools_as_json(endpoint: str) -> None:
    fast, slow = json.loads(run("pools", "-o", "json", "--endpoint", endpoint))
    assert (fast["name"], fast["volumes"], fast["reflink"]) == ("fast", 2, True)
    assert slow["away"] == "no marker"


def test_volumes_of_all_pages_are_listed(endpoint: str) -> None:
    _, first, second, _ = run("volumes", "--endpoint", endpoint).splitlines()
    assert first.split()[:8] == [VOLUME, "pvc-1", "fast", "1", "GiB", "ext4", "thick", "-"]
    assert "image is gone" in first
    assert second.startswith(CLONE)
    assert f"snapshot {POOL}-bbbbbbbb…" in second


def test_volumes_as_json_keep_whole_ids(endpoint: str) -> None:
    _, clone, _ = json.loads(run("volumes", "-o", "json", "--endpoint", endpoint))
    assert clone["source"] == f"snapshot {SNAPSHOT}"
    assert clone["pool"] == "fast"


def test_a_volume_without_a_record_is_listed_all_the_same(endpoint: str) -> None:
    _, clone, _ = json.loads(run("volumes", "-o", "json", "--endpoint", endpoint))
    assert (clone["id"], clone["name"]) == (CLONE, "")


def test_a_volume_of_a_pod_is_marked_and_its_long_name_is_cut(endpoint: str) -> None:
    *_, line = run("volumes", "--endpoint", endpoint).splitlines()
    assert line.split()[:2] == [INLINE, "csi-eeeeeeee…"]
    assert "inline, of a pod" in line
    _, clone, inline = json.loads(run("volumes", "-o", "json", "--endpoint", endpoint))
    assert (inline["name"], inline["inline"], clone["inline"]) == (HANDLE, True, False)


@pytest.mark.parametrize(
    ("words", "lines"),
    [
        (["volumes"], [VOLUME, CLONE, INLINE]),
        (["snapshots"], [SNAPSHOT]),
        (["pools"], ["fast", "slow"]),
    ],
)
def test_names_alone_are_what_other_commands_take(
    endpoint: str, words: list[str], lines: list[str]
) -> None:
    assert run(*words, "-o", "name", "--endpoint", endpoint).splitlines() == lines


def test_volumes_as_yaml_are_those_as_json(endpoint: str) -> None:
    as_yaml, as_json = (
        run("volumes", "-o", form, "--endpoint", endpoint) for form in ("yaml", "json")
    )
    assert yaml.safe_load(as_yaml) == json.loads(as_json)


def test_a_wide_table_has_more_columns(endpoint: str) -> None:
    head, *_ = run("volumes", "-o", "wide", "--endpoint", endpoint).splitlines()
    assert "CREATED" in head
    assert "BLOCK SIZE" in head


def test_snapshots_are_listed(endpoint: str) -> None:
    _, line = run("snapshots", "--endpoint", endpoint).splitlines()
    assert line.startswith(SNAPSHOT)
    assert "1970-01-01T00:01:00+00:00" in line
    assert "snap-1" in line
    assert "not yet" in line


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


def test_any_call_can_be_made_by_hand(endpoint: str) -> None:
    said = run("call", "ListVolumes", '{"starting_token": "2"}', "--endpoint", endpoint)
    assert json.loads(said)["entries"][0]["volume"]["volume_id"] == CLONE


def test_a_call_by_hand_that_is_refused_has_status_1(endpoint: str) -> None:
    said = run("call", "DeleteVolume", '{"volumeId": "x"}', "--endpoint", endpoint, status=1)
    assert said == "FAILED_PRECONDITION: it is in use\n"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("DestroyVolume",), "no call 'DestroyVolume'"),
        (("ListVolumes", "{"), "Failed to load JSON"),
        (("ListVolumes", '{"most": 3}'), "most"),
        (("GetMetadataDelta",), "no call"),
    ],
)
def test_a_call_that_cannot_be_is_a_wrong_use(
    endpoint: str, words: tuple[str, ...], said: str
) -> None:
    assert said in run("call", *words, "--endpoint", endpoint, status=2)
