"""LUKS2 headers as they lie on a disk, and what the kernel is not asked for."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier, Lock

import pytest

from driver.core.devices import Device
from driver.core.errors import Failed, Invalid, Refused
from driver.core.model import GIB, KIB, MIB
from driver.linux import command
from driver.linux.formats import luks
from driver.linux.formats.luks import LinuxCrypt, Options

UUID = b"11111111-2222-3333-4444-555555555555"
PRIMARY = (b"LUKS\xba\xbe" + b"\0\x02").ljust(168, b"\0") + UUID.ljust(40, b"\0")
SECRET = b"open sesame"


def device(path: Path) -> Device:
    return Device(path, 1, read_only=False)


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> list[tuple[list[str], bytes]]:
    """What would have been run, and what would have gone through the pipe."""
    calls: list[tuple[list[str], bytes]] = []

    def run(argv: list[str | Path], *, stdin: bytes = b"", **_: object) -> str:
        calls.append(([str(word) for word in argv], stdin))
        return ""

    monkeypatch.setattr(command, "run", run)
    return calls


@pytest.mark.parametrize(
    ("head", "has"),
    [
        (b"", False),
        (bytes(64 * KIB), False),
        (PRIMARY, True),
        (bytes(16 * KIB) + b"SKUL\xba\xbe", True),
        (bytes(32 * KIB) + b"SKUL\xba\xbe", True),
    ],
)
def test_a_header_or_its_copy_is_erased_and_nothing_else(
    tmp_path: Path, said: list[tuple[list[str], bytes]], head: bytes, *, has: bool
) -> None:
    image = tmp_path / "image"
    image.write_bytes(head)
    LinuxCrypt().erase(device(image))
    assert bool(said) is has


def test_what_has_no_header_is_not_opened(
    tmp_path: Path, said: list[tuple[list[str], bytes]]
) -> None:
    image = tmp_path / "image"
    image.write_bytes(bytes(KIB))
    with pytest.raises(Refused, match="nothing was written"):
        LinuxCrypt().open(device(image), "no-such-name", SECRET, discards=False)
    with pytest.raises(Refused):
        LinuxCrypt().new_uuid(image)
    assert said == []


def test_a_uuid_that_stays_is_noticed(tmp_path: Path, said: list[tuple[list[str], bytes]]) -> None:
    image = tmp_path / "image"
    image.write_bytes(PRIMARY)
    with pytest.raises(Failed, match="old UUID"):
        LinuxCrypt().new_uuid(image)
    assert said


def test_the_passphrase_goes_through_the_pipe_alone(said: list[tuple[list[str], bytes]]) -> None:
    LinuxCrypt().resize("name", SECRET)
    [(words, pipe)] = said
    assert pipe == SECRET
    assert "--key-file=-" in words
    assert "sesame" not in " ".join(words)


@pytest.mark.parametrize(("status", "kind"), [(2, Invalid), (3, Failed), (1, command.CommandError)])
def test_what_the_statuses_of_cryptsetup_mean(
    monkeypatch: pytest.MonkeyPatch, status: int, kind: type[Exception]
) -> None:
    def run(*_: object, **__: object) -> str:
        raise command.CommandError("cryptsetup", status, "No key available")

    monkeypatch.setattr(command, "run", run)
    with pytest.raises(kind):
        LinuxCrypt().resize("name", SECRET)


def test_what_is_not_open_is_closed_with_success(said: list[tuple[list[str], bytes]]) -> None:
    LinuxCrypt().close("no-such-name")
    assert LinuxCrypt().opened("no-such-name", None) is None
    assert said == []


def test_the_usual_cost_is_argon2id_with_64_mebibytes() -> None:
    assert Options().words()[:2] == ["--pbkdf=argon2id", "--pbkdf-memory=65536"]


@pytest.mark.parametrize(
    ("options", "memory", "most"),
    [
        (Options(), None, luks.DEFAULT_PARALLEL),
        (Options(), 512 * MIB, 4),
        (Options(), 64 * MIB, 1),
        (Options(memory=GIB), 512 * MIB, 1),
        (Options(), 64 * GIB, luks.MAX_PARALLEL),
        (Options(pbkdf="pbkdf2"), 512 * MIB, luks.MAX_PARALLEL),
    ],
)
def test_as_many_keys_are_derived_at_once_as_there_is_memory_for(
    options: Options, memory: int | None, most: int
) -> None:
    assert luks.parallel_derivations(options, memory) == most
    if memory and options.pbkdf == "argon2id" and most > 1:
        assert most * options.memory + 128 * MIB <= memory


def test_sixteen_volumes_that_are_opened_together_wait_for_each_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Cryptsetup runs at most twice at a time, and in the end for all."""
    image = tmp_path / "image"
    image.write_bytes(PRIMARY)
    running, most, ran, lock, full = 0, 0, 0, Lock(), Barrier(2)

    def run(*_: object, **__: object) -> str:
        nonlocal running, most, ran
        with lock:
            running, ran = running + 1, ran + 1
            most = max(most, running)
        full.wait(10)
        with lock:
            running -= 1
        return ""

    monkeypatch.setattr(command, "run", run)
    monkeypatch.setattr(luks, "parallel_derivations", lambda *_: 2)
    crypt = LinuxCrypt()
    with ThreadPoolExecutor(16) as threads:
        for _ in range(16):
            threads.submit(crypt._open, image, "", SECRET, discards=False)
    assert (most, ran) == (2, 16)
