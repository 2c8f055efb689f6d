"""A number of device-mapper that a pod still has the node of is no other volume's."""

from __future__ import annotations

from pathlib import Path

import pytest

from driver.core.errors import Refused
from driver.linux.mounts import mount
from tests.lvm.conftest import layers, said
from tests.lvm.pools import create_volume, opened


def test_a_volume_is_not_attached_where_a_removed_one_is_still_mounted(
    location: str, tmp_path: Path
) -> None:
    with opened(location) as pool:
        first, second = create_volume(pool, "a"), create_volume(pool, "b")
        target = tmp_path / "target"
        target.touch()
        device = pool.attach(first, read_only=False)
        mount.bind(device.path, target, read_only=False)
        try:
            [layer] = layers()
            said("dmsetup", "remove", layer.split()[0])  # by an administrator
            with pytest.raises(Refused, match=str(target)):
                pool.attach(second, read_only=False)
            assert layers() == []
        finally:
            mount.unmount(target)
        pool.attach(second, read_only=False)
        pool.detach(second.id)
        for volume in (first, second):
            pool.delete(volume.id)
