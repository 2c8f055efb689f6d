"""Fixtures: disks over sparse files."""

from tests.support.blank_disks import disk, make_disk

__all__ = ["disk", "make_disk"]  # fixtures
