"""`cellar disks`, on simulated devices."""

from __future__ import annotations

import json

import pytest
import yaml

from driver.core.model import GIB
from tests.unit.cli.disks.conftest import run


def test_the_table_says_which_disk_may_become_a_pool_and_why_the_other_may_not() -> None:
    status, output = run("disks")
    head, first, second = output.splitlines()
    assert status == 0
    assert head.split()[:4] == ["NAME", "SIZE", "MODEL", "TRANSPORT"]
    assert first.split()[0] == "nvme0n1"
    assert " yes " in first
    assert "900 GiB" in first
    assert " no " in second
    assert second.endswith("it is mounted at /")


def test_the_wide_table_has_the_path_that_lasts_the_serial_and_the_medium() -> None:
    _, output = run("disks", "-o", "wide")
    assert "/dev/disk/by-id/nvme-Fast_9000_S1" in output
    assert "S1" in output
    assert "rotating" in output


@pytest.mark.parametrize("output", ["json", "yaml"])
def test_programs_get_all_of_it(output: str) -> None:
    _, text = run("disks", "-o", output)
    first, second = json.loads(text) if output == "json" else yaml.safe_load(text)
    assert first["may_become_pool"] is True
    assert first["size_bytes"] == 900 * GIB
    assert first["by_id"] == ["/dev/disk/by-id/nvme-Fast_9000_S1"]
    assert second["reason"] == "it is mounted at /"
    assert second["rotational"] is True
