"""The socket: whose it is."""

from __future__ import annotations

import os
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from driver.core.errors import Refused
from driver.csi import server as unix


@pytest.fixture
def path() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="s-") as name:
        yield Path(name) / "csi.sock"


def listening(path: Path) -> socket.socket:
    server = socket.socket(socket.AF_UNIX)
    with unix.private_mode():
        server.bind(os.fspath(path))
    server.listen()
    return server


def test_nothing_is_in_the_way_and_the_folder_is_made(path: Path) -> None:
    deep = path.parent / "plugins" / "cellar" / path.name
    unix.remove_stale_socket(deep)
    assert deep.parent.is_dir()
    assert unix.identity(deep) is None


def test_what_a_dead_process_left_is_removed(path: Path) -> None:
    listening(path).close()
    assert path.exists()
    unix.remove_stale_socket(path)
    assert not path.exists()


def test_a_living_process_is_left_alone(path: Path) -> None:
    with listening(path), pytest.raises(Refused, match="another process listens"):
        unix.remove_stale_socket(path)
    assert path.exists()


def test_a_process_too_busy_to_answer_is_left_alone(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as busy, socket.socket(socket.AF_UNIX) as waiting:
        busy.bind(os.fspath(path))
        busy.listen(0)
        waiting.connect(os.fspath(path))
        with pytest.raises(Refused, match="another process listens"):
            unix.remove_stale_socket(path)
    assert path.exists()


def test_a_file_that_is_no_socket_is_left_alone(path: Path) -> None:
    path.write_text("precious")
    with pytest.raises(Refused, match="not a socket"):
        unix.remove_stale_socket(path)
    assert path.read_text() == "precious"


def test_a_link_is_not_followed(path: Path) -> None:
    path.symlink_to("/dev/null")
    with pytest.raises(Refused, match="not a socket"):
        unix.remove_stale_socket(path)


def test_others_may_not_open_it(path: Path) -> None:
    before = os.umask(0o022)
    os.umask(before)
    with listening(path):
        assert path.stat().st_mode & 0o777 == unix.MODE
    assert os.umask(before) == before


def test_only_our_own_is_removed_at_the_end(path: Path) -> None:
    with listening(path):
        ours = unix.identity(path)
    path.rename(path.with_suffix(".old"))  # its inode must not be given to the successor
    with listening(path):
        unix.remove(path, ours)
        assert path.exists()
        unix.remove(path, None)
        assert path.exists()
        unix.remove(path, unix.identity(path))
        assert not path.exists()
        unix.remove(path, ours)
