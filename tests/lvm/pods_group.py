"""The control group of all pods, as kubelet makes it, and one pod in it."""

from __future__ import annotations

import os
from pathlib import Path

from driver.core.model import Limits
from driver.linux.io_limits import io_max
from tests.support.waiting import wait_until

ROOT = Path("/sys/fs/cgroup")


class Pods:
    """The control group of all pods, as kubelet makes it, and one pod in it."""

    path = ROOT / "kubepods.slice"
    pod = path / "kubepods-pod1.slice"

    def make(self) -> None:
        for group in (ROOT, self.path, self.pod):
            group.mkdir(exist_ok=True)
            if group != self.pod:
                (group / "cgroup.subtree_control").write_text("+io +memory")

    def remove(self) -> None:
        for group in (self.pod, self.path):
            wait_until(lambda group=group: _is_removed(group))  # type: ignore[misc]

    def limits(self) -> dict[int, Limits]:
        return dict(io_max.parse((self.path / "io.max").read_text()))

    def written_bytes(self, number: int) -> int:
        """Return how many bytes that were written to a device the kernel has counted for all pods.

        `number`: dev_t. Documentation/admin-guide/cgroup-v2.rst, io.stat.
        """
        device = f"{os.major(number)}:{os.minor(number)} "
        for line in (self.path / "io.stat").read_text().splitlines():
            if line.startswith(device):
                return int(dict(word.split("=") for word in line.split()[1:])["wbytes"])
        return 0

    def set_line(self, line: str) -> None:
        (self.path / "io.max").write_text(line)


def _is_removed(group: Path) -> bool:
    try:
        group.rmdir()
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return True
