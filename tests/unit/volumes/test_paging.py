"""Tokens of pages."""

from __future__ import annotations

import pytest

from driver.core.errors import StaleToken
from driver.core.ids import parse_snapshot_id, parse_volume_id
from driver.volumes.paging import parse_token


@pytest.mark.parametrize("token", ["1", "x" * 45, "../../etc/passwd"])
def test_a_token_that_was_never_given_is_stale(token: str) -> None:
    for parse_id in (parse_volume_id, parse_snapshot_id):
        with pytest.raises(StaleToken, match="starting_token"):
            parse_token(token, parse_id)


def test_a_token_is_an_id_and_none_is_the_first_page() -> None:
    token = f"{'1' * 12}-{'2' * 32}"
    assert parse_token(token, parse_volume_id) == token
    assert parse_token("", parse_volume_id) == ""
