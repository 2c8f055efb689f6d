"""What a machine can do is asked once, and what it cannot, now and then."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from driver.core.model import FsType
from driver.linux import abilities, command
from driver.linux.abilities import RETRY_INTERVAL, Abilities
from driver.linux.devices import dm_ioctl
from driver.linux.formats import filesystem, luks
from driver.linux.mounts import fsopen


def test_what_is_there_is_asked_for_once_and_what_is_not_again() -> None:
    now, answers, asked = [0.0], dict[str, str | None](a=None, b="no b"), list[str]()
    one = Abilities(lambda: now[0])

    def ask(what: str) -> str | None:
        def answer() -> str | None:
            asked.append(what)
            return answers[what]

        return one.lacks(what, answer)

    for _ in range(3):
        assert (ask("a"), ask("b")) == (None, "no b")
    assert asked == ["a", "b"]
    answers["b"] = None
    now[0] += RETRY_INTERVAL + 1
    assert (ask("b"), ask("b")) == (None, None)
    assert asked == ["a", "b", "b"]


def test_programs_that_are_missing_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "missing", lambda programs: tuple(programs)[:1])
    for fs in FsType:
        assert filesystem.PROGRAMS[fs][0] in str(abilities.lacks_filesystem(fs))
    assert "cryptsetup" in str(luks.lacks_encryption())


@pytest.mark.parametrize(
    ("code", "lacks"), [(errno.ENODEV, True), (errno.EPERM, False), (errno.ENOSYS, False)]
)
def test_a_filesystem_that_is_not_listed_is_asked_for(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, code: int, *, lacks: bool
) -> None:
    monkeypatch.setattr(command, "missing", lambda _: ())
    known = tmp_path / "filesystems"
    known.write_text("nodev\ttmpfs\n\text4\n")
    monkeypatch.setattr(abilities, "_KNOWN", known)
    monkeypatch.setattr(abilities, "_MODULES", tmp_path)

    def refuse(_: str) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(fsopen, "require", refuse)
    assert abilities.lacks_filesystem(FsType.EXT4) is None
    assert bool(abilities.lacks_filesystem(FsType.XFS)) is lacks


def test_no_device_mapper_and_no_dm_crypt_are_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "missing", lambda _: ())
    monkeypatch.setattr(dm_ioctl, "knows", lambda _: True)
    assert luks.lacks_encryption() is None
    monkeypatch.setattr(dm_ioctl, "knows", lambda _: False)
    assert "modprobe dm_crypt" in str(luks.lacks_encryption())
    monkeypatch.undo()
    monkeypatch.setattr(command, "missing", lambda _: ())
    monkeypatch.setattr(dm_ioctl, "CONTROL", "/nonexistent/control")
    assert "modprobe dm_mod" in str(luks.lacks_encryption())
