"""The metrics of a process: copies, queues, certificates."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from driver.observe import process_metrics
from driver.observe.metrics import Metrics
from driver.tls import authority
from driver.tls.expiry import expiry
from driver.volumes.copies.background import BackgroundCopies


def test_copies_and_queues_are_asked_when_the_metrics_are_read() -> None:
    metrics, waiting = Metrics("1", []), {("fast", "pod"): 1}
    process_metrics.add_queues(metrics, lambda: waiting)
    process_metrics.add_copies(metrics, BackgroundCopies(lambda _: ThreadPoolExecutor()))
    waiting["fast", "pod"] = 7
    text = metrics.text().decode()
    assert 'cellar_queue_length{class="pod",pool="fast"} 7.0' in text
    assert "cellar_copies 0.0" in text
    assert "cellar_copies_remaining_bytes 0.0" in text


def test_the_ends_of_the_certificates_are_told_while_they_can_be_read(tmp_path: Path) -> None:
    authority.create(tmp_path)
    metrics = Metrics("1", [])
    process_metrics.add_certificates(metrics, tmp_path / "node")
    name = "cellar_certificate_expiry_timestamp_seconds"
    values = {
        line.split('"')[1]: float(line.split()[-1])
        for line in metrics.text().decode().splitlines()
        if line.startswith(f"{name}{{")
    }
    files = {"ca": "ca.crt", "tls": "tls.crt"}
    assert values == {
        key: expiry((tmp_path / "node" / file).read_bytes()) for key, file in files.items()
    }
    (tmp_path / "node/ca.crt").write_text("nonsense")
    assert f'{name}{{certificate="ca"}}' not in metrics.text().decode()


def test_without_certificates_there_is_no_metric_of_them() -> None:
    metrics = Metrics("1", [])
    process_metrics.add_certificates(metrics, None)
    assert "certificate" not in metrics.text().decode()
