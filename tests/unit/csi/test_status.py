"""Errors and gRPC statuses, in both directions."""

from __future__ import annotations

import errno
from typing import Any

import grpc
import grpc.aio
import pytest

from driver.core import errors
from driver.core.errors import CellarError
from driver.csi.status import error_from_status, error_named, status_code, status_message

# The class that a router reads each code as: what its callers do depends on it.
READ_AS = {
    "INVALID_ARGUMENT": errors.Invalid,
    "NOT_FOUND": errors.NotFound,
    "ALREADY_EXISTS": errors.Conflict,
    "FAILED_PRECONDITION": errors.Refused,
    "ABORTED": errors.Busy,
    "RESOURCE_EXHAUSTED": errors.NoSpace,
    "OUT_OF_RANGE": errors.OutOfRange,
    "UNAVAILABLE": errors.PoolUnavailable,
    "DEADLINE_EXCEEDED": errors.PoolUnavailable,
    "UNIMPLEMENTED": errors.Unsupported,
    "DATA_LOSS": errors.Damaged,
    "INTERNAL": errors.Failed,
}


def answered(code: grpc.StatusCode, text: str) -> grpc.aio.AioRpcError:
    return grpc.aio.AioRpcError(code, grpc.aio.Metadata(), grpc.aio.Metadata(), text)


def test_codes_have_the_names_and_numbers_of_grpc() -> None:
    for code in errors.Code:
        assert grpc.StatusCode[code.name].value[0] == code.value


@pytest.mark.parametrize("code", list(grpc.StatusCode))
def test_a_code_is_read_as_the_same_class_however_it_came(code: grpc.StatusCode) -> None:
    kind = READ_AS.get(code.name, errors.Failed)
    assert type(error_from_status(answered(code, "why"))) is kind
    assert type(error_named(code.name, "why")) is kind
    assert str(error_named(code.name, "why")) == "why"


def test_a_name_that_is_no_code_is_a_failure() -> None:
    assert type(error_named("", "why")) is errors.Failed
    assert type(error_named("NO_SUCH_CODE", "why")) is errors.Failed


@pytest.mark.parametrize("code", list(errors.Code))
def test_errors_come_back_as_the_node_gave_them(code: errors.Code) -> None:
    error = error_from_status(answered(grpc.StatusCode[code.name], "why"))
    assert (status_code(error, "CreateVolume").name, str(error)) == (code.name, "why")


def test_a_code_that_no_node_has_is_told_by_its_name() -> None:
    error = error_from_status(answered(grpc.StatusCode.PERMISSION_DENIED, "no"))
    assert str(error) == "PERMISSION_DENIED: no"


def test_the_base_class_has_a_code_for_what_is_raised_as_it() -> None:
    assert status_code(CellarError("why"), "Probe") is grpc.StatusCode.INTERNAL


def test_still_running_is_busy() -> None:
    done: Any = None
    assert (
        status_code(errors.StillRunning("copying", done=done), "Probe") is grpc.StatusCode.ABORTED
    )


def test_overload_is_never_what_the_provisioner_reads_as_full() -> None:
    assert status_code(errors.Overloaded(""), "CreateVolume") is grpc.StatusCode.UNAVAILABLE


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_machine_is_a_full_node_only_for_who_stores_something(code: int) -> None:
    error = OSError(code, "no room")
    for rpc in ("CreateVolume", "CreateSnapshot", "CreateVolumeGroupSnapshot", "TakePart"):
        assert status_code(error, rpc) is grpc.StatusCode.RESOURCE_EXHAUSTED
    for rpc in ("ControllerPublishVolume", "DeleteVolume", "NodeStageVolume", "GetCapacity"):
        assert status_code(error, rpc) is grpc.StatusCode.UNAVAILABLE


@pytest.mark.parametrize("code", [errno.EMFILE, errno.ENFILE, errno.ENOMEM])
def test_a_machine_that_has_too_little_just_now_is_unavailable(code: int) -> None:
    for rpc in ("CreateVolume", "NodePublishVolume", "NodeUnpublishVolume", "GetCapacity"):
        assert status_code(OSError(code, "too many"), rpc) is grpc.StatusCode.UNAVAILABLE
    text = status_message("CreateVolume", OSError(code, "too many"))
    assert text == "the driver ran out of a resource: too many; try again"


@pytest.mark.parametrize(
    ("path", "named"),
    [
        ("/sys/block/loop0/queue/discard_max_bytes", True),
        ("/dev/loop-control", True),
        ("/srv/fast/secret", False),
        (None, False),
    ],
)
def test_a_place_of_the_kernel_is_named_and_no_other(path: str | None, *, named: bool) -> None:
    error = OSError(errno.EROFS, "Read-only file system", path)
    text = status_message("NodeStageVolume", error)
    assert "Read-only file system" in text
    assert (str(path) in text) is named


def test_a_path_that_is_not_utf8_can_be_sent() -> None:
    """A surrogate cannot be sent by gRPC, and the call would not be answered at all."""
    error = errors.Refused("it is shown at /mnt/\udcff\udcfe")
    text = status_message("NodeUnstageVolume", error)
    assert text.encode() == rb"it is shown at /mnt/\udcff\udcfe"


def test_what_fails_elsewhere_than_in_a_pool_is_internal() -> None:
    for code in (errno.EIO, errno.EROFS, errno.ENOENT):
        assert status_code(OSError(code, "no"), "NodeStageVolume") is grpc.StatusCode.INTERNAL
