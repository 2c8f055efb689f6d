"""The mount points of a simulated machine."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path

from driver.core.devices import Device, MountPoint


class MountTable:
    """The mount points of a simulated machine. Thread-safe; several mounts may be stacked on one
    target.
    """

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._layers: dict[Path, list[MountPoint]] = {}  # the topmost is the last

    def mounted_at(self, target: Path) -> MountPoint | None:
        """Return the topmost mount at `target`; None: nothing is mounted there."""
        with self._lock:
            layers = self._layers.get(target)
            return layers[-1] if layers else None

    def mount_points(self, device: Device) -> tuple[MountPoint, ...]:
        """Return all mounts of a device, including targets at which its device node is
        bind-mounted.
        """
        with self._lock:
            return tuple(mount for mount in self._all() if mount.number == device.number)

    def _all(self) -> list[MountPoint]:
        return [mount for layers in self._layers.values() for mount in layers]

    def _push(self, mount: MountPoint) -> None:
        """Add a mount on top of what its target shows."""
        self._layers.setdefault(mount.target, []).append(mount)

    def _show(  # noqa: PLR0913 - the facts of one mount point
        self,
        device: Device,
        target: Path,
        root: str,
        *,
        read_only: bool,
        node: bool = False,
        options: Sequence[str] = (),
    ) -> None:
        """Mount a device (its node, if `node`) at `target`. `root`: the part that is mounted."""
        self._push(
            MountPoint(
                target=target,
                number=device.number,
                node=node,
                root=root,
                read_only=read_only,
                options=frozenset({*options, "ro" if read_only else "rw"}),
            )
        )
