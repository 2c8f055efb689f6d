"""Promise 4 on logical volumes: killed at any point, it comes back right, and the step can be repeated."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

from driver.backends.lvm import Lvm
from driver.core.errors import CellarError
from driver.core.model import Image, Volume
from tests.harness import ROOT
from tests.lvm.act import NEW, STEPS
from tests.lvm.conftest import layers, volumes
from tests.lvm.pools import SIZE, begins_with, made, opened, snapped

OLD = b"old bytes"
CREATE = [f"create.{one}" for one in ("building", "allocated", "prepared", "synced", "renamed")]
POINTS = [
    *(("create", one) for one in CREATE),
    *(("snapshot", one) for one in (*CREATE, "hold.marked", "hold.frozen", "hold.thawed")),
    *(("restore", one) for one in CREATE),
    *(("expand", f"resize.{one}") for one in ("allocated", "recorded", "device")),
    ("delete", "delete.synced"),
    ("attach", "attach.configured"),
    ("detach", "detach.cleared"),
]


def killed(where: str, step: str, point: str) -> None:
    words = [sys.executable, "-m", "tests.lvm.act", where, step]
    environment = {**os.environ, "CELLAR_FAILPOINT": point}
    done = subprocess.run(
        words, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == -signal.SIGKILL, done.stderr


@pytest.mark.timeout(3000)
def test_killed_anywhere_it_comes_back_right(where: str) -> None:
    for step, point in POINTS:
        with opened(where) as pool:
            volume = seed(pool, step)
            if step == "restore" and not pool.shares(volume.id):
                clear(pool)
                continue  # a copy is the use cases' business
        killed(where, step, point)
        with opened(where) as pool:
            images = {image.name: image for image in pool.images()}
            check_whole(pool, where, step, images)
            repeat(pool, step, images)
            clear(pool)
        assert volumes(where) == [], point
        assert layers() == [], point


def seed(pool: Lvm, step: str) -> Volume:
    """A volume and its snapshot, attached where the step needs it."""
    volume = made(pool, "kept", OLD)
    snapped(pool, volume, "old")
    if step in {"snapshot", "expand", "detach"}:
        pool.attach(volume, read_only=False)
    return volume


def check_whole(pool: Lvm, where: str, step: str, images: dict[str, Image]) -> None:
    """What exists is whole, what does not has left nothing."""
    assert {"kept", "old"} <= set(images) or step == "delete"
    assert len(volumes(where)) == len(images)
    for name, image in images.items():
        data = NEW if (name, step) == ("new", "create") else OLD
        assert begins_with(pool, image.id, data)
        with pool.reading(image.id) as path, path.open("rb") as file:
            assert file.read(image.size)[SIZE:].strip(b"\0") == b""


def repeat(pool: Lvm, step: str, images: dict[str, Image]) -> None:
    """As a sidecar does: what is there already is not made again."""
    done = step in {"create", "snapshot", "restore"} and "new" in images
    if not done and not (step == "delete" and "kept" not in images):
        STEPS[step](pool)


def clear(pool: Lvm) -> None:
    for image in tuple(pool.images()):
        pool.detach(image.id)
        try:
            pool.delete(image.id)
        except CellarError as error:
            pytest.fail(f"{image.id}: {error}")
