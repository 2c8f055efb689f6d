"""What an error of `serve` and `route` exits with, and which flags there are."""

from __future__ import annotations

import argparse
from collections.abc import Callable

import pytest

from driver.app.settings import RouteSettings, ServeSettings
from driver.cli import flags
from driver.core.errors import Failed, Invalid


def fail(error: Exception) -> Callable[[], None]:
    def work() -> None:
        raise error

    return work


@pytest.mark.parametrize(
    ("error", "status"), [(Invalid("--pool: none"), 2), (Failed("the socket is taken"), 1)]
)
def test_an_error_of_ours_is_one_line_and_wrong_settings_have_a_status_of_their_own(
    error: Exception, status: int, capsys: pytest.CaptureFixture[str]
) -> None:
    parser = argparse.ArgumentParser(prog="cellar serve")
    assert flags.run(parser, fail(error)) == status
    assert capsys.readouterr().err == f"cellar serve: {error}\n"
    assert flags.run(parser, lambda: None) == 0


def test_an_error_that_nobody_expected_shows_where_it_is_from() -> None:
    with pytest.raises(ZeroDivisionError):
        flags.run(argparse.ArgumentParser(), fail(ZeroDivisionError()))


@pytest.mark.parametrize("model", [ServeSettings, RouteSettings])
def test_what_is_not_given_is_none_so_that_the_environment_and_the_file_count(
    model: type[ServeSettings | RouteSettings],
) -> None:
    parser = argparse.ArgumentParser()
    flags.add_flags(parser, model)
    assert set(vars(parser.parse_args([])).values()) == {None}


def test_a_pool_may_be_given_several_times() -> None:
    parser = argparse.ArgumentParser()
    flags.add_flags(parser, ServeSettings)
    given = parser.parse_args(["--pool", "a=memory:1GiB", "--pool", "b=memory:1GiB", "--no-attach"])
    assert given.pools == ["a=memory:1GiB", "b=memory:1GiB"]
    assert given.attach is False
