"""Commands that check pools find those that `serve` would have."""

from __future__ import annotations

from pathlib import Path

import pytest

from driver.cli.pool_options import load_settings
from driver.core.errors import Invalid


def test_flags_come_before_the_file_and_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "cellar.yaml"
    file.write_text("pools: ['of-file=memory:1GiB']\nstate-dir: /of/file\n")
    monkeypatch.setenv("CELLAR_NODE_ID", "n")
    settings = load_settings(["of-flag=memory:1GiB"], file, None)
    assert [pool.name for pool in settings.pools] == ["of-flag"]
    assert settings.state_dir == Path("/of/file")
    assert load_settings(None, file, Path("/of/flag")).state_dir == Path("/of/flag")
    assert [pool.name for pool in load_settings([], file, None).pools] == ["of-file"]


def test_no_endpoint_is_needed_and_pools_are() -> None:
    with pytest.raises(Invalid) as caught:
        load_settings(None, None, None)
    assert "--pool is required" in str(caught.value)
    assert "endpoint" not in str(caught.value)
