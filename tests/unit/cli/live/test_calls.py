"""`cellar calls`: what a call is about, and which calls are chosen."""

from __future__ import annotations

import json
from typing import Any

import pytest

from csi_proto import inspect_pb2
from driver.cli.live import calls


def row(
    request: dict[str, Any] | None, response: dict[str, Any] | None = None, code: str = "OK"
) -> Any:
    return calls.call_row(
        inspect_pb2.Call(
            number=7,
            ended=1.5,
            rpc="CreateVolume",
            code=code,
            seconds=0.25,
            request="" if request is None else json.dumps(request),
            response="" if response is None else json.dumps(response),
        )
    )


@pytest.mark.parametrize(
    ("request_", "response", "about"),
    [
        ({"volume_id": "v", "name": "n"}, None, "v"),
        ({"name": "n"}, {"volume": {"volume_id": "v"}}, "n"),
        ({}, {"snapshot": {"snapshot_id": "s"}}, "s"),
        ({"volume_id": ""}, None, ""),
        (None, None, ""),
    ],
)
def test_a_call_is_about_the_first_id_or_name_of_its_messages(
    request_: dict[str, Any] | None, response: dict[str, Any] | None, about: str
) -> None:
    assert row(request_, response)["about"] == about


def test_a_message_that_the_driver_did_not_keep_is_said_to_be() -> None:
    kept = row({"name": "n"}, None)
    assert (kept["request"], kept["response"]) == ({"name": "n"}, None)
    lines = list(calls._lines(kept, wide=True))
    assert lines[-2:] == ['    request  {"name": "n"}', "    response (not kept)"]
    assert len(list(calls._lines(kept, wide=False))) == 1


def test_calls_are_chosen_by_failure_and_by_any_word_of_their_messages() -> None:
    done = row({"name": "pvc-1", "parameters": {"pool": "fast"}})
    failed = row({"volume_id": "x"}, code="ABORTED")
    for chosen, how in (
        ([done, failed], {"failed": False, "text": ""}),
        ([failed], {"failed": True, "text": ""}),
        ([done], {"failed": False, "text": "fast"}),
        ([], {"failed": True, "text": "fast"}),
    ):
        assert [each for each in (done, failed) if calls._is_chosen(each, **how)] == chosen  # type: ignore[arg-type]
