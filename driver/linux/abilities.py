"""Which filesystems and features this machine supports, with its kernel and its programs.

A supported feature is remembered for good. A missing one is checked again after a while, because an
administrator may install it.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Hashable
from pathlib import Path
from time import monotonic
from typing import Final

from driver.core.model import FsType
from driver.linux import command
from driver.linux.formats import filesystem
from driver.linux.mounts import fsopen

RETRY_INTERVAL: Final = 60.0  # seconds after which what was missing is checked again
_KNOWN: Final = Path("/proc/filesystems")
_MODULES: Final = Path("/lib/modules")
# Answers that say nothing of the filesystem: a kernel or a sandbox without fsopen(2).
_UNSAID: Final = frozenset({errno.EPERM, errno.EACCES, errno.ENOSYS})


class Abilities:
    """Remembers which features this machine supports. That it lacks a feature is remembered for one
    minute only, and then checked again.

    Thread-safe: two threads that ask at the same time get the same answer.
    """

    def __init__(self, clock: Callable[[], float] = monotonic) -> None:
        self._clock = clock
        self._lacking: dict[Hashable, tuple[float, str]] = {}
        self._has: set[Hashable] = set()

    def lacks(self, ability: Hashable, ask: Callable[[], str | None]) -> str | None:
        """Return why this machine lacks the feature `ability`, and what to do; None: the machine
        has it.

        `ask`: finds that out, and returns the reason or None; `ask` is only called if its last
        result is not remembered. An exception of `ask` is passed on and not remembered.
        """
        if ability in self._has:
            return None
        at, why = self._lacking.get(ability, (0.0, None))
        if why and self._clock() - at < RETRY_INTERVAL:
            return why
        if why := ask():
            self._lacking[ability] = self._clock(), why
        else:
            self._has.add(ability)
        return why


def lacks_filesystem(fs: FsType) -> str | None:
    """Return why volumes with `fs` cannot be used on this machine, and what to do; None: they can
    be used.
    """
    if missing := command.missing(filesystem.PROGRAMS[fs]):
        return f"no {fs} volumes on this node: {', '.join(missing)} not found"
    if not _is_in_kernel(fs):
        return f"no {fs} volumes on this node: its kernel has no {fs}"
    return None


def _is_in_kernel(fs: FsType) -> bool:
    """Return whether the kernel has the filesystem: loaded, or as a module of this release.

    Else fsopen(2) is called, which may load it. Where that is not permitted, or not known, the
    answer is True.
    """
    if fs in _KNOWN.read_text(encoding="ascii").split():
        return True
    release = _MODULES / os.uname().release
    if any(release.glob(f"kernel/fs/{fs}/{fs}.ko*")):
        return True
    try:
        fsopen.require(fs)
    except OSError as error:
        return error.errno in _UNSAID
    return True
