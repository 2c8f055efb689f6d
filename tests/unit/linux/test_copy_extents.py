"""Only what is named is copied."""

from __future__ import annotations

import errno
import os
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given
from hypothesis import strategies as st

from driver.core.devices import Extent
from driver.core.model import MIB
from driver.linux import copy_extents

SIZE = 40_000
EXTENTS = st.lists(
    st.builds(Extent, start=st.integers(0, SIZE + 10), length=st.integers(1, 9000)), max_size=6
)


@given(EXTENTS)
def test_just_the_extents_are_copied(extents: Sequence[Extent]) -> None:
    with TemporaryDirectory() as folder:
        source, to = Path(folder, "source"), Path(folder, "to")
        was, new = os.urandom(SIZE), bytearray(os.urandom(SIZE))
        source.write_bytes(was)
        to.write_bytes(new)
        heard: list[int] = []
        copy_extents.copy(source, to, iter(extents), heard.append)
        for extent in extents:
            end = min(extent.start + extent.length, SIZE)
            new[extent.start : end] = was[extent.start : end]
        assert to.read_bytes() == new
        assert sum(heard) == sum(
            max(0, min(one.start + one.length, SIZE) - one.start) for one in extents
        )


def test_it_is_told_by_chunks_and_holes_stay(tmp_path: Path) -> None:
    source, to = tmp_path / "source", tmp_path / "to"
    for path in (source, to):
        path.touch()
        os.truncate(path, 64 * MIB)
    heard: list[int] = []
    copy_extents.copy(
        source, to, iter([Extent(MIB, 20 * MIB), Extent(60 * MIB, MIB)]), heard.append
    )
    assert heard == [8 * MIB, 8 * MIB, 4 * MIB, MIB]
    assert to.stat().st_size == 64 * MIB
    assert to.stat().st_blocks * 512 <= 22 * MIB


def test_an_error_of_the_listener_ends_it(tmp_path: Path) -> None:
    source, to = tmp_path / "source", tmp_path / "to"
    source.write_bytes(b"x" * 10)
    to.touch()

    def stop(_: int) -> None:
        raise KeyError

    with pytest.raises(KeyError):
        copy_extents.copy(source, to, iter([Extent(0, 10)]), stop)


@pytest.mark.parametrize("name", ["/dev/full", "/proc/self/mem"])
def test_an_error_of_the_target_comes_out_as_it_is(tmp_path: Path, name: str) -> None:
    source = tmp_path / "source"
    source.write_bytes(b"x" * MIB)
    wanted = {"/dev/full": errno.ENOSPC, "/proc/self/mem": errno.EIO}[name]
    with pytest.raises(OSError) as caught:
        copy_extents.copy(source, Path(name), iter([Extent(0, MIB)]), print)
    assert caught.value.errno == wanted


def test_an_error_of_the_source_comes_out_as_it_is(tmp_path: Path) -> None:
    with pytest.raises(OSError) as caught:
        copy_extents.copy(Path("/proc/self/mem"), tmp_path / "to", iter([Extent(0, MIB)]), print)
    assert caught.value.errno == errno.ENOENT
    (tmp_path / "to").touch()
    with pytest.raises(OSError) as caught:
        copy_extents.copy(Path("/proc/self/mem"), tmp_path / "to", iter([Extent(0, MIB)]), print)
    assert caught.value.errno == errno.EIO


def test_a_missing_target_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "source").touch()
    with pytest.raises(FileNotFoundError):
        copy_extents.copy(tmp_path / "source", tmp_path / "missing", iter(()), print)
