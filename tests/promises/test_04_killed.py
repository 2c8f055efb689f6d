"""Promise 4: killed at any instruction, it comes back right.

Every fail point, in every operation that passes it: the driver dies there by SIGKILL. At once the
disk is copied, as a power cut would leave it, and a driver is started on the copy: everything that
had been answered OK is there, with its fsynced bytes. On the disk itself the driver is started
again and the call is repeated: one volume, the same id, the right bytes, nothing left over.
"""

from __future__ import annotations

import json
import re
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import grpc
import pytest

from csi_proto import csi_pb2 as pb
from driver.core.failpoints import ENCRYPTED, LVM, POINTS, FailPoint
from tests.promises import promised_pool
from tests.promises.promised_pool import SIZE, PromisedPool, Seed
from tests.promises.test_inline import InlinePod
from tests.support.client import of_snapshot, of_volume, outcome, patiently
from tests.support.disks import run
from tests.support.node import EXT4_GROWS_ONLINE, Life, Node, can_write, write_durably
from tests.support.waiting import wait_until

CREATE = tuple(
    f"create.{step}"
    for step in ["building", "allocated", "prepared", "synced", "recorded", "renamed", "done"]
)
HOLD = ("hold.marked", "hold.frozen", "hold.thawed")
POOLS = ("ext4", "xfs", "btrfs")


class Operation:
    """`act` is the call that dies, and is then repeated as it was."""

    points: tuple[str, ...] = ()
    pools: tuple[str, ...] = POOLS

    def __init__(self, promised: PromisedPool) -> None:
        self.promised = promised

    def before(self) -> None:
        """Answered OK before; does not pass the fail point."""

    def act(self) -> None:
        raise NotImplementedError

    def after(self) -> None:
        """What must hold once the repeated call was answered OK."""


class _Makes(Operation):
    """Makes one volume, whose id is known from the first answer."""

    data = ""

    def make(self) -> pb.Volume:
        raise NotImplementedError

    def act(self) -> None:
        volume = self.make()
        self.promised.volumes.add(volume.volume_id)
        if self.data:
            self.promised.files[volume.volume_id] = self.data


class Create(_Makes):
    points = CREATE

    def make(self) -> pb.Volume:
        thick = {"allocation": "thick"}
        return self.promised.csi.create_patiently("new", SIZE, parameters=thick)


class Restore(_Makes):
    points = ("create.allocated", "create.prepared", "create.done")

    def make(self) -> pb.Volume:
        self.data = self.promised.seed.data
        source = of_snapshot(self.promised.seed.snapshot)
        return self.promised.csi.create_patiently("restored", SIZE, source=source)


class CloneMounted(_Makes):
    points = (*CREATE[1:4], "create.done", *HOLD)
    pools = ("xfs", "btrfs")

    def before(self) -> None:
        self.promised.kept.up()
        self.data = self.promised.files[self.promised.seed.kept] = self.promised.kept.write()

    def make(self) -> pb.Volume:
        source = of_volume(self.promised.seed.kept)
        return self.promised.csi.create_patiently("cloned", SIZE, source=source)


class SnapshotMounted(Operation):
    points: tuple[str, ...] = ("create.building", *CREATE[1:], *HOLD, "snapshot.taken")
    pools: tuple[str, ...] = ("xfs", "btrfs")

    def before(self) -> None:
        self.promised.kept.up()
        self.data = self.promised.files[self.promised.seed.kept] = self.promised.kept.write()

    def act(self) -> None:
        snapshot = self.promised.csi.snapshot("new", self.promised.seed.kept)
        self.promised.snapshots.add(snapshot.snapshot_id)

    def after(self) -> None:
        [new] = self.promised.snapshots - {self.promised.seed.snapshot}
        self.promised.check_snapshot(new, self.data)


class SnapshotSharedAhead(SnapshotMounted):
    points = ("share.ahead",)
    pools = ("xfs",)


class SnapshotAtRest(Operation):
    points = (*CREATE[2:], "snapshot.taken")
    pools = ("ext4",)  # no reflink: a copy in the background

    def act(self) -> None:
        snapshot = self.promised.csi.snapshot("new", self.promised.seed.kept)
        self.promised.snapshots.add(snapshot.snapshot_id)

    def after(self) -> None:
        [new] = self.promised.snapshots - {self.promised.seed.snapshot}
        self.promised.check_snapshot(new, self.promised.seed.data)


class Expand(Operation):
    points = ("resize.allocated", "resize.recorded", "resize.device", "expand.grown")

    def before(self) -> None:
        if EXT4_GROWS_ONLINE:
            self.promised.kept.up()

    def act(self) -> None:
        kept = self.promised.kept
        grown = patiently(lambda: self.promised.csi.expand(kept.volume_id, 2 * SIZE))
        assert grown.capacity_bytes == 2 * SIZE
        kept.up()
        self.promised.csi.grow(kept.volume_id, kept.target, 2 * SIZE)

    def after(self) -> None:
        assert self.promised.csi.volumes()[self.promised.seed.kept].capacity_bytes == 2 * SIZE
        usage = self.promised.csi.stats(self.promised.seed.kept, self.promised.kept.target).usage
        assert usage[0].total > 1.5 * SIZE


class Delete(Operation):
    points = ("delete.renamed", "delete.synced", "delete.unlinked")

    def act(self) -> None:
        self.promised.forget(self.promised.seed.kept)
        patiently(lambda: self.promised.csi.delete(self.promised.seed.kept))


class DeleteSnapshot(Operation):
    points = Delete.points
    pools = ("xfs",)

    def act(self) -> None:
        self.promised.forget(self.promised.seed.snapshot)
        patiently(lambda: self.promised.csi.delete_snapshot(self.promised.seed.snapshot))


class Modify(Operation):
    """Takes off a limit, which is possible also where none can be enforced."""

    points = ("record.renamed", "modify.recorded", "modify.enforced")

    def before(self) -> None:
        place = self.promised.disk.where / self.promised.seed.kept / "volume.json"
        record = json.loads(place.read_text())
        place.write_text(json.dumps(record | {"limits": "100,0,0,0"}))
        run("sync", "--file-system", place)
        self.promised.csi.driver.restart()

    def act(self) -> None:
        request = pb.ControllerModifyVolumeRequest(
            volume_id=self.promised.seed.kept, mutable_parameters={"readIops": "0"}
        )
        patiently(lambda: self.promised.csi.controller.ControllerModifyVolume(request, timeout=30))


class Stage(Operation):
    points = (
        *("attach.bound", "attach.configured", "stage.attached"),
        *("stage.checked", "stage.recorded", "stage.mounted", "stage.limited"),
    )
    pools = ("xfs",)

    def act(self) -> None:
        patiently(self.promised.kept.stage)


class StageLarger(Operation):
    """A restore larger than its snapshot grows its filesystem when it is first staged."""

    points = ("stage.grown",)
    pools = ("xfs",)

    def before(self) -> None:
        source = of_snapshot(self.promised.seed.snapshot)
        volume = self.promised.csi.create_patiently("larger", 2 * SIZE, source=source)
        self.promised.volumes.add(volume.volume_id)
        self.promised.files[volume.volume_id] = self.promised.seed.data
        self.larger = volume.volume_id

    def act(self) -> None:
        life = self.promised.life(self.larger)
        patiently(life.stage)
        life.publish()

    def after(self) -> None:
        usage = self.promised.csi.stats(self.larger, self.promised.life(self.larger).target).usage
        assert usage[0].total > 1.5 * SIZE


class Publish(Operation):
    points = ("publish.recorded", "publish.bound")
    pools = ("xfs",)

    def before(self) -> None:
        self.promised.kept.stage()

    def act(self) -> None:
        patiently(self.promised.kept.publish)


class PublishBlock(Operation):
    points = ("publish.recorded", "publish.bound")
    pools = ("xfs",)

    def before(self) -> None:
        self.promised.life(self.promised.seed.raw).stage()

    def act(self) -> None:
        patiently(self.promised.life(self.promised.seed.raw).publish)


class Down(Operation):
    points = (
        *("unpublish.unmounted", "unstage.unmounted"),
        *("detach.unlimited", "detach.cleared", "unstage.detached"),
    )
    pools = ("xfs",)

    def before(self) -> None:
        self.promised.kept.up()
        self.promised.files[self.promised.seed.kept] = self.promised.kept.write()

    def act(self) -> None:
        patiently(self.promised.kept.unpublish)
        patiently(self.promised.kept.unstage)

    def after(self) -> None:
        assert self.promised.node.loops() == []


class _Inline(Operation):
    """A volume that stands in a pod: nobody asked for it by name, and nobody deletes it."""

    def __init__(self, promised: PromisedPool) -> None:
        super().__init__(promised)
        self.pod = InlinePod(promised.node, promised.csi, "inline")

    def found(self) -> set[str]:
        return set(self.promised.csi.volumes()) - {self.promised.seed.kept, self.promised.seed.raw}


class PublishInline(_Inline):
    points = (
        *CREATE,
        *("attach.configured", "stage.attached", "stage.checked", "stage.mounted", "stage.grown"),
        *("record.renamed", "inline.recorded"),
    )
    pools = ("xfs",)

    def act(self) -> None:
        patiently(self.pod.publish)
        self.made = self.found()
        assert len(self.made) == 1
        write_durably(self.pod.target / "data", SIZE // 4)
        self.promised.volumes |= self.made

    def after(self) -> None:
        patiently(self.pod.unpublish)
        assert self.found() == set()
        self.promised.volumes -= self.made


class UnpublishInline(_Inline):
    points = ("unstage.unmounted", "detach.cleared", "unstage.detached", *Delete.points)
    pools = ("xfs",)

    def before(self) -> None:
        self.pod.publish()
        write_durably(self.pod.target / "data", SIZE // 4)

    def act(self) -> None:
        patiently(self.pod.unpublish)
        assert self.found() == set()
        assert self.promised.node.mounts() == []


class UnpublishInlineOfPublishThatDied(_Inline):
    """The pod was deleted meanwhile: kubelet does not publish again."""

    points = PublishInline.points
    pools = ("xfs",)
    tried = False

    def act(self) -> None:
        if not self.tried:
            self.tried = True
            self.pod.publish()
        patiently(self.pod.unpublish)
        assert self.found() == set()
        assert self.promised.node.mounts() == []


OPERATIONS: tuple[type[Operation], ...] = (
    Create,
    Restore,
    CloneMounted,
    SnapshotMounted,
    SnapshotSharedAhead,
    SnapshotAtRest,
    Expand,
    Delete,
    DeleteSnapshot,
    Modify,
    Stage,
    StageLarger,
    Publish,
    PublishBlock,
    Down,
    PublishInline,
    UnpublishInline,
    UnpublishInlineOfPublishThatDied,
)
CASES = [
    pytest.param(operation, point, pool, id=f"{operation.__name__}-{point}-{pool}")
    for operation in OPERATIONS
    for point in operation.points
    for pool in operation.pools
]


@pytest.fixture(scope="module")
def seeds(shelf: Path) -> Iterator[Callable[[str], Seed]]:
    made: dict[str, Seed] = {}

    def seed(fs: str) -> Seed:
        if fs not in made:
            made[fs] = promised_pool.sow(shelf, fs)
        return made[fs]

    yield seed
    for one in made.values():
        one.image.unlink()


@pytest.mark.parametrize(("operation", "point", "pool"), CASES)
def test_killed_there_it_comes_back_right(
    node: Node, seeds: Callable[[str], Seed], operation: type[Operation], point: str, pool: str
) -> None:
    promised = promised_pool.plant(node, seeds(pool), {"CELLAR_FAILPOINT": point})
    work = operation(promised)
    work.before()
    _dies(promised, work, point)
    cut = promised.beside()  # the copy is taken here
    if point in HOLD:
        assert can_write(promised.kept.target, 2.0), "left frozen by a driver that died"
    again = promised.csi.driver
    del again.env["CELLAR_FAILPOINT"]
    again.spawn()
    cut.csi.driver.connect()
    cut.check_all_there()
    cut.check_bytes(pod="cut")
    again.connect()
    work.act()
    promised.check_all_there()
    promised.check_nothing_else()
    work.after()
    for volume_id in promised.volumes:
        promised.life(volume_id).down()
    assert len(node.loops()) == 0
    promised.check_bytes(pod="again")
    promised.clear()


def _dies(promised: PromisedPool, work: Operation, point: str) -> None:
    before = set(promised.volumes), set(promised.snapshots)
    try:
        work.act()
    except grpc.RpcError:
        assert promised.csi.driver.wait(10) == -signal.SIGKILL, promised.csi.driver.tail()
    else:
        pytest.fail(f"{type(work).__name__} never reached {point}")
    assert promised.volumes <= before[0] and promised.snapshots <= before[1]


def test_every_fail_point_is_reached_by_some_operation() -> None:
    assert {point for operation in OPERATIONS for point in operation.points} == set(POINTS)


def test_the_list_of_fail_points_is_what_the_sources_reach() -> None:
    sources = Path(__file__).parents[2].joinpath("driver").rglob("*.py")
    reached = {
        FailPoint[name]
        for source in sources
        for name in re.findall(r"\breach\(FailPoint\.(\w+)\)", source.read_text())
    }
    assert reached == {*POINTS, *ENCRYPTED, *LVM}


class _Ledger:
    """Notes what was answered OK, and copies the disk at once."""

    def __init__(self, promised: PromisedPool) -> None:
        self.promised = promised
        self.cuts: list[tuple[str, PromisedPool]] = []

    def copied(self, step: str) -> None:
        disk = self.promised.node.copy(self.promised.disk)
        cut = PromisedPool(self.promised.node, disk, self.promised.csi, self.promised.seed)
        cut.volumes, cut.snapshots = set(self.promised.volumes), set(self.promised.snapshots)
        cut.files, cut.raws = dict(self.promised.files), dict(self.promised.raws)
        self.cuts.append((step, cut))

    def has(self, step: str, volume: pb.Volume, data: str = "") -> Life:
        self.promised.volumes.add(volume.volume_id)
        if data:
            self.promised.files[volume.volume_id] = data
        self.copied(step)
        return self.promised.life(volume.volume_id)


@pytest.mark.parametrize("pool", POOLS)
def test_what_was_answered_is_on_the_medium(
    node: Node, seeds: Callable[[str], Seed], pool: str
) -> None:
    promised = promised_pool.plant(node, seeds(pool))
    csi, ledger = promised.csi, _Ledger(promised)
    thick = ledger.has("create", csi.create("thick", SIZE, parameters={"allocation": "thick"}))
    thick.up()
    promised.files[thick.volume_id] = data = thick.write()
    ledger.copied("write")
    if pool == "ext4":
        thick.down()
    snapshot = csi.snapshot("second", thick.volume_id).snapshot_id
    promised.snapshots.add(snapshot)
    ledger.copied("snapshot")
    restored = csi.create_patiently("restored", SIZE, source=of_snapshot(snapshot))
    ledger.has("restore", restored, data)
    cloned = csi.create_patiently("cloned", SIZE, source=of_volume(thick.volume_id))
    ledger.has("clone", cloned, data)
    csi.expand(thick.volume_id, 2 * SIZE)
    ledger.copied("expand")
    promised.forget(restored.volume_id)
    csi.delete(restored.volume_id)
    ledger.copied("delete")
    promised.forget(snapshot)
    csi.delete_snapshot(snapshot)
    ledger.copied("delete snapshot")
    for step, cut in ledger.cuts:
        cut.disk.mount()
        cut.csi = node.start(f"p=loopfile:{cut.disk.where}")
        cut.check_all_there()
        cut.check_nothing_else()
        cut.check_bytes(pod=f"cut-{step}")
        if step == "expand":
            assert csi.volumes()[thick.volume_id].capacity_bytes == 2 * SIZE
        cut.csi.driver.stop()
        cut.disk.unmount()
    thick.down()


def test_a_retry_after_a_kill_gives_the_id_that_the_first_try_had(
    node: Node, seeds: Callable[[str], Seed]
) -> None:
    promised = promised_pool.plant(node, seeds("xfs"))
    first = promised.csi.create("same").volume_id
    promised.csi.driver.restart()
    assert promised.csi.create("same").volume_id == first
    promised.csi.delete(first)
    assert promised.csi.create("same").volume_id == first


def test_killed_again_and_again_while_it_works(node: Node, seeds: Callable[[str], Seed]) -> None:
    """Not at a fail point: wherever it happens to be."""
    promised = promised_pool.plant(node, seeds("xfs"))
    for turn in range(4):
        futures = [
            promised.csi.controller.CreateVolume.future(
                promised.csi.create_request(f"many-{number}"), timeout=20
            )
            for number in range(12)
        ]
        next(future for future in futures[turn:]).result()
        promised.csi.driver.restart()
    ids = {promised.csi.create_patiently(f"many-{number}").volume_id for number in range(12)}
    promised.volumes |= ids
    promised.check_nothing_else()
    promised.check_all_there()


def test_a_clean_stop_finishes_running_calls_and_exits_with_zero(
    node: Node, seeds: Callable[[str], Seed]
) -> None:
    promised = promised_pool.plant(node, seeds("xfs"))
    life = promised.kept
    life.up()
    node.freeze(promised.disk.where)
    request = promised.csi.create_request("last")
    running = promised.csi.controller.CreateVolume.future(request, timeout=30)
    wait_until(lambda: outcome(lambda: promised.csi.create("last", timeout=5)) == "ABORTED")
    process = promised.csi.driver.process
    assert process
    process.terminate()
    wait_until(lambda: outcome(lambda: promised.csi.create("late", timeout=1)) == "UNAVAILABLE")
    node.thaw(promised.disk.where)
    assert running.result().volume.volume_id
    assert process.wait(20) == 0
    assert (life.target / "data").exists(), "a pod does not notice that its driver is replaced"
    promised.csi.driver.start()
    life.down()
