"""Which loop device shows which image."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from driver.backends.loopfile import backend as loopfile
from driver.core.errors import Refused
from driver.linux.devices import loop
from driver.linux.mounts.freeze import Freezer
from tests.root.backends.loopfile.conftest import (
    a_volume,
    image_of,
    nothing,
    open_pool,
)

pytestmark = pytest.mark.root


def test_a_device_whose_image_was_unlinked_can_still_be_detached(
    pool: loopfile.Loopfile, pool_dir: Path
) -> None:
    volume = a_volume(pool)
    pool.create(volume, nothing)
    device = pool.attach(volume, read_only=False)
    image_of(pool_dir, volume).unlink()
    found = pool.attached(volume.id)
    assert found == device
    pool.detach(volume.id)
    assert pool.attached(volume.id) is None


def test_a_held_device_is_refused_with_the_names_of_its_holders(pool: loopfile.Loopfile) -> None:
    volume = a_volume(pool)
    pool.create(volume, nothing)
    device = pool.attach(volume, read_only=False)
    fd = os.open(device.path, os.O_RDONLY)
    try:
        with pytest.raises(Refused, match=str(os.getpid())):
            pool.detach(volume.id)
    finally:
        os.close(fd)
    pool.detach(volume.id)
    assert pool.attached(volume.id) is None


def test_the_devices_of_an_earlier_process_are_found_with_one_look_at_each(
    pool_dir: Path, freezer: Freezer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not by a search among all devices for each image, which takes seconds among a thousand."""
    earlier = open_pool(pool_dir, freezer)
    volumes = [a_volume(earlier, name) for name in ("a", "b", "c")]
    for volume in volumes:
        earlier.create(volume, nothing)
    devices = [earlier.attach(volume, read_only=False) for volume in volumes[:2]]
    earlier.close()
    searched: list[object] = []
    monkeypatch.setattr(loop, "find", lambda *image: searched.append(image))
    pool = open_pool(pool_dir, freezer)
    assert [pool.attached(volume.id) for volume in volumes] == [*devices, None]
    assert searched == []
    monkeypatch.undo()
    for volume in volumes:
        pool.detach(volume.id)
    pool.close()
