"""What the pools of one node share is made once, when a pool needs it."""

from __future__ import annotations

from driver.backends.node_resources import NodeResources
from driver.core.ports.memory_records import MemoryRecords
from driver.linux.formats import luks


def test_each_type_of_pool_has_one_value_of_its_own_for_a_node() -> None:
    made: list[str] = []

    def loopfile(node: NodeResources) -> list[str]:
        made.append(f"loopfile {node.owner}")
        return ["loopfile"]

    def lvm(node: NodeResources) -> list[str]:
        made.append(f"lvm {node.owner}")
        return ["lvm"]

    nodes = [NodeResources(owner, luks.Options(), MemoryRecords()) for owner in ("a", "b")]
    values = [node.shared(make) for node in nodes for make in (loopfile, lvm, loopfile)]
    assert made == ["loopfile a", "lvm a", "loopfile b", "lvm b"]
    assert values[0] is values[2]
    assert values[0] is not values[3]
