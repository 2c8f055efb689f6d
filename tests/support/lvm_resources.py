"""What the pools of logical volumes of one process share."""

from __future__ import annotations

from dataclasses import dataclass

from driver.linux.mounts.freeze import Freezer


@dataclass(frozen=True)
class LvmResources:
    """The owner and the freezer that pools of logical volumes get from their process."""

    owner: str
    freezer: Freezer
