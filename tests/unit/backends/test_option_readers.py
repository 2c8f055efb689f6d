"""How options of pools are read from text."""

from __future__ import annotations

from pathlib import Path

import pytest

from driver.backends.option_readers import (
    read_path,
)


def test_a_path_is_absolute_and_does_not_go_up() -> None:
    assert read_path("/srv/a") == Path("/srv/a")
    for text in ("srv/a", "/srv/../etc"):
        with pytest.raises(ValueError, match="not an absolute path"):
            read_path(text)
