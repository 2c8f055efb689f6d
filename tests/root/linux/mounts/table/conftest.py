"""Both ways to read the mounts."""

from __future__ import annotations

import pytest

from driver.linux.mounts.table import mount_table
from driver.linux.mounts.table.mount_table import MountTable
from driver.linux.mounts.table.mountinfo import MountinfoTable
from driver.linux.mounts.table.statmount_table import StatmountTable

HAS_STATMOUNT = isinstance(mount_table.table(), StatmountTable)


needs_statmount = pytest.mark.skipif(not HAS_STATMOUNT, reason="statmount(2): Linux 6.13")


@pytest.fixture(params=["mountinfo", pytest.param("statmount", marks=needs_statmount)])
def table(request: pytest.FixtureRequest) -> MountTable:
    return MountinfoTable() if request.param == "mountinfo" else StatmountTable()
