"""Versions of this machine's programs.

Newer ones turn on features that an older kernel cannot mount, and older ones refuse the flags that
turn them off.
"""

from __future__ import annotations

import re
from functools import cache
from typing import Final

from driver.linux import command

_TIMEOUT: Final = 60.0  # seconds


@cache
def version(program: str) -> tuple[int, ...]:
    """Return the version that `program -V` prints; () if it prints none.

    It is run once: a process does not outlive an upgrade of its image. Raises: CommandError.
    """
    match = re.search(r"\d+(\.\d+)*", command.run([program, "-V"], timeout=_TIMEOUT))
    return tuple(map(int, match[0].split("."))) if match else ()
