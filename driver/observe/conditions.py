"""The conditions of the chart's alerts, as far as this process can check them without Prometheus.

Conditions that people see in the lists of pools, nodes and calls are left out.
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Final

from driver.core.devices import Usage
from driver.core.faults import Fault
from driver.core.model import Volume
from driver.core.ports.conditions import Alarm, Condition
from driver.core.quantity import show_bytes
from driver.observe.metrics import Metrics

CERTIFICATE_DAYS: Final = 7
STUCK_SECONDS: Final = 60
NEARLY_FULL: Final = 0.05  # of a volume's filesystem is left
MOST: Final = 100  # conditions of one alert: more say nothing new
INTERVAL: Final = 10.0  # seconds between two looks, however often somebody asks
SEVERITIES: Final = {
    "CellarCertificateExpires": Alarm.WARNING,
    "CellarOrphanVolumes": Alarm.INFO,
    "CellarPoolDoesNotAnswer": Alarm.CRITICAL,
    "CellarVolumeNearlyFull": Alarm.WARNING,
}
_DAY: Final = 86400
# Faults of volumes, in the order in which their alerts are tried; the last takes the rest.
_FAULTS: Final = (
    ("CellarFilesystemErrors", Alarm.CRITICAL, re.compile("FilesystemErrors")),
    ("CellarVolumeReadOnly", Alarm.CRITICAL, re.compile("RemountedReadOnly|FilesystemShutDown")),
    ("CellarVolumeUnhealthy", Alarm.WARNING, re.compile("(?!Pool).*")),
)
# What a gauge means that is 0 or 1: its alert, severity, the bad value, and the text, in which {}
# is the value of the gauge's label.
_GAUGES: Final = {
    "cellar_kubelet_registered": (
        "CellarNotRegistered",
        Alarm.CRITICAL,
        0,
        "The driver is not registered with kubelet: no pod with a volume can start or stop",
    ),
    "cellar_state_problem": (
        "CellarStateNotWritten",
        Alarm.WARNING,
        1,
        "The state directory cannot be read or written",
    ),
    "cellar_kubernetes_watch_up": (
        "CellarWatchInterrupted",
        Alarm.WARNING,
        0,
        "The router does not hear of changes of {}, and works with what it last knew",
    ),
}

FaultsOfVolumes = Callable[[], Mapping[str, Sequence[Fault]]]
Usages = Callable[[], Sequence[tuple[Volume, Usage]]]


class Conditions:
    """Finds out which alert rules have a condition that is true on this node now, without
    Prometheus. Thread-safe.

    `faults`: returns the faults of volumes by the volume's id; `usages`: returns the usage of
    mounted volumes.
    """

    def __init__(
        self,
        metrics: Metrics,
        faults: FaultsOfVolumes = dict,
        usages: Usages = tuple,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._metrics = metrics
        self._faults = faults
        self._usages = usages
        self._clock = clock
        self._lock = threading.Lock()
        self._last: tuple[float, Sequence[Condition]] | None = None

    def read(self) -> Sequence[Condition]:
        """Return which alerts had a true condition when that was last checked, at most INTERVAL
        seconds ago. A check may have to wait for the disk of a filesystem.
        """
        with self._lock:
            if not self._last or self._clock() - self._last[0] >= INTERVAL:
                self._last = self._clock(), [*self._met()]
            return self._last[1]

    def _met(self) -> Iterator[Condition]:
        yield from self._check_gauges()
        yield from self._check_certificates()
        yield from self._check_workers()
        yield from self._check_orphans()
        yield from islice(self._check_faults(), MOST)
        yield from islice(self._check_usages(), MOST)

    def _check_gauges(self) -> Iterator[Condition]:
        for name, (alert, severity, bad, text) in _GAUGES.items():
            for labels, number in self._metrics.read(name).items():
                if number == bad:
                    yield Condition(alert, severity, text.format(*labels))

    def _check_certificates(self) -> Iterator[Condition]:
        expiries = self._metrics.read("cellar_certificate_expiry_timestamp_seconds")
        for (name,), end in expiries.items():
            days = (end - time.time()) / _DAY
            if days < CERTIFICATE_DAYS:
                text = f"The certificate {name} ends in {days:.1f} days"
                yield _condition("CellarCertificateExpires", text)

    def _check_workers(self) -> Iterator[Condition]:
        oldest = self._metrics.read("cellar_pool_oldest_call_seconds")
        for (pool,), stuck in self._metrics.read("cellar_pool_stuck_workers").items():
            seconds = oldest.get((pool,), 0)
            if stuck and seconds > STUCK_SECONDS:
                text = f"{stuck:.0f} calls hang in pool {pool}, the oldest for {seconds:.0f} s"
                yield _condition("CellarPoolDoesNotAnswer", text)

    def _check_orphans(self) -> Iterator[Condition]:
        for (node, pool), count in self._metrics.read("cellar_orphan_volumes").items():
            if count:
                text = (
                    f"Pool {pool} of {node} has {count:.0f} volumes that no PersistentVolume names"
                )
                yield _condition("CellarOrphanVolumes", text)

    def _check_faults(self) -> Iterator[Condition]:
        for volume_id, faults in self._faults().items():
            for fault in faults:
                for alert, severity, kinds in _FAULTS:
                    if kinds.fullmatch(fault.kind):
                        yield Condition(alert, severity, fault.text, volume_id)
                        break

    def _check_usages(self) -> Iterator[Condition]:
        for volume, usage in self._usages():
            if usage.total and usage.available / usage.total < NEARLY_FULL:
                text = f"{show_bytes(usage.available)} of {show_bytes(usage.total)} are left"
                yield _condition("CellarVolumeNearlyFull", text, str(volume.id))


def _condition(alert: str, text: str, volume_id: str = "") -> Condition:
    return Condition(alert, SEVERITIES[alert], text, volume_id)
