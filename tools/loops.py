"""Loop devices as on a machine that was just started.

The kernel keeps what was set on a device for as long as it lives (since Linux 6.9 also
`discard_max_bytes=0`), so what one run leaves could make the next one pass: each begins with fresh
devices.
"""

from __future__ import annotations

import fcntl
import os
from contextlib import suppress
from pathlib import Path
from typing import Final

from tools.shell import say

CONTROL: Final = Path("/dev/loop-control")
LOOP_CTL_REMOVE: Final = 0x4C81  # <linux/loop.h>


def forget_unused() -> None:
    """Remove all loop devices that are not bound; what is in use stays (EBUSY)."""
    if not os.access(CONTROL, os.R_OK | os.W_OK):
        return
    before = _unbound()
    control = os.open(CONTROL, os.O_RDWR | os.O_CLOEXEC)
    try:
        for number in before:
            with suppress(OSError):  # bound or opened meanwhile, or gone
                fcntl.ioctl(control, LOOP_CTL_REMOVE, number)
    finally:
        os.close(control)
    say(f"removed {len(before - _unbound())} loop devices that nobody uses: others will be fresh")


def _unbound() -> set[int]:
    known = Path("/sys/block").glob("loop*")
    return {int(one.name.removeprefix("loop")) for one in known if not (one / "loop").exists()}
