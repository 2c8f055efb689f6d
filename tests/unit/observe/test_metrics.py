"""What Prometheus is told."""

from __future__ import annotations

from driver.core.model import GIB
from driver.observe.metrics import Metrics
from tests.support.failing_backend import FailingBackend, failing_pool


def test_rpcs_are_counted_by_method_and_code() -> None:
    metrics = Metrics("1.2.3", [])
    metrics.on_finish("CreateVolume", "OK", 0.003)
    metrics.on_finish("CreateVolume", "ABORTED", 0.1)
    text = metrics.text().decode()
    assert 'cellar_rpc_seconds_count{code="OK",method="CreateVolume"} 1.0' in text
    assert 'cellar_rpc_seconds_bucket{code="OK",le="0.005",method="CreateVolume"} 1.0' in text
    assert 'cellar_rpc_seconds_count{code="ABORTED",method="CreateVolume"} 1.0' in text
    assert 'cellar_build_info{version="1.2.3"} 1.0' in text


def test_pools_are_looked_at_when_somebody_asks() -> None:
    pool = failing_pool("sim", GIB)
    metrics = Metrics("1", [pool])
    text = metrics.text().decode()
    assert 'cellar_pool_up{pool="sim",type="memory"} 1.0' in text
    assert 'cellar_pool_largest_bytes{pool="sim",type="memory"} 1.073741824e+09' in text
    assert isinstance(pool.backend, FailingBackend)
    pool.backend.make_unavailable()
    assert 'cellar_pool_up{pool="sim",type="memory"} 0.0' in metrics.text().decode()


def test_two_drivers_in_one_process_do_not_meet() -> None:
    first, second = Metrics("1", []), Metrics("1", [])
    first.on_finish("Probe", "OK", 0.1)
    assert "Probe" not in second.text().decode()
