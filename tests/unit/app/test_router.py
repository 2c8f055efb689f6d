"""`cellar route` as a process."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from loguru import logger

from driver.cli import flags, main


@pytest.fixture(autouse=True)
def no_log() -> Iterator[None]:
    """Remove the log that `cellar route` begins."""
    yield
    logger.remove()


@pytest.mark.parametrize("nodes", ["absent", "bad"])
def test_a_router_that_cannot_begin_says_why_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], nodes: str
) -> None:
    (tmp_path / "bad").write_text("nodes: 3")
    words = ["--endpoint", f"unix://{tmp_path}/s", "--nodes", f"static:{tmp_path / nodes}"]
    assert main.main(["route", *words, "--tls-dir", str(tmp_path)]) == flags.BAD_SETTINGS
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith(f"cellar route: {tmp_path / nodes}: ")
