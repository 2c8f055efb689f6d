"""The metric of the IO limits that volumes have."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from driver.core.model import Volume
from driver.observe.metrics import Metrics

_LABELS: Final = {  # direction and unit, by the field of Limits
    "read_iops": ("read", "operations"),
    "write_iops": ("write", "operations"),
    "read_bps": ("read", "bytes"),
    "write_bps": ("write", "bytes"),
}


def add_limits(metrics: Metrics, limited: Callable[[], Sequence[Volume]]) -> None:
    """Add a gauge of each IO limit that is set. `limited` returns the volumes that have limits, and
    is called when the metrics are read.
    """

    def limits() -> dict[tuple[str, ...], float]:
        return {
            (str(volume.id), *labels): value
            for volume in limited()
            for name, labels in _LABELS.items()
            if (value := getattr(volume.limits, name))
        }

    metrics.add_gauges_by(
        "cellar_volume_limit",
        "The IO limit of a volume per second",
        ("volume", "direction", "unit"),
        limits,
    )
