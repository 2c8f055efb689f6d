"""Which free loop device is bound next."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from driver.linux.devices import loop, loop_free
from tests.root.linux.devices.conftest import (
    attach,
    sysfs,
)


def test_devices_that_others_took_or_removed_are_passed_over(
    plain: Path, attached: loop.Status, own_device: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = ["loop99999", attached.path.name, own_device.name]
    monkeypatch.setattr(loop_free, "candidates", lambda *_, discards: names)
    status = attach(plain)
    assert status.path == own_device
    loop.detach(status, bound=5)


def test_no_device_at_all_is_an_error(plain: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop_free, "candidates", lambda *_, discards: [])
    with pytest.raises(OSError, match="no loop device") as caught:
        attach(plain)
    assert caught.value.errno == errno.EBUSY


def test_a_device_that_was_without_discards_is_not_used_for_one_with_them(plain: Path) -> None:
    """They cannot be turned on again (Linux 6.9 and later)."""
    for discards in (True, False, True, False):
        status = attach(plain, discards=discards)
        assert (sysfs(status, "queue/discard_max_bytes") != "0") is discards
        loop.detach(status, bound=5)


def test_a_device_that_was_never_used_gets_no_discards_either(
    plain: Path, own_device: Path
) -> None:
    status = attach(plain, discards=False)
    assert sysfs(status, "queue/discard_max_bytes") == "0"
    loop.detach(status, bound=5)
