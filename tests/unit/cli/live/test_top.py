from __future__ import annotations

import pytest

from csi_proto import inspect_pb2
from driver.cli.live.top import CALLS, IO, call_rows, io_rows
from driver.cli.output import Output, format_rows


def io(volume: str, clock: float, **counters: float) -> inspect_pb2.VolumeIo:
    fields = {"volume_id": volume, "node": "n1", "clock": clock, **counters}
    return inspect_pb2.VolumeIo(**fields)  # type: ignore[arg-type]


BEFORE = {
    "a": io("a", 10, reads=100, read_bytes=4096, read_seconds=1, busy_seconds=5),
    "b": io("b", 10),
    "gone": io("gone", 10),
}
AFTER = {
    "a": io(
        "a",
        12,
        reads=300,
        read_bytes=4096 + (2 << 20),
        read_seconds=1.4,
        busy_seconds=7,
        in_flight=3,
    ),
    "b": io("b", 12, writes=10, written_bytes=4096, write_seconds=0.01, busy_seconds=0.02),
    "new": io("new", 12, writes=1_000_000),
}


def test_rates_are_those_of_a_second_and_the_busiest_comes_first() -> None:
    busy, idle = io_rows(BEFORE, AFTER)
    assert (busy["id"], idle["id"]) == ("a", "b")
    assert busy["reads"] == 100
    assert busy["read_bytes"] == 1 << 20
    assert busy["latency"] == pytest.approx(0.002)
    assert (busy["busy"], busy["in_flight"]) == (1.0, 3)
    assert (idle["writes"], idle["busy"]) == (5, pytest.approx(0.01))


def test_a_device_that_was_attached_anew_has_no_negative_rates() -> None:
    before = {"a": io("a", 10, reads=1000, read_seconds=10, busy_seconds=100)}
    [row] = io_rows(before, {"a": io("a", 12, reads=4, read_seconds=0.1, busy_seconds=1)})
    assert (row["reads"], row["latency"], row["busy"]) == (0, 0, 0)


def test_a_table_has_the_claim_and_the_rates() -> None:
    rows = [row | {"claim": "shop/data"} for row in io_rows(BEFORE, AFTER)]
    _, busy, _ = format_rows(Output.TABLE, IO, rows)
    assert busy.split()[:5] == ["shop/data", "n1", "100%", "100", "0"]
    assert "1 MiB" in busy
    assert "2.0 ms" in busy


def test_calls_are_counted_by_name_the_longest_first() -> None:
    calls = [
        inspect_pb2.Call(rpc="CreateVolume", code="OK", seconds=0.01),
        inspect_pb2.Call(rpc="CreateVolume", code="ABORTED", seconds=0.03),
        inspect_pb2.Call(rpc="NodeStageVolume", code="OK", seconds=2),
    ]
    _, stage, create = format_rows(Output.TABLE, CALLS, call_rows(calls))
    assert stage.split() == ["NodeStageVolume", "1", "0", "2000.0", "ms", "2000.0", "ms"]
    assert create.split() == ["CreateVolume", "2", "1", "20.0", "ms", "30.0", "ms"]
