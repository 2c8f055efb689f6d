"""How a line of the log looks."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from loguru import logger

from driver.observe import log


@pytest.fixture
def logged(capsys: pytest.CaptureFixture[str]) -> Iterator[Callable[[], str]]:
    yield lambda: capsys.readouterr().err
    logger.remove()


def test_facts_follow_the_sentence(logged: Callable[[], str]) -> None:
    log.set_up("info", "text")
    logger.bind(rpc="Probe", code="OK").info("attached {}", "it", device="/dev/loop0", odd="{x}")
    logger.debug("not this")
    line = logged()
    assert line.endswith("INFO    attached it device=/dev/loop0 odd={x}\n")
    assert line.count("\n") == 1


def test_no_request_begins_a_line_or_controls_a_terminal(logged: Callable[[], str]) -> None:
    log.set_up("info", "text")
    hostile = "x\n2026-01-02 ERROR forged \x1b[2J\u202e{0}\udcff"
    logger.bind(volume_id=hostile).info("{} failed", hostile)
    line = logged()
    text = "x\\n2026-01-02 ERROR forged \\x1b[2J\\u202e{0}\\udcff"
    assert line.endswith(f"{text} failed volume_id={text}\n")
    assert line.count("\n") == 1


def test_a_traceback_shows_no_values(logged: Callable[[], str]) -> None:
    log.set_up("info", "text")

    def fails(passphrase: str) -> None:
        raise KeyError(len(passphrase))

    try:
        fails("hunter2")
    except KeyError as error:
        logger.opt(exception=error).error("failed")
    line = logged()
    assert "Traceback" in line
    assert "fails(" in line
    assert line.count("hunter2") == 1  # the source line of the call itself, no variable


# for programs: one flat object with the conventional names


def _records(logged: Callable[[], str]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in logged().splitlines()]


def test_a_call_is_one_flat_record(logged: Callable[[], str]) -> None:
    log.set_up("debug", "json")
    bound = logger.bind(rpc="DeleteVolume", code="OK", seconds=0.0042, volume_id="a-b")
    bound.info("{} {} {:.1f} ms", "DeleteVolume", "OK", 4.2)
    [record_] = _records(logged)
    assert list(record_) == ["ts", "level", "msg", "rpc", "code", "duration", "volume"]
    assert record_ | {"ts": ""} == {
        "ts": "",
        "level": "info",
        "msg": "DeleteVolume OK 4.2 ms",
        "rpc": "DeleteVolume",
        "code": "OK",
        "duration": 0.0042,
        "volume": "a-b",
    }
    assert len(json.dumps(record_)) < 250


def test_the_time_is_utc_to_the_millisecond(logged: Callable[[], str]) -> None:
    log.set_up("debug", "json")
    logger.warning("now")
    [record_] = _records(logged)
    assert record_["level"] == "warning"
    assert len(record_["ts"]) == len("2026-01-02T03:04:05.678Z")
    assert record_["ts"].endswith("Z")


def test_braces_lines_and_paths_do_not_break_it(logged: Callable[[], str]) -> None:
    log.set_up("debug", "json")
    logger.bind(endpoint=Path("/a{0}")).info("{}", 'two\nlines {x} "quoted" <b>')
    [record_] = _records(logged)
    assert record_["msg"] == 'two\nlines {x} "quoted" <b>'
    assert record_["endpoint"] == "/a{0}"


def test_a_traceback_is_one_field(logged: Callable[[], str]) -> None:
    log.set_up("debug", "json")
    try:
        os.environ.pop("no such door")
    except KeyError as error:
        logger.opt(exception=error).error("NodeStageVolume failed unexpectedly")
    [record_] = _records(logged)
    assert record_["msg"] == "NodeStageVolume failed unexpectedly"
    assert record_["exception"].startswith("Traceback")
    assert record_["exception"].endswith("KeyError: 'no such door'\n")


def test_a_fact_cannot_take_the_place_of_the_message(logged: Callable[[], str]) -> None:
    log.set_up("debug", "json")
    logger.bind(msg="other", level="x").info("the message")
    [record_] = _records(logged)
    assert (record_["msg"], record_["level"]) == ("the message", "info")
