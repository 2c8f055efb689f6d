"""The memory that this process may have, as its control groups say it."""

from __future__ import annotations

from pathlib import Path

import pytest

from driver.core.model import MIB
from driver.linux import cgroup


def _written(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        place = root / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text)
    return root


@pytest.mark.parametrize(
    ("own", "files", "limit"),
    [
        ("0::/\n", {"memory.max": f"{512 * MIB}\n"}, 512 * MIB),
        ("0::/\n", {"memory.max": "max\n"}, None),
        ("0::/\n", {}, None),
        ("0::/a/b\n", {"a/memory.max": "5\n", "a/b/memory.max": "max\n"}, 5),
        ("0::/a/b\n", {"a/memory.max": "5\n", "a/b/memory.max": "3\n", "memory.max": "9"}, 3),
        ("0::/../..\n", {"memory.max": "7\n"}, 7),
        ("4:memory:/pod\n0::/\n", {"memory/pod/memory.limit_in_bytes": "8\n"}, 8),
        ("4:memory:/pod\n", {"memory/memory.limit_in_bytes": "6\n"}, 6),
        ("4:cpu,memory:/\n", {"memory/memory.limit_in_bytes": str((1 << 63) - 4096)}, None),
        ("3:cpu:/\n0::/x\n", {"unified/x/memory.max": "4"}, 4),
    ],
)
def test_the_least_limit_counts(
    tmp_path: Path, own: str, files: dict[str, str], limit: int | None
) -> None:
    (tmp_path / "own").write_text(own)
    root = _written(tmp_path / "root", files)
    assert cgroup.memory_limit(tmp_path / "own", root) == limit


def test_a_kernel_without_groups_has_no_limit(tmp_path: Path) -> None:
    assert cgroup.memory_limit(tmp_path / "own", tmp_path) is None


def test_the_real_one_can_be_asked() -> None:
    limit = cgroup.memory_limit()
    assert limit is None or limit > MIB
