"""What the commands say about pools of LVM, and how one is made."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.documents import blocks
from tests.lvm.conftest import GIB, THIN_POOL, MakeGroup, lvm, named
from tests.lvm.pools import opened
from tests.support.driver_process import ROOT

MIB = 1 << 20


@pytest.fixture(autouse=True)
def state_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Groups of one test are nothing to the next."""
    monkeypatch.setenv("CELLAR_STATE_DIR", str(tmp_path / "state"))


def cellar(*words: str, status: int = 0) -> str:
    command = [sys.executable, "-m", "driver", *words]
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == status, done.stdout + done.stderr
    return done.stdout + done.stderr


def spec(location: str) -> str:
    return f"p=lvm:{location},devices={':'.join(named())}"


def findings(location: str) -> list[tuple[str, str, str]]:
    """Level, text and cure of what the doctor finds about a pool."""
    command = [sys.executable, "-m", "driver", "doctor", "-o", "json", "--pool", spec(location)]
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False
    )
    listed = json.loads(done.stdout)
    return [
        (finding["level"], finding["text"], finding["cure"])
        for finding in listed
        if finding["what"] == "pool p"
    ]


def typed(line: str) -> None:
    """What an administrator types into a shell, on a machine without udev."""
    environment = os.environ | {"DM_DISABLE_UDEV": "1"}
    command = ["bash", "-euc", line]
    done = subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_doctor_says_what_a_thin_pool_lacks_and_the_cure(make_group: MakeGroup) -> None:
    location = make_group("cellar", size=GIB, thin=128 * MIB)
    assert {level for level, _, _ in findings(location)} == {"ok", "warning"}  # not marked yet
    lvm("lvchange", "--errorwhenfull", "n", location)
    cures = {cure for level, _, cure in findings(location) if level == "problem"}
    assert cures == {f"lvchange --errorwhenfull y {location}"}


def test_the_commands_for_a_thin_pool_work_as_the_documents_have_them(
    make_group: MakeGroup,
) -> None:
    group = make_group("cellar", size=500 * GIB)
    [block] = blocks(how="run", what="lvm")
    [documented] = re.findall(
        r"^lvcreate --type thin-pool .*?^lvchange .*?$", block.text, re.MULTILINE | re.DOTALL
    )
    typed(documented)
    assert {level for level, _, _ in findings(f"{group}/{THIN_POOL}")} == {"ok", "warning"}


def test_the_doctors_cure_for_a_missing_thin_pool_works_as_it_is_said(
    make_group: MakeGroup,
) -> None:
    location = f"{make_group('cellar', size=GIB)}/{THIN_POOL}"
    [(level, _, cure)] = findings(location)
    assert level == "problem"
    typed(cure.replace("SIZE", "128M"))
    assert {level for level, _, _ in findings(location)} == {"ok", "warning"}


def test_a_group_with_volumes_becomes_a_pool_when_init_is_asked_for(make_group: MakeGroup) -> None:
    location = make_group("cellar", size=GIB)
    lvm("lvcreate", "--size", "16m", "--name", "theirs", location)
    pool = ("--pool", spec(location))
    said = cellar("pools", "init", "p", *pool)
    with opened(location) as none:  # it is marked as the usual driver's
        assert (
            none.state().unavailable
            == "the pool cellar belongs to the driver 'cellar.csi.internal', not to 'cellar.test'"
        )
    assert "is pool p now" in said
    assert "a pool already" in cellar("pools", "init", "p", *pool, status=1)
    assert "is marked as this driver's" in str(findings(location))
    lvm("lvremove", f"{location}/theirs")
    known = uuid_of(location)
    lvm("vgchange", "--uuid", location)  # as good as another group
    assert uuid_of(location) != known
    [(level, text, _)] = findings(location)
    assert level == "problem" and known in text
    assert "is pool p now" in cellar("pools", "init", "p", *pool)
    assert "is marked as this driver's" in str(findings(location))


def uuid_of(group: str) -> str:
    return lvm("vgs", "--noheadings", "-o", "vg_uuid", group).strip()
