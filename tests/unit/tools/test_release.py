"""What of a release can be tried without building it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tools import image, packages, release


def test_the_notes_of_a_version_are_its_section(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    changes = tmp_path / "CHANGELOG.md"
    changes.write_text(
        "# C\n\n## [Unreleased]\n\n- a\n\n## [1.2.0] - 2026-01-01\n\n- b\n\n## [1.1.0]\n\n- c\n"
    )
    monkeypatch.setattr(release, "CHANGES", changes)
    assert release.notes("1.2.0") == "- b\n"
    assert release.notes("1.1.0") == "- c\n"
    with pytest.raises(SystemExit, match="no section"):
        release.notes("1.3.0")


def test_the_version_of_this_tree_has_notes_and_its_tag_is_accepted() -> None:
    release.check_tag(f"v{image.version()}")


@pytest.mark.parametrize("tag", ["v9.9.9", "0.1.0", "v0.1.0-rc1", ""])
def test_another_tag_is_refused(tag: str) -> None:
    with pytest.raises(SystemExit, match="the version in pyproject"):
        release.check_tag(tag)


def test_what_is_locked_has_names_as_installers_write_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lock = tmp_path / "requirements.lock"
    lock.write_text(
        "PyYAML==6.0.3 \\\n    --hash=sha256:00\nasync-timeout==5 ; python_version < '3.11'\n"
    )
    monkeypatch.setattr(packages, "RUNTIME", lock)
    assert release.locked() == {("pyyaml", "6.0.3")}
