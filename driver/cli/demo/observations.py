"""What anybody can see of a volume on the machine: files, loop device, mounts, bytes."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TypeAlias

from driver.backends.loopfile.layout import DISK as IMAGE
from driver.cli.output import human
from driver.linux.devices import block, loop
from driver.linux.mounts import mount_table

Sight: TypeAlias = tuple[str, str]


class Observations:
    """What can be seen of volumes on the machine.

    `pool`: its directory; None: it is simulated, and nothing but directories can be seen.
    """

    def __init__(self, pool: Path | None) -> None:
        self._pool = pool

    @property
    def real(self) -> bool:
        """Whether the pool is not simulated."""
        return self._pool is not None

    def image(self, image_id: str) -> Iterator[Sight]:
        """Yield the image file: its size, and the space that it occupies."""
        if self._pool:
            folder = self._pool / image_id
            found = (folder / IMAGE).stat()
            size, occupied = human(found.st_size), human(found.st_blocks * 512)
            yield f"pool/{image_id}", f"{IMAGE}: {size}, occupies {occupied}"

    def record(self, image_id: str, name: str) -> Iterator[Sight]:
        """Yield the fields of one of the JSON files beside the image."""
        if self._pool:
            fields = json.loads((self._pool / image_id / name).read_text(encoding="utf-8"))
            said = "  ".join(f"{key}={value}" for key, value in fields.items() if key != "id")
            yield name, said

    def device(self, image_id: str) -> Iterator[Sight]:
        """Yield the loop device of the image, if it has one."""
        if status := self._status(image_id):
            way = "direct I/O" if loop.has_direct_io(status) else "through the page cache"
            yield str(status.path), f"{human(block.size(status.path))}, {way}, shows {IMAGE}"

    def mounted(self, target: Path) -> Iterator[Sight]:
        """Yield what is mounted at `target`."""
        for one in mount_table.at(target):
            how = ",".join(sorted(one.options))
            yield str(target), f"{one.fs_type} on {one.source} ({how})"
        if not self._pool:
            yield str(target), f"{'a directory' if target.is_dir() else 'nothing'} (simulated)"

    def room(self, target: Path) -> Iterator[Sight]:
        """Yield the total and the available space at `target`, as df shows it."""
        if self._pool:
            found = os.statvfs(target)
            total, free = found.f_blocks * found.f_frsize, found.f_bavail * found.f_frsize
            yield f"df {target}", f"{human(total)}, of which {human(free)} available"

    def used(self) -> int:
        """Return the bytes in use on the pool's filesystem; 0 if it is simulated."""
        if not self._pool:
            return 0
        found = os.statvfs(self._pool)
        return (found.f_blocks - found.f_bfree) * found.f_frsize

    def _status(self, image_id: str) -> loop.Status | None:
        if not self._pool:
            return None
        found = (self._pool / image_id / IMAGE).stat()
        return loop.find((found.st_dev, found.st_ino))
