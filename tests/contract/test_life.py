"""Backend: any life of a pool, compared to what a dict remembers."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    initialize,
    invariant,
    multiple,
    rule,
    run_state_machine_as_test,
)

from driver.core.errors import Conflict, Refused
from driver.core.ids import ImageId
from driver.core.model import KIB, MIB, AccessMode, Bytes, Image, Publication, Volume
from tests.contract.backends_under_test import BackendUnderTest, whole
from tests.contract.images import a_volume, cloned, create_snapshot, create_volume, nothing

SIZES = st.sampled_from([MIB, MIB + 4 * KIB, 2 * MIB])
OFFSETS = st.sampled_from([0, 512, 300 * KIB, MIB - 4 * KIB])
WORDS = st.binary(min_size=1, max_size=4 * KIB)


@dataclass
class Remembered:
    """What an image must be."""

    image: Image
    data: bytearray
    attached: bool = False


@dataclass
class Memory:
    images: dict[ImageId, Remembered] = field(default_factory=dict)
    names: int = 0

    def new_name(self) -> str:
        self.names += 1
        return f"n{self.names}"


class RandomCalls(RuleBasedStateMachine):
    """One pool, blunt calls, and a dict that says what must come of them."""

    volumes: Bundle[ImageId] = Bundle("volumes")
    snapshots: Bundle[ImageId] = Bundle("snapshots")

    def __init__(self, under_test: BackendUnderTest) -> None:
        super().__init__()
        self.under_test = under_test
        self.memory = Memory()

    def teardown(self) -> None:
        self.under_test.clear()

    @initialize()
    def begins_empty(self) -> None:
        assert list(self.under_test.pool.backend.images()) == []

    @rule(
        target=volumes,
        size=SIZES,
        which=st.integers(min_value=0, max_value=1),
    )
    def create(self, size: Bytes, which: int) -> ImageId:
        had = self.under_test.allocations
        allocation = had[which % len(had)]
        volume = create_volume(
            self.under_test, self.memory.new_name(), size=size, allocation=allocation
        )
        return self._remember(volume, bytearray(size))

    @rule(volume=volumes)
    def create_again(self, volume: ImageId) -> None:
        known = self._volume(volume)
        with pytest.raises(Conflict):
            self.under_test.pool.backend.create(a_volume(self.under_test.pool, known.name), nothing)

    @rule(volume=volumes, offset=OFFSETS, data=WORDS)
    def write(self, volume: ImageId, offset: Bytes, data: bytes) -> None:
        self.attach(volume)
        device = self.under_test.pool.backend.attached(volume)
        assert device
        self.under_test.write(device, offset, data)
        self.memory.images[volume].data[offset : offset + len(data)] = data

    @rule(volume=volumes)
    def attach(self, volume: ImageId) -> None:
        backend = self.under_test.pool.backend
        before = backend.attached(volume)
        device = backend.attach(self._volume(volume), read_only=False)
        assert before in {None, device}
        self.memory.images[volume].attached = True

    @rule(volume=volumes)
    def detach(self, volume: ImageId) -> None:
        self.under_test.pool.backend.detach(volume)
        self.memory.images[volume].attached = False

    @rule(volume=volumes, more=SIZES)
    def expand(self, volume: ImageId, more: Bytes) -> None:
        known = self._volume(volume)
        grown = self.under_test.pool.backend.resize(known, known.size + more)
        assert grown == replace(known, size=known.size + more)
        self.memory.images[volume].image = grown
        self.memory.images[volume].data += bytes(more)

    @rule(volume=volumes, read_only=st.booleans())
    def publish(self, volume: ImageId, *, read_only: bool) -> None:
        publication = Publication("node", read_only, AccessMode.SINGLE_NODE_WRITER)
        published = replace(self._volume(volume), published=publication)
        self.under_test.pool.backend.record(published)
        self.memory.images[volume].image = published

    @rule(target=snapshots, volume=volumes)
    def snapshot(self, volume: ImageId) -> ImageId:
        known = self._volume(volume)
        with self.under_test.pool.backend.quiesce([known.id], 30.0):
            snapshot = create_snapshot(self.under_test, known, self.memory.new_name())
        return self._remember(snapshot, self.memory.images[volume].data.copy())

    @rule(target=volumes, source=volumes | snapshots, more=st.sampled_from([0, 4 * KIB, MIB]))
    def clone(self, source: ImageId, more: Bytes) -> ImageId:
        if self.memory.images[source].attached:
            self.detach(source)  # a clone of what is written to is a snapshot's business
        known = self.memory.images[source].image
        name, size = self.memory.new_name(), known.size + more
        volume = cloned(self.under_test, known, name, size=size)
        return self._remember(volume, self.memory.images[source].data + bytes(more))

    @rule(target=volumes, volume=consumes(volumes))
    def delete(self, volume: ImageId) -> ImageId:
        if self.memory.images[volume].attached:
            with pytest.raises(Refused):
                self.under_test.pool.backend.delete(volume)
            return volume
        self._delete(volume)
        return multiple()  # type: ignore[return-value]

    @rule(snapshot=consumes(snapshots))
    def delete_snapshot(self, snapshot: ImageId) -> None:
        self._delete(snapshot)

    @rule()
    def restart(self) -> None:
        self.under_test.restart()

    @rule()
    def go_away_and_come_back(self) -> None:
        self.under_test.take_away()
        self.under_test.bring_back()

    @invariant()
    def all_that_was_made_is_there_and_nothing_else(self) -> None:
        expected = [entry.image for entry in self.memory.images.values()]
        images = list(self.under_test.pool.backend.images())
        assert images == sorted(expected, key=lambda image: str(image.id))
        assert all(self.under_test.pool.backend.find(image.id) == image for image in expected)

    @invariant()
    def every_image_has_its_bytes(self) -> None:
        for entry in self.memory.images.values():
            assert whole(self.under_test, entry.image) == bytes(entry.data)

    @invariant()
    def only_what_was_attached_is(self) -> None:
        for image_id, entry in self.memory.images.items():
            assert (self.under_test.pool.backend.attached(image_id) is not None) is entry.attached

    def _remember(self, image: Image, data: bytearray) -> ImageId:
        self.memory.images[image.id] = Remembered(image, data)
        return image.id

    def _volume(self, image_id: ImageId) -> Volume:
        image = self.memory.images[image_id].image
        assert isinstance(image, Volume)
        return image

    def _delete(self, image_id: ImageId) -> None:
        self.under_test.pool.backend.delete(image_id)
        del self.memory.images[image_id]


@pytest.mark.slow
def test_any_life_of_a_pool_is_what_a_dict_remembers(under_test: BackendUnderTest) -> None:
    run_state_machine_as_test(
        lambda: RandomCalls(under_test),  # type: ignore[arg-type]  # any factory will do
        settings=settings(
            max_examples=under_test.lives,
            stateful_step_count=30,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
