"""The grammar of --luks."""

from __future__ import annotations

import pytest

from driver.app.load_settings import load
from driver.app.luks_setting import read_luks
from driver.core.errors import Invalid


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("pbkdf=pbkdf2,iterations=1000", ["--pbkdf=pbkdf2", "--pbkdf-force-iterations=1000"]),
        ("pbkdf=pbkdf2", ["--pbkdf=pbkdf2", "--pbkdf-force-iterations=600000"]),
        ({"memory": "1GiB", "iterations": 5}, ["--pbkdf-memory=1048576", "iterations=5"]),
        ("memory=32MiB", ["--pbkdf=argon2id", "--pbkdf-memory=32768", "iterations=4"]),
    ],
)
def test_what_a_guess_at_a_passphrase_costs(given: object, words: list[str]) -> None:
    said = " ".join(read_luks(given).words())
    assert all(word in said for word in words)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ("argon2id", "key=value"),
        ("pbkdf=argon2i", "argon2id or pbkdf2"),
        ("pbkdf=pbkdf2,iterations=999", "at least 1000"),
        ("iterations=3", "at least 4"),
        ("iterations=-1", "at least 4"),
        ("memory=1KiB", "between 32KiB and 4GiB"),
        ("memory=much", "memory"),
        ("cost=1", "unknown cost; known: iterations, memory, pbkdf"),
    ],
)
def test_a_cost_that_cannot_be_is_refused(given: str, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        read_luks(given)


def test_the_flag_is_named_with_what_is_wrong() -> None:
    flags = {"endpoint": "/run/csi.sock", "pools": ["sim=memory:1GiB"], "luks": "cost=1"}
    with pytest.raises(Invalid, match=r"^--luks: unknown cost"):
        load(flags, {})
