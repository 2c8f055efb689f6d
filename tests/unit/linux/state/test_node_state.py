"""What a driver keeps outside of its pools."""

from __future__ import annotations

import json
import os
from pathlib import Path

from driver.linux.state import node_state

KEY = "/var/lib/kubelet/pods/x/mount"
RECORD = {"volume": "v", "device": "7:3"}


def test_the_state_of_a_driver_has_places_and_pools_of_its_own(tmp_path: Path) -> None:
    state = node_state.node_state(tmp_path, "one.example")
    state.mount_records.write(KEY, RECORD)
    state.pools.write(KEY, {"pool": "p"})
    assert sorted(os.listdir(tmp_path / "one.example")) == ["places", "pools"]
    [journal] = (tmp_path / "one.example" / "places").iterdir()
    assert json.loads(journal.read_text()) == {"key": KEY, "record": RECORD}
    assert node_state.node_state(tmp_path, "two.example").mount_records.items() == {}
    assert node_state.node_state(tmp_path, "one.example").mount_records.items() == {KEY: RECORD}
