"""Promise 4 on logical volumes: killed at any point, it comes back right; the step can be repeated."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Iterator

import pytest

from driver.backends.lvm.backend import Lvm
from driver.core import failpoints
from driver.core.failpoints import FailPoint
from driver.core.model import Image, Volume
from tests.lvm.act import NEW, STEPS
from tests.lvm.conftest import layers, tags, volumes
from tests.lvm.pools import SIZE, begins_with, create_snapshot, create_volume, opened
from tests.support.driver_process import ROOT

OLD = b"old bytes"
CREATE = [f"create.{point}" for point in ("building", "allocated", "prepared", "synced", "renamed")]
POINTS = {
    "create": CREATE,
    "snapshot": [*CREATE, "hold.marked", "hold.frozen", "hold.thawed"],
    "copy": ["still.taken"],
    "restore": CREATE,
    "replace_contents": ["refill.building", "refill.synced", "refill.recorded"],
    "expand": ["resize.allocated", "resize.freed", "resize.recorded", "resize.device"],
    "delete": ["delete.synced"],
    "attach": ["attach.configured"],
    "detach": ["detach.cleared"],
}
NOT_STEPS = {"record.renamed"}  # one command, and nothing beside it
PAIRS = [(step, point) for step, points in POINTS.items() for point in points]
COVERED = {"snapshot", "restore"}  # what they share with `create` is shown there


def parametrized() -> Iterator[object]:
    for step, point in PAIRS:
        twice = step in COVERED and point in CREATE
        yield pytest.param(step, point, marks=[pytest.mark.slow] if twice else [])


def test_the_points_are_those_that_the_sources_pass() -> None:
    backends = ROOT / "driver/backends"
    modules = [backends / "quiesce.py", *(backends / "lvm").rglob("*.py")]
    sources = "".join(module.read_text() for module in modules)
    points = {FailPoint[name] for name in re.findall(r"\breach\(FailPoint\.(\w+)\)", sources)}
    assert points == {point for _, point in PAIRS} | NOT_STEPS


@pytest.fixture(scope="module", autouse=True)
def empty_pool(lasting: str) -> Iterator[None]:
    yield
    with opened(lasting) as pool:
        for image in tuple(pool.images()):
            pool.detach(image.id)
            pool.delete(image.id)
    assert volumes(lasting) == []
    assert layers() == []


@pytest.mark.parametrize(("step", "point"), list(parametrized()))
def test_killed_there_it_comes_back_right(lasting: str, step: str, point: str) -> None:
    with opened(lasting) as pool:
        volume = seeded(pool, step)
        thin = pool.shares(volume.id)
    if thin and point == "resize.freed":
        return  # a thin volume grows in one step
    if step == "restore" and not thin:
        return  # a copy: with other contents than `create`, and no more points
    killed(lasting, step, point)
    with opened(lasting) as pool:
        images = {image.name: image for image in pool.images()}
        check_whole(pool, lasting, step, images)
        repeat(pool, step, images)
        clear(pool)
    assert len(volumes(lasting)) <= 2
    assert layers() == []


def killed(location: str, step: str, point: str) -> None:
    """In a process of its own; a fork, because a new Python takes longer than all the rest."""
    child = os.fork()
    if child == 0:
        try:
            failpoints._armed = point  # as the environment would set it
            with opened(location) as pool:
                STEPS[step](pool)
        finally:
            os._exit(1)  # not killed: nothing of pytest's may run here
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL


def seeded(pool: Lvm, step: str) -> Volume:
    """A volume and its snapshot, attached where the step needs it."""
    images = {image.name: image for image in pool.images()}
    volume = images.get("kept") or create_volume(pool, "kept", OLD)
    assert isinstance(volume, Volume)
    if "old" not in images:
        create_snapshot(pool, volume, "old")
    if step in {"snapshot", "copy", "expand", "detach"}:
        pool.attach(volume, read_only=False)
    return volume


def check_whole(pool: Lvm, location: str, step: str, images: dict[str, Image]) -> None:
    """What exists is whole, what does not has left nothing."""
    assert {"kept", "old"} <= set(images) or step == "delete"
    assert len(volumes(location)) == len(images)
    assert not tags(location) & {"cellar.new", "cellar.fill", "cellar.freezing"}
    for name, image in images.items():
        empty = isinstance(image, Volume) and image.luks_key_id and not image.formatted
        wrote = (
            NEW if step in {"create", "replace_contents"} and name == "new" and not empty else OLD
        )
        assert begins_with(pool, image.id, bytes(len(OLD)) if empty else wrote), name


def repeat(pool: Lvm, step: str, images: dict[str, Image]) -> None:
    """What a retry of the call would do."""
    new = images.get("new")
    filled = isinstance(new, Volume) and new.formatted
    undone = step == "replace_contents" and not filled
    if undone or (step != "replace_contents" and "new" not in images and "kept" in images):
        STEPS[step](pool)
    images = {image.name: image for image in pool.images()}
    if step == "delete":
        assert "kept" not in images
    elif step == "expand":
        assert images["kept"].size == 2 * SIZE
    elif step in {"create", "snapshot", "restore", "replace_contents"}:
        assert "new" in images


def clear(pool: Lvm) -> None:
    """All but what the next one may begin with."""
    for image in tuple(pool.images()):
        pool.detach(image.id)
        if image.name == "new" or image.size != SIZE:
            pool.delete(image.id)
