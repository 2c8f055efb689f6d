"""`cellar serve` with settings that cannot be: status 2, and a sentence with the cure."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from loguru import logger

from driver.cli import flags, serve

POOL = "sim=memory:10GiB"


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Without settings of this shell; without the log that was set up."""
    for name in [name for name in os.environ if name.startswith("CELLAR_")]:
        monkeypatch.delenv(name)
    yield
    logger.remove()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ([], "--endpoint is required; --pool is required"),
        (["--endpoint", "tcp://x:1", "--pool", POOL], "write unix:///PATH"),
        (["--endpoint", "unix:///s", "--pool", "a=tape:/dev/st0"], "'tape' is not one of loopfile"),
        (["--endpoint", "unix:///s", "--pool", f"{POOL},speed=9"], "unknown option speed"),
        (["--endpoint", "unix:///s", "--pool", "a=memory:much"], "pool a: 'much' is not a size"),
        (["--endpoint", "unix:///s", "--config", "/no/such"], "--config /no/such: "),
    ],
)
def test_what_cannot_be_is_said_in_one_line(
    arguments: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert serve.main(arguments) == flags.BAD_SETTINGS == 2
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith("cellar serve: ")
    assert says in line


def test_a_flag_that_is_not_there_has_the_same_status(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        serve.main(["--nonsense"])
    assert caught.value.code == 2
    assert "unrecognized arguments: --nonsense" in capsys.readouterr().err


def test_help_is_for_people(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        serve.main(["--help"])
    assert caught.value.code == 0
    text = capsys.readouterr().out
    assert "--pool NAME=TYPE:WHERE[,key=value...]" in text
    assert "CELLAR_NODE_ID" in text
