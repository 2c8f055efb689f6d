"""The location of a pool decides what its volumes are: GROUP has thick ones, GROUP/POOL thin ones."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from driver.backends.lvm.options import Options
from driver.backends.lvm.provisioning.location import configure_provisioning
from driver.backends.lvm.provisioning.provisioning import Provisioning
from driver.backends.lvm.volume_group import Groups
from driver.core.errors import Invalid
from driver.core.model import Allocation
from driver.core.ports.memory_records import MemoryRecords


def provisioning(location: str, options: Options | None = None) -> Provisioning:
    return configure_provisioning("p", location, options or Options(), Groups(MemoryRecords()))


@pytest.mark.parametrize(
    ("location", "allocation"),
    [("vg", Allocation.THICK), ("vg/thin", Allocation.THIN), ("V.g_1+-/a", Allocation.THIN)],
)
def test_a_thin_pool_has_thin_volumes(location: str, allocation: Allocation) -> None:
    found = provisioning(location)
    assert (found.allocation, found.location) == (allocation, location)


@pytest.mark.parametrize(
    "location",
    ["", "/", "vg/", "/vg", "vg/a/b", "-vg", "vg/-a", "/dev/vg", "vg thin", "v" * 64, "vgü"],
)
def test_what_lvm_would_not_have_as_a_name_is_refused(location: str) -> None:
    with pytest.raises(Invalid, match="pool p: "):
        provisioning(location)


@given(st.text(max_size=80))
def test_no_location_becomes_an_option_or_another_path(text: str) -> None:
    with suppress(Invalid):
        found = provisioning(text).location
        assert not found.startswith(("-", "/"))
        assert not any(part.startswith("-") for part in found.split("/"))
        assert found.isascii()
        assert found.count("/") <= 1


@pytest.mark.parametrize("options", [Options(stripes=2), Options(mirrors=1)])
def test_stripes_and_mirrors_are_of_thick_volumes(options: Options) -> None:
    provisioning("vg", options)
    with pytest.raises(Invalid, match="are for thick volumes"):
        provisioning("vg/thin", options)


def test_two_pools_of_a_group_find_its_disks_in_the_same_way() -> None:
    groups = Groups(MemoryRecords())
    configure_provisioning("p", "vg", Options(devices=("/dev/sda",)), groups)
    configure_provisioning("q", "vg/thin", Options(devices=("/dev/sda",)), groups)
    with pytest.raises(Invalid, match="pool r: "):
        configure_provisioning("r", "vg/other", Options(devices=("/dev/sdb",)), groups)
