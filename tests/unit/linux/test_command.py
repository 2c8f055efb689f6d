"""Programs are run without a shell, with a bound that holds."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest

from driver.core.errors import Busy, Exhausted, Failed, StillRunning
from driver.linux import command
from driver.linux.command import CommandError, CommandTimeout, run


def test_run_gives_stdout() -> None:
    assert run(["printf", "%s", "a b; c"], timeout=10) == "a b; c"


def test_words_are_never_read_by_a_shell() -> None:
    assert run(["printf", "%s", "$(id) `id` > /x"], timeout=10) == "$(id) `id` > /x"


def test_paths_are_words(tmp_path: Path) -> None:
    assert run(["ls", "-A", tmp_path], timeout=10) == ""


def test_stdin_reaches_the_program_byte_by_byte() -> None:
    assert run(["od", "-An", "-tx1"], timeout=10, stdin=b"\x00\xff").split() == ["00", "ff"]


def test_without_stdin_a_program_reads_nothing() -> None:
    assert run(["cat"], timeout=10) == ""


def test_a_program_that_does_not_read_its_stdin_is_no_error() -> None:
    assert run(["true"], timeout=10, stdin=bytes(1 << 20)) == ""


def test_much_output_on_both_sides_does_not_block() -> None:
    script = "head -c 2000000 /dev/zero; head -c 2000000 /dev/zero >&2"
    assert len(run(["sh", "-c", script], timeout=30)) == 2_000_000


def test_what_is_not_utf_8_is_no_error() -> None:
    assert run(["printf", r"\377"], timeout=10) == "\ufffd"


def test_the_environment_is_fixed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LC_ALL", "de_DE.UTF-8")
    monkeypatch.setenv("SECRET", "x")
    monkeypatch.setenv("PATH", "/nowhere")
    lines = set(run(["env"], timeout=10).splitlines())
    assert lines == {f"PATH={command.PATH}", "LC_ALL=C", "DM_DISABLE_UDEV=1"}


def test_another_status_is_an_error_that_keeps_it() -> None:
    with pytest.raises(CommandError) as caught:
        run(["sh", "-c", "echo broken >&2; exit 3"], timeout=10)
    error = caught.value
    assert isinstance(error, Failed)
    assert (error.program, error.status, error.stderr) == ("sh", 3, "broken")
    assert str(error) == "sh failed (status 3): broken"


def test_an_expected_status_is_no_error() -> None:
    assert run(["sh", "-c", "echo done; exit 3"], timeout=10, ok=(0, 3)) == "done\n"


def test_a_signal_is_named() -> None:
    with pytest.raises(CommandError, match="Terminated"):
        run(["sh", "-c", "kill -TERM $$"], timeout=10)


def test_an_error_shows_the_end_of_stderr_and_no_arguments() -> None:
    with pytest.raises(CommandError) as caught:
        run(
            ["sh", "-c", "head -c 100000 /dev/zero >&2; echo the end >&2; exit 1", "word"],
            timeout=10,
        )
    assert str(caught.value).endswith("the end")
    assert len(str(caught.value)) < 1000
    assert "word" not in str(caught.value)


def test_a_program_that_is_not_there_is_named() -> None:
    with pytest.raises(Failed, match="cellar-nothing is not installed"):
        run(["cellar-nothing"], timeout=10)


def test_missing_names_what_is_not_on_the_path() -> None:
    assert command.missing(["sh", "cellar-nothing", "ls"]) == ("cellar-nothing",)


def test_a_slow_program_is_killed_at_its_bound() -> None:
    start = time.monotonic()
    with pytest.raises(CommandTimeout, match=r"sleep still ran after 0\.1 s"):
        run(["sleep", "60"], timeout=0.1)
    assert time.monotonic() - start < 5


def test_its_children_are_killed_with_it(tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    with pytest.raises(CommandTimeout):
        run(["sh", "-c", f"sleep 60 & echo $! > {pid}; wait"], timeout=0.3)
    assert _ends(int(pid.read_text()))


def test_a_child_that_left_the_group_and_holds_the_pipes_delays_nothing() -> None:
    start = time.monotonic()
    with pytest.raises(CommandTimeout):
        run(["sh", "-c", "setsid sleep 4 & wait"], timeout=0.2)
    assert time.monotonic() - start < 3


def test_a_child_that_cannot_be_ended_is_left_to_a_reaper(monkeypatch: pytest.MonkeyPatch) -> None:
    """A child in D state ignores SIGKILL; here the kill goes nowhere, to the same effect."""
    pids: list[int] = []
    monkeypatch.setattr(command, "GRACE", 0.05)
    monkeypatch.setattr(os, "killpg", lambda pid, _: pids.append(pid))
    with pytest.raises(StillRunning, match="sleep cannot be ended") as caught:
        run(["sleep", "60"], timeout=0.05)
    assert isinstance(caught.value, Busy)
    assert not caught.value.done.done()
    os.kill(pids[0], signal.SIGKILL)
    assert caught.value.done.result(timeout=10) == -signal.SIGKILL
    for thread in threading.enumerate():
        if thread.name == f"reaper-{pids[0]}":
            thread.join(10)


def test_many_at_once_from_threads_do_not_hang() -> None:
    def one(number: int) -> str:
        return run(["printf", str(number)], timeout=30)

    with ThreadPoolExecutor(8) as threads:
        assert list(threads.map(one, range(100))) == [str(number) for number in range(100)]


def test_a_program_inherits_no_descriptor(tmp_path: Path) -> None:
    with (tmp_path / "open").open("w") as file:
        os.set_inheritable(file.fileno(), True)
        assert str(file.name) not in run(["ls", "-l", "/proc/self/fd"], timeout=10)


def test_python_starts_programs_by_vfork() -> None:
    """Fork with the threads of gRPC alive is a trap."""
    assert getattr(subprocess, "_USE_VFORK", True), "Python 3.14 has no switch for it any more"


def _ends(pid: int) -> bool:
    """Whoever is its parent now may take a while to reap it."""
    end = time.monotonic() + 10
    while time.monotonic() < end:
        try:
            if psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
                return True
        except psutil.NoSuchProcess:
            return True
        time.sleep(0.01)
    return False


def test_a_program_that_the_kernel_does_not_start_now_is_tried_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable")

    monkeypatch.setattr(subprocess, "Popen", refuse)
    with pytest.raises(Exhausted, match="true could not be started"):
        run(["true"], timeout=10)
