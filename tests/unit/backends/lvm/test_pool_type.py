"""The options of LVM pools that say where the group is."""

from __future__ import annotations

import pytest

from driver.app.pool_spec import parse_pool
from driver.backends.lvm.pool_type import POOL_TYPE
from driver.core.errors import Invalid

BY_PATH = "/dev/disk/by-path/pci-0000:00:1f.2-ata-1"
UUID = "PhTnbm-GtpU-abcd-0123-4567-89AB-CDEFgh"


@pytest.mark.parametrize(
    ("text", "devices"),
    [
        ("/dev/sdb", ("/dev/sdb",)),
        (f"{BY_PATH}:/srv/lvm.img:/dev/nvme*", (BY_PATH, "/srv/lvm.img", "/dev/nvme*")),
    ],
)
def test_devices_are_paths_whatever_is_in_them(text: str, devices: tuple[str, ...]) -> None:
    pool = parse_pool(f"vg=lvm:cellar,devices={text}")
    assert POOL_TYPE.read(pool).options.devices == devices


@pytest.mark.parametrize("text", [UUID, UUID.replace("-", "")])
def test_the_uuid_of_a_group_is_read_with_and_without_dashes(text: str) -> None:
    assert POOL_TYPE.read(parse_pool(f"vg=lvm:cellar,uuid={text}")).options.uuid == UUID


@pytest.mark.parametrize(
    "option", ["devices=sdb", "devices=/dev/../sdb", "devices=", "uuid=1", "uuid=cellar", "uuid="]
)
def test_devices_and_uuids_that_are_none_are_refused(option: str) -> None:
    with pytest.raises(Invalid, match=option.partition("=")[0]):
        POOL_TYPE.read(parse_pool(f"vg=lvm:cellar,{option}"))
