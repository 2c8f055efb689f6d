"""The metrics for Prometheus."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Final

from prometheus_client import CollectorRegistry, Gauge, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily, InfoMetricFamily, Metric
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector

from driver.core.capacity import PoolState
from driver.core.ports.pool import Pool
from driver.observe.measured import Measured
from driver.volumes.pools.bounded_queries import LIST_TIMEOUT
from driver.volumes.pools.pool_states import States

_SECONDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
_GAUGES: Final[dict[str, tuple[str, Callable[[PoolState], float | None]]]] = {
    "up": ("Whether the pool can be used", lambda state: not state.unavailable),
    "total_bytes": ("Bytes that the pool can commit", lambda state: state.capacity.total),
    "committed_bytes": (
        "Bytes that are committed to its images",
        lambda state: state.capacity.committed,
    ),
    "largest_bytes": ("The largest volume it accepts", lambda state: state.capacity.largest),
    "freeing_bytes": ("Bytes of deleted volumes to be freed yet", lambda state: state.freeing),
    "volumes": ("Volumes in the pool", lambda state: state.volumes),
    "snapshots": ("Snapshots in the pool", lambda state: state.snapshots),
    "damaged_images": ("Images whose record cannot be read", lambda state: state.damaged),
    "reflink": ("Whether clones share bytes", lambda state: state.reflink),
    "data_used_ratio": ("Share of a volume group or thin pool", lambda state: state.data_used),
    "metadata_used_ratio": ("The same of its metadata", lambda state: state.metadata_used),
    "direct_io": ("Whether no volume goes through the page cache", lambda state: state.direct_io),
}


class Metrics:
    """The metrics for Prometheus: RPCs are counted when they end; pools are asked when the metrics
    are read.
    """

    def __init__(self, version: str, pools: Sequence[Pool]) -> None:
        self._registry = CollectorRegistry()
        self._rpcs = Histogram(
            "cellar_rpc_seconds",
            "Time from a call's arrival to its answer",
            ["method", "code"],
            registry=self._registry,
            buckets=_SECONDS,
        )
        ProcessCollector(registry=self._registry)
        self._registry.register(_Pools(version, States(pools)))
        self._registry.register(Measured())
        self._texts: list[Callable[[], bytes]] = []
        self._gauges: dict[str, Callable[[], Mapping[tuple[str, ...], float]]] = {}

    def add_gauge(self, name: str, text: str, value: Callable[[], float]) -> None:
        """Add a gauge with the help text `text`; `value` is called whenever the metrics are
        read.
        """
        Gauge(name, text, registry=self._registry).set_function(value)
        self._gauges[name] = lambda: {(): value()}

    def add_gauges(
        self, name: str, text: str, label: str, values: Callable[[], Mapping[str, float]]
    ) -> None:
        """Add a gauge with the help text `text` and one label.

        `values`: returns the gauge's values by the label's value; called whenever the metrics are
        read.
        """
        self.add_gauges_by(
            name, text, (label,), lambda: {(key,): value for key, value in values().items()}
        )

    def add_gauges_by(
        self,
        name: str,
        text: str,
        labels: Sequence[str],
        values: Callable[[], Mapping[tuple[str, ...], float]],
    ) -> None:
        """Add a gauge with several labels. `values`: returns the gauge's values by the labels'
        values.
        """
        self._registry.register(_Family(name, text, labels, values))
        self._gauges[name] = values

    def read(self, name: str) -> Mapping[tuple[str, ...], float]:
        """Return the values of an added gauge by the values of its labels; empty if there is no
        such gauge.
        """
        values = self._gauges.get(name)
        return values() if values else {}

    def add_text(self, text: Callable[[], bytes]) -> None:
        """Add metrics in Prometheus' text format. `text`: returns them whenever the metrics are
        read.
        """
        self._texts.append(text)

    def on_finish(self, method: str, code: str, seconds: float) -> None:
        """Count an RPC that has ended, with its gRPC code and duration in seconds."""
        self._rpcs.labels(method, code).observe(seconds)

    def text(self) -> bytes:
        """Return all metrics in Prometheus' text format. The pools are asked, which may take long,
        so `text` must not be called on the event loop.
        """
        return b"".join([generate_latest(self._registry), *(text() for text in self._texts)])


class _Family(Collector):
    """A gauge with labels, for things that come and go."""

    def __init__(
        self,
        name: str,
        text: str,
        labels: Sequence[str],
        values: Callable[[], Mapping[tuple[str, ...], float]],
    ) -> None:
        self._name, self._text, self._labels, self._values = name, text, labels, values

    def describe(self) -> Iterator[Metric]:
        """Return nothing: the values may not be there yet when this collector is registered."""
        return iter(())

    def collect(self) -> Iterator[Metric]:
        gauge = GaugeMetricFamily(self._name, self._text, labels=self._labels)
        for values, number in self._values().items():
            gauge.add_metric(values, number)
        yield gauge


class _Pools(Collector):
    """The gauges of all pools. They are asked when the metrics are read."""

    def __init__(self, version: str, states: States) -> None:
        self._version = version
        self._states = states

    def describe(self) -> Iterator[Metric]:
        """Return nothing, so that no pool is asked when this collector is registered."""
        return iter(())

    def collect(self) -> Iterator[Metric]:
        yield InfoMetricFamily("cellar_build", "This program", {"version": self._version})
        states = [known.state for known in self._states.read(LIST_TIMEOUT)]
        for name, (text, value) in _GAUGES.items():
            gauge = GaugeMetricFamily(f"cellar_pool_{name}", text, labels=["pool", "type"])
            for state in states:
                if (number := value(state)) is not None:
                    gauge.add_metric([state.name, state.type], number)
            yield gauge
