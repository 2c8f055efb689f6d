"""What device-mapper says of thin pools and thin volumes, and how it writes names."""

from __future__ import annotations

import pytest

from driver.linux.devices import dm
from driver.linux.devices.dm import ThinPool


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "0 1048576 thin-pool 3 215/2048 78/8192 - rw discard_passdown error_if_no_space - 512 ",
            ThinPool(215, 2048, 78, 8192, ""),
        ),
        (
            "0 1048576 thin-pool 3 215/2048 78/8192 - ro discard_passdown error_if_no_space - 512",
            ThinPool(215, 2048, 78, 8192, "it is read-only"),
        ),
        (
            "0 16 thin-pool 3 1/2 8/8 - out_of_data_space no_discard_passdown error_if_no_space - 1",
            ThinPool(1, 2, 8, 8, "it is full"),
        ),
        (
            "0 16 thin-pool 3 1/2 8/8 - rw no_discard_passdown error_if_no_space needs_check 1",
            ThinPool(1, 2, 8, 8, "its metadata must be repaired: `lvconvert --repair`"),
        ),
        ("0 1048576 thin-pool Fail", ThinPool(1, 1, 1, 1, "it has failed")),
    ],
)
def test_a_thin_pool_says_how_full_it_is_and_what_is_wrong(text: str, expected: ThinPool) -> None:
    assert dm.parse_thin_pool(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [("0 204800 thin 9984 204799", 9984 * 512), ("0 204800 thin 0 -", 0), ("0 8 thin Fail", 4096)],
)
def test_a_thin_volume_says_what_it_maps(text: str, expected: int) -> None:
    assert dm.parse_mapped_bytes(text) == expected


def test_names_of_devices_double_their_dashes() -> None:
    assert dm.lv_device_name("my-vg", "a-b.c") == "my--vg-a--b.c"
