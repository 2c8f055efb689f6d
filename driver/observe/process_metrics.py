"""The metrics of a process that do not concern its calls, pools or volumes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path

from driver.observe.metrics import Metrics
from driver.tls.expiry import expiry
from driver.volumes.copies.background import BackgroundCopies


def add_copies(metrics: Metrics, copies: BackgroundCopies) -> None:
    """Add the gauges of copies in the background: their number, and the bytes that remain."""
    metrics.add_gauge(
        "cellar_copies", "Copies that go on in the background", lambda: len(copies.remaining())
    )
    metrics.add_gauge(
        "cellar_copies_remaining_bytes",
        "Bytes that the copies in the background have still to copy",
        lambda: sum(copies.remaining()),
    )


def add_queues(metrics: Metrics, waiting: Callable[[], Mapping[tuple[str, str], int]]) -> None:
    """Add a gauge of the calls that wait for a worker thread. `waiting`: returns their numbers, by
    the name of the pool and the name of the pool's group of worker threads.
    """
    metrics.add_gauges_by(
        "cellar_queue_length",
        "Calls that wait for a worker",
        ("pool", "class"),
        lambda: dict(waiting().items()),
    )


def add_certificates(metrics: Metrics, folder: Path | None) -> None:
    """Add a gauge of the expiry time of each certificate in `folder`; no-op if `folder` is None."""
    if folder:
        files = {"ca": folder / "ca.crt", "tls": folder / "tls.crt"}
        add_expiries(metrics, lambda: {name: path.read_bytes() for name, path in files.items()})


def add_expiries(metrics: Metrics, read: Callable[[], Mapping[str, bytes]]) -> None:
    """Add a gauge of the expiry time of certificates. `read`: returns the certificates in PEM
    format, by name.
    """

    def expiries() -> Mapping[str, float]:
        known: dict[str, float] = {}
        with suppress(OSError, ValueError):
            for name, certificate in read().items():
                known[name] = expiry(certificate)
        return known

    metrics.add_gauges(
        "cellar_certificate_expiry_timestamp_seconds",
        "When the certificate ends, in seconds since the epoch",
        "certificate",
        expiries,
    )
