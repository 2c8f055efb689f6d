"""The private CA, and who its certificates admit."""

from __future__ import annotations

import os
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from driver.core.errors import Invalid, Refused
from driver.tls import authority, identity
from tests.unit.tls.certificates import read


def test_each_folder_is_ready_and_the_ca_key_is_in_neither(tmp_path: Path) -> None:
    key, *folders = authority.create(tmp_path / "new")
    assert key == tmp_path / "new/ca.key"
    for folder in folders:
        assert sorted(os.listdir(folder)) == sorted(identity.FILES)
        assert identity.Files(folder).identity.ca == (tmp_path / "new/ca.crt").read_bytes()
        assert (folder / "tls.key").stat().st_mode & 0o777 == 0o600
    assert key.stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "new").stat().st_mode & 0o777 == 0o700


def test_a_repeat_keeps_the_ca_and_renews_the_rest(tmp_path: Path) -> None:
    authority.create(tmp_path, now=datetime.now(UTC) - timedelta(days=300))
    before, ca = read(tmp_path / "node/tls.crt"), (tmp_path / "ca.crt").read_bytes()
    files = identity.Files(tmp_path / "node")
    assert not files.changed()
    authority.create(tmp_path)
    assert (tmp_path / "ca.crt").read_bytes() == ca
    assert read(tmp_path / "node/tls.crt").not_valid_after_utc > before.not_valid_after_utc
    assert files.changed()
    assert not files.changed()


def test_half_a_ca_is_not_replaced(tmp_path: Path) -> None:
    authority.create(tmp_path)
    (tmp_path / "ca.crt").unlink()
    with pytest.raises(Refused, match=r"ca\.crt is missing"):
        authority.create(tmp_path)


def test_the_key_of_another_ca_is_invalid(tmp_path: Path) -> None:
    authority.create(tmp_path / "one")
    authority.create(tmp_path / "two")
    shutil.copy(tmp_path / "one/ca.key", tmp_path / "two/ca.key")
    with pytest.raises(Invalid, match="the key is not that of the certificate"):
        authority.create(tmp_path / "two")


def test_half_replaced_files_change_nothing(tmp_path: Path) -> None:
    authority.create(tmp_path)
    files = identity.Files(tmp_path / "node")
    before = files.identity
    shutil.copy(tmp_path / "router/tls.crt", tmp_path / "node/tls.crt")
    assert not files.changed()
    (tmp_path / "node/tls.key").unlink()
    assert not files.changed()
    assert files.identity == before


def test_a_folder_without_certificates_is_invalid(tmp_path: Path) -> None:
    with pytest.raises(Invalid, match="--tls-dir"):
        identity.Files(tmp_path)
