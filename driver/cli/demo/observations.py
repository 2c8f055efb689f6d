"""The demo's observations of a volume on the machine: files, loop device, mounts, bytes."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TypeAlias

from driver.backends.loopfile.images.layout import DISK as IMAGE
from driver.cli.output import human
from driver.linux.devices import block, loop
from driver.linux.mounts.table import mount_table

Observation: TypeAlias = tuple[str, str]


class Observations:
    """Reads from the kernel and the pool's directory what the driver has done to volumes, for the
    demo to print.

    `pool`: the pool's directory; None: the pool is simulated, so only mount directories can be
    observed.
    """

    def __init__(self, pool: Path | None) -> None:
        self._pool = pool

    @property
    def real(self) -> bool:
        """Return whether the pool is on a real filesystem, and not simulated."""
        return self._pool is not None

    def image(self, image_id: str) -> Iterator[Observation]:
        """Yield an observation of the image file: its size, and the space that it occupies
        on disk.
        """
        if self._pool:
            folder = self._pool / image_id
            stats = (folder / IMAGE).stat()
            size, occupied = human(stats.st_size), human(stats.st_blocks * 512)
            yield f"pool/{image_id}", f"{IMAGE}: {size}, occupies {occupied}"

    def record(self, image_id: str, name: str) -> Iterator[Observation]:
        """Yield an observation of the fields in the JSON file `name` in the image's folder."""
        if self._pool:
            fields = json.loads((self._pool / image_id / name).read_text(encoding="utf-8"))
            text = "  ".join(f"{key}={value}" for key, value in fields.items() if key != "id")
            yield name, text

    def device(self, image_id: str) -> Iterator[Observation]:
        """Yield an observation of the image's loop device; nothing if the image has none."""
        if status := self._status(image_id):
            mode = "direct I/O" if loop.has_direct_io(status) else "page cache"
            yield str(status.path), f"{human(block.size(status.path))}, {mode}, attached to {IMAGE}"

    def mounted(self, target: Path) -> Iterator[Observation]:
        """Yield an observation of the mount at `target`: its filesystem type, source and
        options.
        """
        for mounted in mount_table.at(target):
            options = ",".join(sorted(mounted.options))
            yield str(target), f"{mounted.fs_type} on {mounted.source} ({options})"
        if not self._pool:
            yield str(target), f"{'a directory' if target.is_dir() else 'nothing'} (simulated)"

    def free_space(self, target: Path) -> Iterator[Observation]:
        """Yield an observation of the total and the available space at `target`, as df
        prints them.
        """
        if self._pool:
            stats = os.statvfs(target)
            total, free = stats.f_blocks * stats.f_frsize, stats.f_bavail * stats.f_frsize
            yield f"df {target}", f"{human(total)}, of which {human(free)} available"

    def used_bytes(self) -> int:
        """Return the bytes in use on the pool's filesystem; 0 if the pool is simulated."""
        if not self._pool:
            return 0
        stats = os.statvfs(self._pool)
        return (stats.f_blocks - stats.f_bfree) * stats.f_frsize

    def _status(self, image_id: str) -> loop.Status | None:
        if not self._pool:
            return None
        stats = (self._pool / image_id / IMAGE).stat()
        return loop.find((stats.st_dev, stats.st_ino))
