"""`cellar call`: one CSI call by hand."""

from __future__ import annotations

import json

import pytest

from tests.unit.cli.conftest import (
    CLONE,
    run,
)


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
