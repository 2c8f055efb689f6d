"""What counts as behind."""

from __future__ import annotations

import pytest

from tools.outdated import LOCKED, Row


@pytest.mark.parametrize(
    ("ours", "newest", "behind"),
    [
        ("v1.37.2", "v1.37.2", False),
        ("v1.37.2", "v1.37.10", True),
        ("v1.36.4", "v1.36.3", False),
        ("2026.10.18", "2026.10.19.post1", True),
        ("trixie", "forky", True),
        ("trixie", "trixie", False),
    ],
)
def test_a_version_is_behind_when_there_is_a_newer_one(
    ours: str, newest: str, *, behind: bool
) -> None:
    assert Row("it", ours, newest).is_behind() is behind


def test_a_lock_is_read_by_its_names_and_versions() -> None:
    text = "grpcio==1.85.1 \\\n    --hash=sha256:ab\nyarl==1.25.1 ; python_version < '3.14'\n"
    assert LOCKED.findall(text) == [("grpcio", "1.85.1"), ("yarl", "1.25.1")]
