"""The survey of all volumes: what is wrong with them, and what they occupy."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from driver.core.errors import PoolUnavailable
from driver.core.faults import Fault, FaultKind
from driver.core.model import GIB
from driver.core.ports.memory_records import MemoryRecords
from driver.observe.volume_metrics.survey import INTERVAL, AnyVolume, VolumeSurvey
from driver.volumes.node.mount_records import MountRecords
from tests.support.failing_backend import FailingBackend
from tests.unit.volumes.world import World

BAD = Fault(FaultKind.FILESYSTEM_ERRORS, "the filesystem reports 3 errors")
WORSE = Fault(FaultKind.FILESYSTEM_SHUT_DOWN, "it is shut down")


def test_a_change_of_health_is_told_once(tmp_path: Path) -> None:
    world = World(tmp_path)
    volume = world.create()
    backend = world.fast.backend
    assert isinstance(backend, FailingBackend)
    told: list[tuple[str, tuple[Fault, ...]]] = []

    def on_change(changed: AnyVolume, faults: tuple[Fault, ...]) -> None:
        told.append((str(changed.id), faults))

    survey = VolumeSurvey([world.fast], MountRecords(MemoryRecords()), on_change)
    assert survey.run() == INTERVAL
    assert (survey.faults, told) == ({}, [])
    for faults in ((BAD,), (BAD,), (BAD, WORSE), ()):
        backend.set_faults(volume.id, *faults)
        survey.run()
    assert told == [(str(volume.id), faults) for faults in ((BAD,), (BAD, WORSE), ())]
    assert survey.faults == {}


def test_a_pool_that_does_not_answer_leaves_out_what_it_occupies(tmp_path: Path) -> None:
    class Occupied(FailingBackend):
        def allocated(self) -> Mapping[str, int]:
            if self.state().unavailable:
                raise PoolUnavailable("gone")
            return {"x": GIB}

    world = World(tmp_path)
    backend = world.fast.backend
    assert isinstance(backend, FailingBackend)
    backend.__class__ = Occupied
    survey = VolumeSurvey([world.fast], MountRecords(MemoryRecords()))
    survey.run()
    assert survey.allocated == {"x": GIB}
    backend.make_unavailable()
    survey.run()
    assert survey.allocated == {}


def test_the_faults_of_pools_that_answer_are_passed_on(tmp_path: Path) -> None:
    world, told = World(tmp_path), list[tuple[str, tuple[Fault, ...]]]()
    backend = world.fast.backend
    assert isinstance(backend, FailingBackend)
    full = Fault(FaultKind.POOL_NEARLY_FULL, "12 MiB are left")
    backend.set_faults(None, full)
    survey = VolumeSurvey(
        [world.fast],
        MountRecords(MemoryRecords()),
        on_pool=lambda pool, faults: told.append((pool, faults)),
    )
    survey.run()
    assert told == [("fast", (full,))]
