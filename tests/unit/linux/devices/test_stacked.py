"""Devices that lie on others."""

from __future__ import annotations

from driver.linux.devices import stacked


def test_nothing_is_above_a_device_that_is_not_there() -> None:
    assert stacked.devices_above(0) == ()
