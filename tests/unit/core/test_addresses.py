"""The grammar of sockets and addresses: one meaning for each form, and a ValueError for the rest."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from driver.core.addresses import (
    SOCKET_LENGTH,
    check_folder,
    check_socket,
    parse_address,
    parse_endpoint,
)


@given(st.text() | st.text(alphabet="unix:/ab.").map(lambda text: f"unix:{text}"))
def test_an_endpoint_is_an_absolute_path_that_a_socket_can_have(text: str) -> None:
    with suppress(ValueError):
        path = parse_endpoint(text)
        assert path.is_absolute()
        assert len(os.fsencode(path)) <= SOCKET_LENGTH
        assert not os.fsencode(path).startswith(b"//")  # which POSIX lets mean something else


@pytest.mark.parametrize(
    "text", ["", "unix:", "unix://", "unix:csi.sock", "unix:///run/", "tcp:/x"]
)
def test_what_is_no_socket_is_refused_with_the_form_that_is(text: str) -> None:
    with pytest.raises(ValueError, match="write unix:///PATH"):
        parse_endpoint(text)


def test_a_socket_has_at_most_107_bytes_and_not_characters() -> None:
    fits = Path("/" + "ü" * 53)
    assert check_socket(fits) == fits
    with pytest.raises(ValueError, match="107 bytes"):
        check_socket(Path("/" + "ü" * 53 + "x"))


def test_a_folder_may_be_missing_and_not_relative() -> None:
    assert check_folder(None) is None
    assert check_folder(Path("/srv")) == Path("/srv")
    with pytest.raises(ValueError, match="'srv' is not an absolute path"):
        check_folder(Path("srv"))


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("", None),
        (None, None),
        (":9100", ("0.0.0.0", 9100)),
        ("[::]:9100", ("::", 9100)),
        ("[2001:db8:0::1]:1", ("2001:db8::1", 1)),
        ("host.example:65535", ("host.example", 65535)),
    ],
)
def test_an_address_is_a_host_and_a_port(text: str | None, address: object) -> None:
    assert parse_address(text) == address


@pytest.mark.parametrize("text", ["9100", "host:", "host:-1", "host:65536", "host:http", "[::x]:1"])
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        parse_address(text)
