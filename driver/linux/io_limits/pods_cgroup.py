"""Finds the control group of all pods, which kubelet created; see cgroups(7).

Its name is `kubepods` with kubelet's cgroup driver cgroupfs, and `kubepods.slice` with systemd.
Below a `--cgroup-root`, as on nodes of kind, it is `kubelet/kubepods` or
`kubelet.slice/kubelet-kubepods.slice`.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path, PurePosixPath
from typing import Final

from driver.core.errors import Refused

ROOT: Final = Path("/sys/fs/cgroup")
OWN: Final = Path("/proc/self/cgroup")
IO_MAX: Final = "io.max"
_EFFECT: Final = "IO limits cannot be enforced on this node"
_DEPTH: Final = 4  # of a node's group inside of another machine's: system.slice/ID/kubelet/kubepods


def find(configured: Path | None = None, root: Path = ROOT, own: Path = OWN) -> Path:
    """Return the directory of the control group of all pods, in which IO limits can be set.

    `configured`: the directory in the settings; None: the driver searches for it. `root`, `own`:
    /sys/fs/cgroup and /proc/self/cgroup, except in tests. Raises: Refused: there is no such control
    group, or limits cannot be set in it; the text says what to do.
    """
    if not (root / "cgroup.controllers").exists():
        raise Refused(
            f"{_EFFECT}, because {root} does not have control groups of version 2: boot the node"
            " with systemd.unified_cgroup_hierarchy=1, and mount its /sys/fs/cgroup in a container"
        )
    group = configured or _own_pods_group(root, own) or _search(root)
    if not (group / "cgroup.controllers").exists():
        raise Refused(f"{_EFFECT}, because {group} is no control group: correct --pods-cgroup")
    if not (group / IO_MAX).exists():
        raise Refused(
            f"{_EFFECT}, because the controller io is off for {group}:"
            f" echo +io > {group.parent / 'cgroup.subtree_control'}"
        )
    if not is_writable(group / IO_MAX):
        raise Refused(
            f"{_EFFECT}, because {group / IO_MAX} cannot be written: set ioLimits.enabled=true"
            " in the chart, or mount the node's /sys/fs/cgroup writable"
        )
    return group


def is_writable(path: Path) -> bool:
    """Return whether this process can write to the file `path`; on a read-only mount even root
    cannot.
    """
    return os.access(path, os.W_OK)


def is_pods_group(name: str) -> bool:
    """Return whether `name` is a name that kubelet gives the control group of all pods."""
    return name in {"kubepods", "kubepods.slice"} or name.endswith("-kubepods.slice")


def _own_pods_group(root: Path, own: Path) -> Path | None:
    """Return the pods' group that this process is in itself, if it is in one that can be seen."""
    with suppress(OSError):
        for line in own.read_text(encoding="utf-8").splitlines():
            path = PurePosixPath(line.removeprefix("0::/")) if line.startswith("0::/") else None
            for folder in reversed((path, *path.parents)) if path else ():
                if is_pods_group(folder.name) and (root / folder).is_dir():
                    return root / folder
    return None


def _search(root: Path) -> Path:
    """Return the pods' group that is nearest to the root. Raises: Refused: there is none, or more
    than one.
    """
    level = [root]
    for _ in range(_DEPTH):
        level = [child for group in level for child in _children(group)]
        groups = [group for group in level if is_pods_group(group.name)]
        if len(groups) > 1:  # kubelet's driver was changed: one of them is left over
            groups = [group for group in groups if _has_processes(group)] or groups
        if len(groups) == 1:
            return groups[0]
        if groups:
            names = " and ".join(sorted(map(str, groups)))
            raise Refused(
                f"{_EFFECT}, because there are several control groups of pods: set --pods-cgroup to"
                f" one of {names}"
            )
    raise Refused(
        f"{_EFFECT}, because there is no control group of pods below {root}: start kubelet, or set"
        " --pods-cgroup"
    )


def _children(group: Path) -> Sequence[Path]:
    """Return the control groups in `group`; none if it is gone."""
    with suppress(OSError), os.scandir(group) as entries:
        return [Path(entry.path) for entry in entries if entry.is_dir(follow_symlinks=False)]
    return ()


def _has_processes(group: Path) -> bool:
    """Return whether there are processes in the group or below it."""
    with suppress(OSError):
        return "populated 1" in (group / "cgroup.events").read_text(encoding="ascii")
    return False
