from __future__ import annotations

from typing import Any

import grpc
import pytest

from csi_proto import inspect_pb2
from driver.cli.client import CallFailed
from driver.cli.lists.activity import condition_rows, copy_rows
from tests.unit.cli.page.fake_driver import FakeDriver


def test_an_older_driver_has_none() -> None:
    driver: Any = FakeDriver()

    def refuse(_: Any) -> Any:
        raise CallFailed(grpc.StatusCode.UNIMPLEMENTED, "older")

    driver.inspection.ListCopies = driver.inspection.ListConditions = refuse
    assert [*copy_rows(driver), *condition_rows(driver)] == []


def test_another_error_is_one() -> None:
    driver: Any = FakeDriver()

    def refuse(_: Any) -> Any:
        raise CallFailed(grpc.StatusCode.UNAVAILABLE, "no")

    driver.inspection.ListCopies = refuse
    with pytest.raises(CallFailed):
        [*copy_rows(driver)]


def test_a_row_has_all_that_is_known() -> None:
    driver: Any = FakeDriver()
    driver.copies = [
        inspect_pb2.Copy(node="a", text="t", total_bytes=2, copied_bytes=1, seconds=3, claim="n/c")
    ]
    assert [*copy_rows(driver)] == [
        {
            "node": "a",
            "text": "t",
            "total_bytes": 2,
            "copied_bytes": 1,
            "seconds": 3.0,
            "claim": "n/c",
        }
    ]
    driver.conditions = [inspect_pb2.Condition(node="a", alert="A", severity="info", text="t")]
    assert [*condition_rows(driver)] == [
        {"node": "a", "alert": "A", "severity": "info", "volume_id": "", "text": "t"}
    ]
