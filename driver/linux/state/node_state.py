"""The state that a driver stores on its node, outside of its pools."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from driver.core.ports.records import NodeState
from driver.linux.state.boot_journal import BootJournal
from driver.linux.state.record_files import RecordFiles
from driver.linux.state.records import StoredRecords

_BOOT_ID: Final = Path("/proc/sys/kernel/random/boot_id")  # random(4)


def node_state(state_dir: Path, driver_name: str) -> NodeState:
    """Return the stored records of the driver `driver_name` on this node. `state_dir`: the
    directory of the records of all drivers on the node.

    Raises: OSError, if the boot id cannot be read.
    """
    folder, boot = state_dir / driver_name, _BOOT_ID.read_text(encoding="ascii").strip()
    return NodeState(
        mount_records=StoredRecords(BootJournal(folder / "places", boot), index="volume"),
        pools=StoredRecords(RecordFiles(folder / "pools")),
    )
