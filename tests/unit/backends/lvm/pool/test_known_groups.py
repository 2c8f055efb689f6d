"""A name proves nothing: which UUIDs a node has known under it."""

from __future__ import annotations

from driver.backends.lvm.pool.known_groups import KnownGroups
from driver.core.ports.memory_records import MemoryRecords


def test_a_location_that_was_never_recorded_differs_from_nothing() -> None:
    known = KnownGroups(MemoryRecords())
    assert known.group_uuid("vg") == ""
    assert not known.differs("vg", "U1", "")
    assert not known.differs("vg/thin", "U1", "T1")


def test_the_same_name_with_another_uuid_is_another_group_or_thin_pool() -> None:
    records = MemoryRecords()
    KnownGroups(records).record("vg/thin", "U1", "T1")
    KnownGroups(records).record("vg", "U1", "")
    known = KnownGroups(records)  # of the next process
    assert known.group_uuid("vg/thin") == known.group_uuid("vg") == "U1"
    assert not known.differs("vg/thin", "U1", "T1")
    for group, pool in (("U2", "T1"), ("U1", "T2"), ("U1", "")):
        assert known.differs("vg/thin", group, pool)
    assert known.differs("vg", "U2", "")
    known.record("vg", "U2", "")
    assert not known.differs("vg", "U2", "")
    assert known.differs("vg", "U1", "")
    assert not known.differs("vg/thin", "U1", "T1")


def test_the_disks_that_were_taken_are_known_to_the_next_process() -> None:
    records = MemoryRecords()
    KnownGroups(records).add_devices("vg", ["/dev/disk/by-path/pci-0000:00:1f.2"])
    KnownGroups(records).add_devices("vg", ["/dev/loop5", "/dev/disk/by-path/pci-0000:00:1f.2"])
    known = KnownGroups(records)
    assert known.devices("vg") == ("/dev/disk/by-path/pci-0000:00:1f.2", "/dev/loop5")
    assert known.devices("other") == ()
    assert known.group_uuid("vg") == ""
