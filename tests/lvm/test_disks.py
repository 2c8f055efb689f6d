"""Volume groups and thin pools of blank disks, by `cellar pools create`."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from driver.core.model import Allocation
from driver.linux.devices import loop
from tests.lvm.conftest import GIB, lvm, said
from tests.lvm.pools import OWNER, a_volume, opened
from tests.support.driver_process import ROOT

pytestmark = pytest.mark.slow
MakeDisk = Callable[[str], str]


@pytest.fixture
def blank(disks: Path) -> Iterator[MakeDisk]:
    """`blank("name")` gives a blank disk of 2 GiB; a group called blank is removed at the end."""
    with ExitStack() as undo:

        def make(name: str) -> str:
            image = disks / name
            with image.open("wb") as file:
                file.truncate(2 * GIB)
            undo.callback(image.unlink)
            device = said("losetup", "--find", "--show", str(image))
            undo.callback(said, "losetup", "--detach", device)
            return device

        yield make
        words = ["lvm", "vgremove", "--yes", "--force", "blank"]
        subprocess.run(words, check=False, capture_output=True)


def create(*words: str, status: int = 0) -> str:
    command = [sys.executable, "-m", "driver", "pools", "create", "vg", "--where", "blank", "--yes"]
    command += ["--driver-name", OWNER, *words]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == status, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.mark.parametrize("kind", ["lvm", "lvm-thin"])
def test_two_blank_disks_become_a_pool_that_takes_volumes(kind: str, blank: MakeDisk) -> None:
    first, second = blank("one"), blank("two")
    said_of_it = create("--type", kind, "--disk", first, "--disk", second)
    assert f"devices={first}:{second}" in said_of_it
    fields = "vg_tags,vg_mda_size,pv_count"
    tags, size, count = lvm(
        "vgs",
        "--noheadings",
        "--separator",
        "|",
        "--units",
        "b",
        "--nosuffix",
        "-o",
        fields,
        "blank",
    ).split("|")
    assert int(size) > 15 << 20
    assert count.strip() == "2"
    assert (OWNER in tags) is (kind == "lvm"), "a thin pool has the mark itself"
    assert not [each for each in loop.list_bound() if loop.read_parent(each.path)]
    location = "blank/pool0" if kind == "lvm-thin" else "blank"
    with opened(location) as pool:
        capacity = pool.capacity(Allocation.THIN if kind == "lvm-thin" else Allocation.THICK)
        assert capacity.largest > 3 * GIB
        volume = a_volume(pool, "v")
        pool.create(volume, lambda device: None)
        pool.delete(volume.id)
    if kind == "lvm-thin":
        assert lvm("lvs", "--noheadings", "-o", "lv_when_full", location).strip() == "error"


def test_a_disk_that_is_not_blank_or_a_name_that_is_taken_is_refused(blank: MakeDisk) -> None:
    first, second, third = blank("one"), blank("two"), blank("three")
    lvm("pvcreate", second)
    text = create("--type", "lvm", "--disk", first, "--disk", second, status=1)
    assert "LVM2_member" in text
    assert "nothing was written" in text
    create("--type", "lvm", "--disk", first)
    assert "LVM2_member" in create("--type", "lvm", "--disk", first, status=1)
    assert third
