"""Flags that are enough for each command."""

from __future__ import annotations

from typing import Any

from driver.app.load_settings import load
from driver.app.settings import ServeSettings

FLAGS: dict[str, Any] = {"endpoint": "unix:///run/csi.sock", "pools": ["sim=memory:10GiB"]}


def loaded(environment: dict[str, str] | None = None, **flags: Any) -> ServeSettings:
    return load({**FLAGS, **flags}, environment or {})
