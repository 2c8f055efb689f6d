"""The options of a simulated pool."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from driver.core.model import Allocation


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """The options of a simulated pool. `allocation`: that of its volumes; `overcommit`: the factor
    by which sparse images may exceed the size; `reserve`: bytes or a percentage that images never
    get; `reflink`: whether clones and snapshots share bytes; if False each is a copy, as on ext4;
    `clock`: returns monotonic seconds.
    """

    allocation: Allocation = Allocation.THICK
    overcommit: float = 1.0
    reserve: str = "0"  # bytes, or a percentage of the size: "10GiB", "5%"; never given out
    reflink: bool = True
    clock: Callable[[], float] = time.monotonic
