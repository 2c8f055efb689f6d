"""Kinds of faults: names that users rely on, and the fault of a pool that cannot be used."""

from __future__ import annotations

import re

import pytest

from driver.core.errors import PoolFailed, PoolReadOnly, PoolSilent, PoolUnavailable
from driver.core.faults import FaultKind, Severity, unavailability_fault


@pytest.mark.parametrize(
    ("error", "kind", "severity"),
    [
        (PoolUnavailable("why"), FaultKind.POOL_AWAY, Severity.INACCESSIBLE),
        (PoolSilent("why"), FaultKind.POOL_AWAY, Severity.INACCESSIBLE),
        (PoolFailed("why"), FaultKind.POOL_FAILED, Severity.INACCESSIBLE),
        (PoolReadOnly("why"), FaultKind.POOL_READ_ONLY, Severity.DEGRADED),
    ],
)
def test_a_pool_that_is_read_only_can_be_read_and_others_cannot(
    error: PoolUnavailable, kind: FaultKind, severity: Severity
) -> None:
    fault = unavailability_fault(error)
    assert (fault.kind, fault.severity, fault.text) == (kind, severity, "why")


def test_a_kind_is_one_word_that_an_event_may_have_as_its_reason() -> None:
    """Kubernetes wants CamelCase of at most 128 characters."""
    assert all(re.fullmatch(r"([A-Z][a-z]+)+", kind) for kind in FaultKind)
    assert "PoolAway" in set(FaultKind)  # was so before the error had another name
