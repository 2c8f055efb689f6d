"""Durable records, one file each."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.unit.linux.state.conftest import again

KEY = "/var/lib/kubelet/pods/x/mount"
RECORD = {"volume": "v", "device": "7:3"}


def test_a_process_that_dies_while_it_writes_leaves_the_old_record(tmp_path: Path) -> None:
    again(tmp_path).write(KEY, RECORD)
    [name] = os.listdir(tmp_path)
    (tmp_path / f"{name}.tmp").write_text('{"key": "')
    assert again(tmp_path).items() == {KEY: RECORD}


@pytest.mark.parametrize("text", ["", "{", "[]", '{"key": "/x", "boot": "", "record": {}}', "null"])
def test_what_is_no_record_of_ours_is_passed_over(text: str, tmp_path: Path) -> None:
    again(tmp_path).write(KEY, RECORD)
    (tmp_path / "0.json").write_text(text)
    store = again(tmp_path)
    assert store.items() == {KEY: RECORD}
    assert store.problem is None
