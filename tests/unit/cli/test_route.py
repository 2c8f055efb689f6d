"""The flags of `cellar route`."""

from __future__ import annotations

from driver.app.settings import RouteSettings
from driver.cli import route


def test_every_setting_has_a_flag_of_route() -> None:
    known = {action.dest for action in route._parser()._actions} - {"help", "config"}
    assert known == set(RouteSettings.model_fields)
