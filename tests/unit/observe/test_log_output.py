"""The log never waits for who reads it, and loses nothing that was kept."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager

import pytest
from loguru import logger

from driver.core.ports.measures import MEASURES, Count
from driver.observe import log, log_output
from driver.observe.log_output import LogOutput
from tests.support.waiting import wait_until

LINE = f"{'x' * 99}\n"


@pytest.fixture
def pipe() -> Iterator[tuple[int, LogOutput]]:
    """Return the end of a pipe to read from, and the log that writes to the other."""
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    output = LogOutput(writer)
    yield reader, output
    os.close(reader)
    wait_until(lambda: not output._writer)  # it ends when nobody can read
    os.close(writer)


def read_all(reader: int, length: int) -> str:
    data = b""
    while len(data) < length:
        data += os.read(reader, 1 << 16)
    return data.decode()


def test_what_is_not_read_is_kept_and_written_in_order_when_it_is(
    pipe: tuple[int, LogOutput],
) -> None:
    reader, output = pipe
    lines = [f"{number} {LINE}" for number in range(5000)]
    for line in lines:
        output.write(line)
    text = "".join(lines)
    assert read_all(reader, len(text)) == text
    assert output._dropped == 0
    wait_until(lambda: not output._writer)
    output.write("last\n")
    assert os.read(reader, 100) == b"last\n"


def test_what_is_too_much_is_dropped_by_lines_and_counted(
    pipe: tuple[int, LogOutput], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_output, "KEPT", 1000)
    reader, output = pipe
    reports: list[str] = []
    logger.remove()
    number = logger.add(lambda message: reports.append(str(message)), format="{message} {extra}")
    before = MEASURES.counts()[Count.DROPPED_LINES]
    for _ in range(2000):
        output.write(LINE)
    dropped = output._dropped
    assert dropped > 1000
    assert MEASURES.counts()[Count.DROPPED_LINES] - before == dropped
    written = LINE * (2000 - dropped)
    assert read_all(reader, len(written)) == written
    wait_until(lambda: bool(reports))
    assert str(dropped) in reports[0]
    logger.remove(number)


def test_a_line_longer_than_the_pipe_is_not_cut(pipe: tuple[int, LogOutput]) -> None:
    reader, output = pipe
    output.write("y" * (2 << 20) + "\n")
    output.write("z\n")
    text = read_all(reader, (2 << 20) + 1)
    assert text == "y" * (2 << 20) + "\n"


def test_the_end_waits_a_moment_only(
    pipe: tuple[int, LogOutput], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_output, "_STOP_TIMEOUT", 0.05)
    _, output = pipe
    output.write(LINE * 1000)
    start = time.monotonic()
    output.stop()
    assert 0.04 < time.monotonic() - start < 5


def test_a_reader_that_has_gone_is_no_error() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    output = LogOutput(writer)
    output.write(LINE)
    assert output._dropped == 1
    os.close(writer)


@pytest.mark.parametrize("closed", [[], [0, 1, 2]])
def test_stderr_blocks_neither_as_a_pipe_nor_when_it_was_closed(closed: list[int]) -> None:
    script = (
        "from driver.linux import descriptors; from driver.observe import log;"
        " from loguru import logger; descriptors.open_standard();"
        " log.set_up('info', 'text');"
        " [logger.info('x' * 1000) for _ in range(3000)];"
        " from driver.core.ports.measures import MEASURES, Count;"
        " import os; os._exit(bool(MEASURES.counts()[Count.DROPPED_LINES]))"
    )
    for number in closed:
        script = f"import os; os.close({number}); {script}"
    reader, writer = os.pipe()
    with subprocess.Popen([sys.executable, "-c", script], stderr=writer) as process:
        assert process.wait(30) == (0 if closed else 1)
    assert os.get_blocking(writer)  # who shares the pipe is left alone
    os.close(reader)
    os.close(writer)


def test_what_is_no_file_is_written_to_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    log.set_up("info", "text")
    logger.info("seen")
    assert capsys.readouterr().err.endswith("seen\n")
    logger.remove()


def test_a_line_that_got_no_thread_is_written_with_the_next(
    pipe: tuple[int, LogOutput], no_threads: AbstractContextManager[None]
) -> None:
    reader, output = pipe
    with no_threads:
        for _ in range(1000):
            output.write(LINE)
    output.write("last\n")
    text = read_all(reader, 1000 * len(LINE) + 5)
    assert text == LINE * 1000 + "last\n"
