"""Backend.refill: new contents for a volume that was never formatted, or nothing at all."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from driver.core.errors import Failed, NotFound, Refused
from driver.core.ids import new_incarnation
from driver.core.model import MIB, Allocation, Prepare, Volume
from driver.core.ports.backend import Backend
from driver.core.ports.backend_features import FormatsLater
from tests.contract.backends_under_test import BackendUnderTest, whole
from tests.contract.images import a_snapshot, a_volume, bytes_of, create_volume


def refills(under_test: BackendUnderTest) -> FormatsLater:
    backend = under_test.pool.backend
    if not isinstance(backend, FormatsLater):
        pytest.skip("its volumes cannot be encrypted")
    return backend


def create_unformatted(under_test: BackendUnderTest, **fields: Any) -> Volume:
    refills(under_test)
    return create_volume(under_test, luks_key_id="k", **fields)


def writing(data: bytes) -> Prepare:
    def prepare(path: Path) -> None:
        with path.open("r+b") as file:
            assert not any(file.read(MIB))
            file.seek(0)
            file.write(data)

    return prepare


def test_the_new_contents_come_with_the_record(under_test: BackendUnderTest) -> None:
    volume = create_unformatted(under_test)
    done = refills(under_test).replace_contents(volume, writing(b"new"))
    assert done == replace(volume, formatted=True)
    assert under_test.pool.backend.find(volume.id) == done
    assert whole(under_test, done).rstrip(b"\0") == b"new"
    under_test.restart()
    assert under_test.pool.backend.find(volume.id) == done
    assert whole(under_test, done).rstrip(b"\0") == b"new"


def test_what_was_ever_formatted_is_never_filled_again(under_test: BackendUnderTest) -> None:
    volume = create_unformatted(under_test)
    done = refills(under_test).replace_contents(volume, writing(b"old"))
    for changed in (done, volume):  # whatever the caller believes
        with pytest.raises(Refused):
            refills(under_test).replace_contents(changed, writing(b"new"))
    assert whole(under_test, done).rstrip(b"\0") == b"old"


def test_what_is_attached_is_not_filled(under_test: BackendUnderTest) -> None:
    volume = create_unformatted(under_test)
    under_test.pool.backend.attach(volume, read_only=False)
    with pytest.raises(Refused):
        refills(under_test).replace_contents(volume, writing(b"new"))
    under_test.pool.backend.detach(volume.id)
    assert not any(whole(under_test, volume))


def test_another_life_of_the_name_is_not_filled(under_test: BackendUnderTest) -> None:
    volume = create_unformatted(under_test)
    with pytest.raises(Refused):
        refills(under_test).replace_contents(
            replace(volume, incarnation=new_incarnation()), writing(b"new")
        )
    with pytest.raises(NotFound):
        refills(under_test).replace_contents(
            a_volume(under_test.pool, "never", luks_key_id="k"), writing(b"new")
        )


def test_a_preparation_that_fails_leaves_it_as_it_was(
    under_test: BackendUnderTest, allocation: Allocation
) -> None:
    volume = create_unformatted(under_test, allocation=allocation)
    before = largest_size(under_test.pool.backend)

    def failing(path: Path) -> None:
        writing(b"half")(path)
        raise Failed("mkfs was killed")

    with pytest.raises(Failed):
        refills(under_test).replace_contents(volume, failing)
    assert under_test.pool.backend.find(volume.id) == volume
    assert not any(whole(under_test, volume))
    assert list(under_test.pool.backend.images()) == [volume]
    assert abs(largest_size(under_test.pool.backend) - before) <= under_test.drift
    assert refills(under_test).replace_contents(volume, writing(b"new")).formatted


def test_a_thick_volume_has_its_room_once(under_test: BackendUnderTest) -> None:
    """In a pool that is all but full there is no place for a second image beside the first."""
    refills(under_test)
    under_test.needs(Allocation.THICK)
    largest = under_test.pool.backend.capacity(Allocation.THICK).largest
    size = largest - (64 * MIB if under_test.drift else 0)
    volume = create_unformatted(under_test, allocation=Allocation.THICK, size=size)
    left = largest_size(under_test.pool.backend)
    done = refills(under_test).replace_contents(volume, writing(b"new"))
    assert done.size == size
    assert (
        abs(largest_size(under_test.pool.backend) - left) <= 32 * under_test.drift
    )  # btrfs moves its metadata about


def test_copies_that_shared_its_nothing_keep_it(under_test: BackendUnderTest) -> None:
    volume = create_unformatted(under_test)
    snapshot = a_snapshot(volume, unformatted=True)
    under_test.pool.backend.create(snapshot, bytes_of(under_test, volume.id))
    refills(under_test).replace_contents(volume, writing(b"new"))
    assert not any(whole(under_test, snapshot))
    assert under_test.pool.backend.find(snapshot.id) == snapshot


def largest_size(backend: Backend) -> int:
    return backend.capacity(backend.allocation).largest
