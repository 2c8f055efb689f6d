"""`cellar demo` on the real machine. In a mount namespace of its own, since other tests that run
beside it copy mount namespaces, and would hold the demo's mounts.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[4]
CAP_SYS_RESOURCE = 24
pytestmark = pytest.mark.root


def demo(tmp_path: Path, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    alone = ["unshare", "--mount", "--propagation", "private"]
    return subprocess.run(
        [*alone, sys.executable, "-m", "driver", "demo", *words],
        cwd=ROOT,
        env={**os.environ, "TMPDIR": str(tmp_path), **environment},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def can_grow_ext4() -> bool:
    """The kernel wants CAP_SYS_RESOURCE for it (ext4_resize_begin), which not all roots have."""
    status = Path("/proc/self/status").read_text()
    [line] = [line for line in status.splitlines() if line.startswith("CapEff:")]
    return bool(int(line.split()[1], 16) >> CAP_SYS_RESOURCE & 1)


@pytest.mark.slow
@pytest.mark.parametrize("fs", ["ext4", "xfs", "btrfs"])
def test_a_real_volume_lives_its_whole_life(tmp_path: Path, fs: str) -> None:
    if fs == "ext4" and not can_grow_ext4():
        pytest.skip("growing a mounted ext4 needs CAP_SYS_RESOURCE, which root has not here")
    result = demo(tmp_path, "--fs", fs)
    assert result.returncode == 0, result.stdout + result.stderr
    for proof in (
        "what the file held when the snapshot was taken",
        "what the file holds in the first volume",
        "the open file could be written before and after",
        "no mount and no loop device of any volume",
        "no file in the pool but its marker",
    ):
        assert f"✔ {proof}" in result.stdout
    assert "✘" not in result.stdout
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
@pytest.mark.parametrize(
    "point", ["create.renamed", "stage.mounted", "hold.frozen", "expand.grown"]
)
def test_a_driver_that_is_killed_ends_the_demo_with_status_1_and_nothing_stays(
    tmp_path: Path, point: str
) -> None:
    result = demo(tmp_path, CELLAR_FAILPOINT=point)
    assert result.returncode == 1
    assert "the demo ends here" in result.stdout
    assert list(tmp_path.iterdir()) == []
