"""The label of a pool's filesystem."""

from __future__ import annotations

from driver.linux.disks.pool_filesystem import filesystem_label


def test_a_label_is_the_pools_name_or_a_hash_of_it_and_fits_into_xfs() -> None:
    assert filesystem_label("fast") == "cellar-fast"
    assert filesystem_label("12345") == "cellar-12345"
    labels = {filesystem_label(f"a-pool-with-a-long-name-{number}") for number in range(50)}
    assert len(labels) == 50
    assert all(len(label) == 12 for label in labels)
