"""A volume group as this process sees it: its disks, its last report, and one lock around both.

A report is believed as long as the headers on the disks are what they were before it was asked.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from loguru import logger

from driver.core.errors import CellarError, PoolAway, StillRunning
from driver.linux import command, dm, loop, lvm, lvmlabel, places

_BLOCKS: Final = Path("/sys/class/block")


class Group:
    """Shared by the pools that lie in it."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.lock = threading.RLock()
        self.doubted = False  # a command was killed, and may have left something suspended
        self._disks: tuple[Path, ...] = ()
        self._uuid = ""
        self._stamp = b""
        self._report: lvm.VolumeGroup | None = None

    def look(self) -> lvm.VolumeGroup:
        """As it is now. PoolAway: missing, exported, not whole, or two of that name."""
        with self.lock:
            stamp = self._stamp_now()
            if self._report is None or stamp is None or stamp != self._stamp:
                self._report = None
                self._report, self._stamp = self._ask(stamp)
            if self._report.trouble:
                raise PoolAway(self._report.trouble)
            return self._report

    def change(self, verb: str, *words: str) -> None:
        """One command that changes it. CommandError, CommandTimeout."""
        with self.lock:
            try:
                lvm.change(self._disks, verb, *words)
            except (command.CommandTimeout, StillRunning):
                self.doubted = True
                raise

    def parts(self) -> Mapping[str, tuple[str, ...]]:
        """See `lvm.parts`."""
        with self.lock:
            return lvm.parts(self._disks, self.name)

    def of(self, volume: str) -> str:
        """The name by which a command knows a volume of it."""
        return f"{self.name}/{volume}"

    def _stamp_now(self) -> bytes | None:
        """None: a disk is not there, or not known."""
        if not self._disks:
            return None
        try:
            return lvmlabel.stamp(self._disks)
        except OSError:
            return None

    def _ask(self, stamp: bytes | None) -> tuple[lvm.VolumeGroup, bytes]:
        """The stamp is from before the report: a change in between is seen the next time."""
        if stamp is not None:
            try:
                return self._reported(stamp)
            except CellarError:
                logger.debug("{} is not on the disks where it was", self.name)
        self._disks = self._find()
        stamp = self._stamp_now()
        try:
            return self._reported(stamp or b"")
        except command.CommandError as error:
            self._disks = ()
            raise PoolAway(f"volume group {self.name} cannot be read: {error}") from error

    def _reported(self, stamp: bytes) -> tuple[lvm.VolumeGroup, bytes]:
        found = lvm.report(self._disks, self.name)
        self._uuid = found.uuid
        return found, stamp

    def _find(self) -> tuple[Path, ...]:
        """Its disks; of two groups with this name the one that was here before."""
        candidates = tuple(_candidates())
        disks = lvm.disks(candidates) if candidates else ()
        named = [disk for disk in disks if disk.group == self.name]
        uuids = {disk.group_uuid for disk in named}
        if self._uuid in uuids:
            uuids = {self._uuid}
        if not uuids:
            raise PoolAway(f"there is no volume group {self.name}: are its disks there? see `vgs`")
        if len(uuids) > 1:
            raise PoolAway(f"there are {len(uuids)} volume groups {self.name}: rename all but one")
        return tuple(disk.path for disk in named if disk.group_uuid in uuids)


class Groups:
    """One `Group` for each name."""

    def __init__(self) -> None:
        self._groups: dict[str, Group] = {}

    def named(self, name: str) -> Group:
        return self._groups.setdefault(name, Group(name))


def _candidates() -> Sequence[Path]:
    """Devices that carry LVM's label and do not lie on a logical volume, however deep.

    Of a disk and what makes it whole (multipath, a mirror) the uppermost.
    """
    every = sorted(_BLOCKS.iterdir())
    shown = [place for place in every if not _is_inside(place) and _is_disk(place.name)]
    names = {place.name for place in shown}
    return [Path("/dev", one.name) for one in shown if not names & set(_listed(one / "holders"))]


def _is_disk(name: str) -> bool:
    return lvmlabel.is_disk(Path("/dev", name))


def _is_inside(place: Path) -> bool:
    """Whether it lies on a logical volume, or is one: what a guest made is not for us."""
    try:
        if (place / "dm/uuid").read_text().startswith(("LVM-", dm.LAYER)):
            return True
    except OSError:
        pass  # not a device of device-mapper
    below = [*_listed(place / "slaves"), *_backing(place)]
    return any(_is_inside(_BLOCKS / name) for name in below)


def _listed(folder: Path) -> list[str]:
    try:
        return os.listdir(folder)
    except OSError:
        return []


def _backing(place: Path) -> list[str]:
    """The device that a loop device lies on: kubelet puts one on every raw block volume.

    By number: the path that the kernel shows is that of whoever bound it, and may be a link.
    """
    if not (place / "loop").is_dir():
        return []
    number = loop.below(Path("/dev", place.name))
    return [places.path_of(number).name] if number else []
