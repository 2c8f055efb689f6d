"""Which nodes a routed CreateVolume is sent to, in which order, without a node."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest

from csi_proto import cellar_pb2 as cellar
from csi_proto import csi_pb2 as csi
from driver.core.errors import Busy, CellarError, Conflict, NoSpace, PoolUnavailable, Refused
from driver.core.ids import PoolId, name_digest, pack_digests, snapshot_key, volume_key
from driver.core.model import GIB
from driver.router import create, name_reservations
from driver.router.name_reservations import Reservation
from driver.router.nodes import calls
from driver.router.nodes.connection import NodeConnection
from driver.router.nodes.directory import NodeGone
from driver.router.placement import Requirement
from tests.unit.router.reported import reported

KEY = "cellar.csi.internal/node"
MOUNT = csi.VolumeCapability(
    mount=csi.VolumeCapability.MountVolume(),
    access_mode=csi.VolumeCapability.AccessMode(
        mode=csi.VolumeCapability.AccessMode.SINGLE_NODE_WRITER
    ),
)


def node(name: str, largest: int) -> NodeConnection:
    pool = cellar.Pool(name="sim", id=name * 12, allocation="thick")
    pool.available_space.add(allocation="thick", largest=largest, smallest=1)
    return reported(pool, name=name)


@dataclass
class FakeNodes:
    """The registry's part that a create needs."""

    nodes: Sequence[NodeConnection]
    gone: frozenset[str] = frozenset()
    left: Sequence[str] = ()

    def left_lately(self) -> Sequence[str]:
        return self.left

    def is_out_of_use(self, name: str) -> bool:
        return name in self.gone

    def all(self) -> Sequence[NodeConnection]:
        return self.nodes

    def reachable(self) -> Sequence[NodeConnection]:
        return [node for node in self.nodes if node.reachable]

    def meeting(self, requirement: Requirement) -> Sequence[NodeConnection]:
        return [node for node in self.reachable() if requirement.allows(node.name)]

    def duplicated_pools(self) -> frozenset[PoolId]:
        return frozenset()

    def owner(self, pool: PoolId) -> NodeConnection:
        if pool[0] in self.gone:
            raise NodeGone(pool[0])
        return next(node for node in self.nodes if pool in node.pool_ids)


@dataclass
class RoutedCreate:
    """Nodes `a` (10 GiB), `b` (30 GiB), `c` (20 GiB), and what each answers to a create."""

    nodes: FakeNodes
    answers: dict[str, CellarError] = field(default_factory=dict)
    holders: str = ""
    contended: bool = False
    sent: list[str] = field(default_factory=list)
    searched: list[str] = field(default_factory=list)
    reservations: int = 0
    recent: str | None = None
    lasts: int = 100  # the number of calls after which the reservation has ended

    def __post_init__(self) -> None:
        self.routes: Any = create.CreateRoutes(self.nodes, KEY)  # type: ignore[arg-type]

    def create(self, **fields: Any) -> str:
        request = csi.CreateVolumeRequest(name="v", volume_capabilities=[MOUNT], **fields)
        return str(asyncio.run(self.routes.create(request, None)).volume.volume_id)

    def snapshot(self, node: str) -> str:
        """Take a snapshot of a volume of this node, and return what the node answers."""
        source = f"{node * 12}-{'0' * 32}"
        request = csi.CreateSnapshotRequest(name="s", source_volume_id=source)
        response = csi.CreateSnapshotResponse.FromString(
            asyncio.run(self.routes.snapshot(request, None))
        )
        return response.snapshot.snapshot_id


@pytest.fixture
def routed(monkeypatch: pytest.MonkeyPatch) -> RoutedCreate:
    sizes = {"a": 10 * GIB, "b": 30 * GIB, "c": 20 * GIB}
    routed = RoutedCreate(FakeNodes([node(name, size) for name, size in sizes.items()]))

    async def forward(node: NodeConnection, path: str, *_: Any) -> bytes:
        routed.sent.append(node.name)
        if error := routed.answers.get(node.name):
            raise error
        if path == "/csi.v1.Controller/CreateSnapshot":
            snapshot = csi.Snapshot(snapshot_id=f"on-{node.name}")
            return csi.CreateSnapshotResponse(snapshot=snapshot).SerializeToString()
        assert path == "/csi.v1.Controller/CreateVolume"
        volume = csi.Volume(volume_id=f"on-{node.name}")
        return csi.CreateVolumeResponse(volume=volume).SerializeToString()

    @asynccontextmanager
    async def reserved(
        _: object,
        key: str,
        choose: Callable[[], Sequence[NodeConnection]],
        id_type: object,
        recent: str | None,
    ) -> AsyncIterator[Reservation]:
        routed.reservations += 1
        routed.recent = recent
        routed.searched = [node.name for node in choose()]
        if routed.contended:
            raise Busy("another router is creating it; try again")
        holders = [node for node in routed.nodes.nodes if node.name in routed.holders]
        yield Reservation(holders, lambda: len(routed.sent) >= routed.lasts)

    monkeypatch.setattr(calls, "forward", forward)
    monkeypatch.setattr(name_reservations, "reserved", reserved)
    return routed


def on(*names: str, chosen: bool = False) -> csi.TopologyRequirement:
    topologies = [csi.Topology(segments={KEY: name}) for name in names]
    return csi.TopologyRequirement(
        requisite=topologies, preferred=topologies if chosen else topologies[:0]
    )


def test_the_node_with_most_free_space_is_first_and_not_searched(routed: RoutedCreate) -> None:
    assert routed.create() == "on-b"
    assert (routed.sent, routed.searched) == (["b"], ["a", "c"])


def test_a_node_that_is_full_by_now_is_followed_by_the_next(routed: RoutedCreate) -> None:
    routed.answers = {"b": NoSpace("full"), "c": NoSpace("full")}
    assert routed.create() == "on-a"
    assert routed.sent == ["b", "c", "a"]


def test_if_all_are_full_the_error_is_that_of_the_best(routed: RoutedCreate) -> None:
    routed.answers = {name: NoSpace(f"{name} is full") for name in "abc"}
    with pytest.raises(NoSpace, match="b is full"):
        routed.create()


def test_any_other_error_ends_the_call(routed: RoutedCreate) -> None:
    routed.answers = {"b": PoolUnavailable("it hangs")}
    with pytest.raises(PoolUnavailable):
        routed.create()
    assert routed.sent == ["b"]


def test_the_node_that_has_the_name_is_the_only_one(routed: RoutedCreate) -> None:
    routed.holders = "a"
    assert routed.create() == "on-a"
    routed.answers = {"a": NoSpace("full")}
    with pytest.raises(NoSpace, match="full"):
        routed.create()
    assert routed.sent == ["a", "a"]


def test_a_name_is_found_also_where_no_new_volume_could_go(routed: RoutedCreate) -> None:
    for each in routed.nodes.nodes:
        each.member = type(each.member)(name=each.name, address="h:1", cordoned=True)
    with pytest.raises(NoSpace, match="cordoned"):
        routed.create()
    assert routed.searched == ["a", "b", "c"]
    routed.holders = "c"
    assert routed.create() == "on-c"


def test_a_chosen_node_gets_the_call_without_a_reservation(routed: RoutedCreate) -> None:
    routed.contended = True
    requirement = on("a", "b", chosen=True)
    assert routed.create(accessibility_requirements=requirement) == "on-a"
    routed.answers = {"a": NoSpace("full")}
    with pytest.raises(NoSpace, match="full"):
        routed.create(accessibility_requirements=requirement)
    with pytest.raises(NoSpace, match="cannot be reached"):
        routed.create(accessibility_requirements=on("z", chosen=True))
    assert routed.sent == ["a", "a"]


def test_only_accessible_nodes_are_tried_and_searched(routed: RoutedCreate) -> None:
    assert routed.create(accessibility_requirements=on("a", "c")) == "on-c"
    assert (routed.sent, routed.searched) == (["c"], ["a"])


def test_a_name_that_another_router_has_is_busy(routed: RoutedCreate) -> None:
    routed.contended = True
    with pytest.raises(Busy):
        routed.create()
    assert routed.sent == []


def test_a_source_decides_and_its_lost_node_is_a_final_answer(routed: RoutedCreate) -> None:
    source = csi.VolumeContentSource(
        volume=csi.VolumeContentSource.VolumeSource(volume_id=f"{'a' * 12}-{'0' * 32}")
    )
    assert routed.create(volume_content_source=source) == "on-a"
    with pytest.raises(NoSpace, match="node a"):
        routed.create(volume_content_source=source, accessibility_requirements=on("b"))
    routed.nodes.gone = frozenset("a")
    with pytest.raises(Refused, match="gone"):
        routed.create(volume_content_source=source)
    assert routed.sent == ["a"]


@pytest.mark.parametrize("answer", [None, Busy("it is being created"), PoolUnavailable("silent")])
def test_a_node_that_may_have_created_it_a_moment_ago_is_asked_first(
    routed: RoutedCreate, answer: CellarError | None
) -> None:
    """No search finds a volume that is still being created, nor one that was not reported yet."""
    if answer:
        routed.answers = {"a": answer}
        with pytest.raises(type(answer)):
            routed.create(accessibility_requirements=on("a", chosen=True))
    else:
        routed.create(accessibility_requirements=on("a", chosen=True))
    routed.answers = {}
    assert routed.create() == "on-a"
    assert (routed.sent, routed.searched) == (["a", "a"], ["b", "c"])


def test_a_node_that_had_no_space_a_moment_ago_has_created_nothing(routed: RoutedCreate) -> None:
    routed.answers = {"a": NoSpace("full")}
    with pytest.raises(NoSpace):
        routed.create(accessibility_requirements=on("a", chosen=True))
    assert routed.create() == "on-b"


def test_the_only_node_of_a_cluster_needs_nobody_to_keep_a_name(routed: RoutedCreate) -> None:
    routed.nodes.nodes = routed.nodes.nodes[:1]
    assert (routed.create(), routed.snapshot("a")) == ("on-a", "on-a")
    assert routed.reservations == 0


def test_a_snapshot_is_of_the_node_of_its_source_and_its_name_is_reserved(
    routed: RoutedCreate,
) -> None:
    assert routed.snapshot("b") == "on-b"
    assert (routed.sent, routed.searched, routed.reservations) == (["b"], ["a", "c"], 1)
    routed.holders = "c"
    with pytest.raises(Conflict, match="node c"):
        routed.snapshot("b")
    routed.contended = True
    with pytest.raises(Busy):
        routed.snapshot("b")
    assert routed.sent == ["b"]


def test_nothing_is_created_after_the_reservation_has_ended(routed: RoutedCreate) -> None:
    """The node that kept the name restarted: another router has reserved it there since."""
    routed.lasts = 1
    routed.answers = {"b": NoSpace("full")}
    with pytest.raises(Busy, match="try again"):
        routed.create()
    assert routed.sent == ["b"]
    routed.lasts = 0
    with pytest.raises(Busy, match="try again"):
        routed.snapshot("a")
    assert routed.sent == ["b"]


def test_a_node_that_was_asked_a_moment_ago_is_searched_also_if_it_accepts_no_volumes(
    routed: RoutedCreate,
) -> None:
    routed.create(accessibility_requirements=on("a", chosen=True))
    node = routed.nodes.nodes[0]
    node.member = type(node.member)(name="a", address="h:1", cordoned=True)
    routed.create()
    assert (routed.recent, routed.searched) == ("a", ["a", "c"])


def test_what_an_unreachable_node_had_is_not_created_elsewhere(routed: RoutedCreate) -> None:
    digests = [name_digest(volume_key("v")), name_digest(snapshot_key("s"))]
    names = cellar.Names(complete=True, added=pack_digests(digests))
    routed.nodes.nodes[2]._names.update(names, 100.0)
    routed.nodes.nodes[2]._set_unreachable("it hangs")
    with pytest.raises(PoolUnavailable, match="node c has the name and is unavailable: it hangs"):
        routed.create()
    with pytest.raises(PoolUnavailable, match="node c has the name"):
        routed.snapshot("a")
    assert routed.create(accessibility_requirements=on("a")) == "on-a"  # c is not searched
    routed.nodes.gone = frozenset("c")
    assert (routed.create(), routed.snapshot("a")) == ("on-a", "on-a")


def test_a_node_that_is_alone_since_a_moment_still_reserves(routed: RoutedCreate) -> None:
    """Another router may know the node that has left the cluster, and create the name there."""
    routed.nodes.nodes, routed.nodes.left = routed.nodes.nodes[:1], ["b"]
    assert (routed.create(), routed.reservations) == ("on-a", 1)
