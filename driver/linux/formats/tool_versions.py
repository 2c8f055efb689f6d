"""The versions of programs on this machine.

Newer mkfs turn on features that an older kernel cannot mount, and older ones refuse the options
that turn these off.
"""

from __future__ import annotations

import re
from functools import cache
from typing import Final

from driver.linux import command

_TIMEOUT: Final = 60.0  # seconds


@cache
def version(program: str) -> tuple[int, ...]:
    """Return the version that `program -V` prints; () if it prints no version.

    The program is run only once, because this process does not outlive an upgrade of its container
    image. Raises: CommandError.
    """
    match = re.search(r"\d+(\.\d+)*", command.run([program, "-V"], timeout=_TIMEOUT))
    return tuple(map(int, match[0].split("."))) if match else ()
