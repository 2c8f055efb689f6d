"""The flags of `cellar serve`."""

from __future__ import annotations

from driver.app.settings import ServeSettings


def test_every_setting_has_a_flag_of_serve() -> None:
    from driver.cli.serve import _parser  # noqa: PLC0415 - imports the whole driver

    known = {action.dest for action in _parser()._actions} - {"help", "config"}
    assert known == set(ServeSettings.model_fields)
