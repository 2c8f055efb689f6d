"""Loop devices that this process keeps open."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

import pytest

from driver.linux.devices import loop, loop_settings
from tests.root.linux.devices.conftest import (
    attach,
)
from tests.support.waiting import wait_until


def test_keep_takes_back_a_detach(attached: loop.Status) -> None:
    with attached.path.open("rb"):
        with pytest.raises(OSError):
            loop.detach(attached, bound=0)
        loop_settings.reset(attached, label=attached.label)
    assert loop.status(attached.path) == attached


def test_what_was_not_kept_goes_with_its_last_user(plain: Path) -> None:
    status = attach(plain)
    with ExitStack() as user:
        user.enter_context(status.path.open("rb"))
        with pytest.raises(OSError):
            loop.detach(status, bound=0)
    wait_until(
        lambda: loop.status(status.path) is None
    )  # whoever looks at it just now is a user too
