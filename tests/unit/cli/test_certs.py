"""`cellar certs`."""

from __future__ import annotations

from pathlib import Path

from typer.testing import CliRunner

from driver.cli import main
from driver.tls import identity


def test_certs_makes_folders_that_are_ready(tmp_path: Path) -> None:
    app = main.app("certs")
    result = CliRunner().invoke(app, ["certs", str(tmp_path / "tls")])
    assert result.exit_code == 0
    for name in ("router", "node"):
        assert identity.Files(tmp_path / "tls" / name).identity.key
    (tmp_path / "tls/ca.crt").unlink()
    result = CliRunner().invoke(app, ["certs", str(tmp_path / "tls")])
    assert result.exit_code == 1
    assert "is missing" in result.stderr
