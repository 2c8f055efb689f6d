"""What a demo that failed has left is removed."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from threading import Timer

from driver.cli.demo import environment


def test_a_mount_that_is_in_use_for_a_moment_is_unmounted(tmp_path: Path) -> None:
    """As by the child of a killed driver, which thaws what the driver had frozen."""
    target = tmp_path / "target"
    target.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", target], check=True)
    fd = os.open(target, os.O_RDONLY)
    closing = Timer(0.3, os.close, [fd])
    closing.start()
    environment._sweep(tmp_path)
    assert not os.path.ismount(target)
    closing.join()
