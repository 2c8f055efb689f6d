"""What the host makes of an OSError that it did not foresee."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from driver.core.errors import Failed
from driver.core.model import FsType
from driver.linux.formats import filesystem
from driver.linux.host import LinuxHost


def fail_with(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    def renew(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(filesystem, "new_uuid", renew)


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_stays_an_error_of_the_disk(
    number: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    fail_with(monkeypatch, number)
    with pytest.raises(OSError, match="could not be given a UUID") as caught:
        LinuxHost().new_uuid(tmp_path, FsType.XFS, block_size=4096)
    assert caught.value.errno == number


def test_any_other_failure_says_what_was_asked(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    fail_with(monkeypatch, errno.EIO)
    with pytest.raises(Failed, match="could not be given a UUID"):
        LinuxHost().new_uuid(tmp_path, FsType.XFS, block_size=4096)
