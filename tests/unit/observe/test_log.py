"""How a line of the log looks."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator

import pytest
from loguru import logger

from driver.observe import log


@pytest.fixture
def said(capsys: pytest.CaptureFixture[str]) -> Iterator[Callable[[], str]]:
    yield lambda: capsys.readouterr().err
    logger.remove()


def test_facts_follow_the_sentence(said: Callable[[], str]) -> None:
    log.set_up("info", "text")
    logger.bind(rpc="Probe", code="OK").info("attached {}", "it", device="/dev/loop0", odd="{x}")
    logger.debug("not this")
    line = said()
    assert line.endswith("INFO    attached it device=/dev/loop0 odd={x}\n")
    assert line.count("\n") == 1


def test_json_is_for_programs(said: Callable[[], str]) -> None:
    log.set_up("debug", "json")
    logger.info("attached", device="/dev/loop0")
    record = json.loads(said())["record"]
    assert record["message"] == "attached"
    assert record["extra"] == {"device": "/dev/loop0"}


def test_a_traceback_shows_no_values(said: Callable[[], str]) -> None:
    log.set_up("info", "text")

    def fails(passphrase: str) -> None:
        raise KeyError(len(passphrase))

    try:
        fails("hunter2")
    except KeyError as error:
        logger.opt(exception=error).error("failed")
    line = said()
    assert "Traceback" in line
    assert "fails(" in line
    assert line.count("hunter2") == 1  # the source line of the call itself, no variable
