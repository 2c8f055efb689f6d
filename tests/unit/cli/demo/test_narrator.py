from __future__ import annotations

import io

import grpc
import pytest
from google.protobuf.wrappers_pb2 import Int64Value
from rich.console import Console

from csi_proto import csi_pb2 as csi
from driver.cli.client import CallFailed
from driver.cli.demo.narrator import LEFT_COLUMNS, Narrator, list_fields

VOLUME = "0123456789ab-" + "c" * 32


@pytest.fixture
def paper() -> io.StringIO:
    return io.StringIO()


@pytest.fixture
def narrator(paper: io.StringIO) -> Narrator:
    return Narrator(Console(file=paper, width=100, highlight=False, markup=False), "/tmp/work")


def test_fields_of_are_the_set_fields_by_their_last_name() -> None:
    request = csi.CreateVolumeRequest(
        name="pvc-1",
        capacity_range=csi.CapacityRange(required_bytes=1 << 30),
        volume_capabilities=[
            csi.VolumeCapability(mount=csi.VolumeCapability.MountVolume(fs_type="xfs"))
        ],
        parameters={"pool": "fast", "allocation": "sparse"},
    )
    assert list(list_fields(request)) == [
        ("name", "pvc-1"),
        ("required_bytes", "1 GiB"),
        ("fs_type", "xfs"),
        ("parameters.allocation", "sparse"),
        ("parameters.pool", "fast"),
    ]


def test_secrets_are_never_printed() -> None:
    request = csi.DeleteVolumeRequest(volume_id=VOLUME, secrets={"passphrase": "hunter2"})
    assert dict(list_fields(request)) == {"volume_id": VOLUME}


def test_an_empty_message_that_is_set_is_printed() -> None:
    block = csi.VolumeCapability(block=csi.VolumeCapability.BlockVolume())
    assert dict(list_fields(block)) == {"block": "{}"}


def test_equal_values_of_a_list_are_printed_once() -> None:
    usage = csi.ListVolumesResponse(
        entries=[
            csi.ListVolumesResponse.Entry(volume=csi.Volume(volume_id=one, capacity_bytes=1024))
            for one in ("a", "b")
        ]
    )
    assert dict(list_fields(usage)) == {"volume_id": "a, b", "capacity_bytes": "1 KiB (2 times)"}


def test_wrapped_numbers_have_the_name_of_their_field() -> None:
    response = csi.GetCapacityResponse(maximum_volume_size=Int64Value(value=1 << 20))
    assert dict(list_fields(response)) == {"maximum_volume_size": "1 MiB"}


def test_usage_is_told_in_its_unit() -> None:
    response = csi.NodeGetVolumeStatsResponse(
        usage=[
            csi.VolumeUsage(unit=csi.VolumeUsage.BYTES, total=2048, used=1024),
            csi.VolumeUsage(unit=csi.VolumeUsage.INODES, total=10, used=3),
        ]
    )
    assert dict(list_fields(response)) == {
        "bytes": "1 KiB of 2 KiB used",
        "inodes": "3 of 10 used",
    }


def test_a_call_and_its_answer_stand_in_two_columns(paper: io.StringIO, narrator: Narrator) -> None:
    narrator.request(csi.DeleteVolumeRequest(volume_id=VOLUME))
    narrator.answer(1.234, csi.DeleteVolumeResponse())
    call, answer = paper.getvalue().splitlines()
    assert call.startswith("   → DeleteVolume")
    assert call[LEFT_COLUMNS:] == "volume_id=0123456789ab-cccccccc…"
    assert answer.split() == ["←", "OK", "1.2", "ms", "(empty", "response)"]


def test_long_fields_of_are_folded_in_their_own_column(
    paper: io.StringIO, narrator: Narrator
) -> None:
    narrator.observation("there", "word " * 40)
    first, *others = paper.getvalue().splitlines()
    assert first.startswith("   · there")
    assert others
    assert all(line.startswith(" " * LEFT_COLUMNS + "word") and len(line) <= 100 for line in others)


def test_a_long_name_has_a_line_of_its_own(paper: io.StringIO, narrator: Narrator) -> None:
    narrator.observation("x" * 60, "what there is to say")
    name, said = paper.getvalue().splitlines()
    assert name.endswith("x" * 60)
    assert said == " " * LEFT_COLUMNS + "what there is to say"


def test_the_work_directory_is_abbreviated(paper: io.StringIO, narrator: Narrator) -> None:
    narrator.action("read /tmp/work/pods/a", "from /tmp/work")
    assert "/tmp/work" not in paper.getvalue()
    assert "read …/pods/a" in paper.getvalue()


def test_the_longest_status_fits_its_column(paper: io.StringIO, narrator: Narrator) -> None:
    narrator.expected_error(12.3, CallFailed(grpc.StatusCode.FAILED_PRECONDITION, "no"))
    assert paper.getvalue() == "   ← FAILED_PRECONDITION  12.3 ms no\n"


def test_a_check_that_fails_is_remembered(paper: io.StringIO, narrator: Narrator) -> None:
    narrator.check("the sky is green", passed=False)
    narrator.check("the sky is up", passed=True)
    assert not narrator.passed
    assert "✘ NOT TRUE: the sky is green" in paper.getvalue()


def test_a_demo_that_fails_shows_the_end_of_the_drivers_log(
    paper: io.StringIO, narrator: Narrator
) -> None:
    narrator.failure("it ends here", ["a last word"])
    assert not narrator.passed
    assert "   | a last word" in paper.getvalue()
