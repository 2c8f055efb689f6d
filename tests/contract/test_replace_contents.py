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
from tests.contract.grounds import Ground, whole
from tests.contract.images import a_snapshot, a_volume, bytes_of, create_volume


def refills(ground: Ground) -> FormatsLater:
    backend = ground.pool.backend
    if not isinstance(backend, FormatsLater):
        pytest.skip("its volumes cannot be encrypted")
    return backend


def create_unformatted(ground: Ground, **fields: Any) -> Volume:
    refills(ground)
    return create_volume(ground, luks_key_id="k", **fields)


def writing(data: bytes) -> Prepare:
    def prepare(path: Path) -> None:
        with path.open("r+b") as file:
            assert not any(file.read(MIB))
            file.seek(0)
            file.write(data)

    return prepare


def test_the_new_contents_come_with_the_record(ground: Ground) -> None:
    volume = create_unformatted(ground)
    done = refills(ground).replace_contents(volume, writing(b"new"))
    assert done == replace(volume, formatted=True)
    assert ground.pool.backend.find(volume.id) == done
    assert whole(ground, done).rstrip(b"\0") == b"new"
    ground.restart()
    assert ground.pool.backend.find(volume.id) == done
    assert whole(ground, done).rstrip(b"\0") == b"new"


def test_what_was_ever_formatted_is_never_filled_again(ground: Ground) -> None:
    volume = create_unformatted(ground)
    done = refills(ground).replace_contents(volume, writing(b"old"))
    for changed in (done, volume):  # whatever the caller believes
        with pytest.raises(Refused):
            refills(ground).replace_contents(changed, writing(b"new"))
    assert whole(ground, done).rstrip(b"\0") == b"old"


def test_what_is_attached_is_not_filled(ground: Ground) -> None:
    volume = create_unformatted(ground)
    ground.pool.backend.attach(volume, read_only=False)
    with pytest.raises(Refused):
        refills(ground).replace_contents(volume, writing(b"new"))
    ground.pool.backend.detach(volume.id)
    assert not any(whole(ground, volume))


def test_another_life_of_the_name_is_not_filled(ground: Ground) -> None:
    volume = create_unformatted(ground)
    with pytest.raises(Refused):
        refills(ground).replace_contents(
            replace(volume, incarnation=new_incarnation()), writing(b"new")
        )
    with pytest.raises(NotFound):
        refills(ground).replace_contents(
            a_volume(ground.pool, "never", luks_key_id="k"), writing(b"new")
        )


def test_a_preparation_that_fails_leaves_it_as_it_was(
    ground: Ground, allocation: Allocation
) -> None:
    volume = create_unformatted(ground, allocation=allocation)
    before = largest_size(ground.pool.backend)

    def failing(path: Path) -> None:
        writing(b"half")(path)
        raise Failed("mkfs was killed")

    with pytest.raises(Failed):
        refills(ground).replace_contents(volume, failing)
    assert ground.pool.backend.find(volume.id) == volume
    assert not any(whole(ground, volume))
    assert list(ground.pool.backend.images()) == [volume]
    assert abs(largest_size(ground.pool.backend) - before) <= ground.drift
    assert refills(ground).replace_contents(volume, writing(b"new")).formatted


def test_a_thick_volume_has_its_room_once(ground: Ground) -> None:
    """In a pool that is all but full there is no place for a second image beside the first."""
    refills(ground)
    ground.needs(Allocation.THICK)
    largest = ground.pool.backend.capacity(Allocation.THICK).largest
    size = largest - (64 * MIB if ground.drift else 0)
    volume = create_unformatted(ground, allocation=Allocation.THICK, size=size)
    left = largest_size(ground.pool.backend)
    done = refills(ground).replace_contents(volume, writing(b"new"))
    assert done.size == size
    assert (
        abs(largest_size(ground.pool.backend) - left) <= 32 * ground.drift
    )  # btrfs moves its metadata about


def test_copies_that_shared_its_nothing_keep_it(ground: Ground) -> None:
    volume = create_unformatted(ground)
    snapshot = a_snapshot(volume, unformatted=True)
    ground.pool.backend.create(snapshot, bytes_of(ground, volume.id))
    refills(ground).replace_contents(volume, writing(b"new"))
    assert not any(whole(ground, snapshot))
    assert ground.pool.backend.find(snapshot.id) == snapshot


def largest_size(backend: Backend) -> int:
    return backend.capacity(backend.allocation).largest
