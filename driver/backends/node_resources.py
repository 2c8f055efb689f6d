"""The objects that all pools of one node share: the kernel's side of volumes, and one for each pool
type.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property, partial
from pathlib import Path
from typing import Any, TypeVar

from driver.core.ports.records import Records
from driver.linux import cgroup
from driver.linux.formats.luks import LinuxCrypt
from driver.linux.formats.luks import Options as LuksOptions
from driver.linux.host import LinuxHost
from driver.linux.io_limits import pods_cgroup
from driver.linux.io_limits.enforcement import LinuxIoLimits
from driver.linux.mounts.freeze import Freezer

T = TypeVar("T")


class NodeResources:
    """The objects that all pools of one node share. Each object is made when the first pool needs
    it.

    `owner`: the driver's name, with which pools are marked. `pool_records`: which pool was
    found at which location, stored outside of the pools. `pods_group`: the control group of all
    pods; None: the driver searches for it.
    """

    def __init__(
        self,
        owner: str,
        luks: LuksOptions,
        pool_records: Records,
        pods_group: Path | None = None,
    ) -> None:
        self.owner = owner
        self.pool_records = pool_records
        self._luks = luks
        self._pods_group = pods_group
        self._shared: dict[object, Any] = {}

    @cached_property
    def freezer(self) -> Freezer:
        """Return the object that freezes filesystems, in a child process."""
        return Freezer()

    @cached_property
    def host(self) -> LinuxHost:
        """Return the object that formats, mounts and examines filesystems on this machine. It
        implements the interface `Host` of driver/core/ports.
        """
        return LinuxHost()

    @cached_property
    def crypt(self) -> LinuxCrypt:
        """Return the object that formats, opens and closes LUKS containers. It implements the
        interface `Crypt` of driver/core/ports.
        """
        return LinuxCrypt(self._luks, cgroup.memory_limit())

    @cached_property
    def io_limits(self) -> LinuxIoLimits:
        """Return the object that enforces limits on the IO of pods. It implements the interface
        `IoLimits` of driver/core/ports.
        """
        return LinuxIoLimits(partial(pods_cgroup.find, self._pods_group))

    def shared(self, make: Callable[[NodeResources], T]) -> T:
        """Return an object that all pools of a type share: the result of the first call of
        `make(self)`.

        `make`: a module-level function, which is also the key under which its result is stored.
        """
        if make not in self._shared:
            self._shared[make] = make(self)
        value: T = self._shared[make]
        return value
