"""`cellar doctor` on a machine that a test describes."""

from __future__ import annotations

import pytest

from driver.cli.doctor import inspection
from driver.core import findings


@pytest.fixture
def sound(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine without fault."""
    monkeypatch.setattr(inspection, "check_machine", lambda _: [findings.ok("machine", "is sound")])
