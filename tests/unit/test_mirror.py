"""Each module has a test file of its own name, or stands here with the place where it is tested."""

from __future__ import annotations

from pathlib import Path

import pytest

DRIVER = Path("driver")
UNIT = Path("tests/unit")
ROOT = Path("tests/root")

# Modules without a file of their name, by the reason, which names what tests them.
ELSEWHERE = {
    "interfaces and plain records, without a decision of their own: their users' tests": """
        backends/loopfile/options backends/lvm/options backends/lvm/provisioning/provisioning
        backends/memory/options core/devices core/findings core/ports/backend
        core/ports/backend_features core/ports/conditions core/ports/crypt core/ports/host core/ports/io_limits
        core/ports/pool core/ports/records core/results router/kubernetes/api
        services/use_cases volumes/copies/barrier
    """,
    "the simulator, which passes the contract of the real backends: tests/contract": """
        backends/memory/backend backends/memory/crypt backends/memory/devices backends/memory/disk
        backends/memory/filesystem backends/memory/host backends/memory/io_limits
        backends/memory/mount_table backends/memory/stored
    """,
    "logical volumes, on a kernel with device-mapper: tests/lvm, tests/contract": """
        backends/lvm/backend backends/lvm/contents backends/lvm/copy_snapshot backends/lvm/devices
        backends/lvm/faults backends/lvm/no_space backends/lvm/opening backends/lvm/pool/identity
        backends/lvm/pool/pool backends/lvm/pool/recovery backends/lvm/pool/unfinished
        backends/lvm/provisioning/thick backends/lvm/provisioning/thin backends/lvm/state
        backends/lvm/volume_group disks/lvm_pool linux/devices/dm_ioctl
    """,
    "processes as a whole: tests/serve, tests/promises, tests/cluster": """
        __main__ app/kubernetes_cluster app/node app/upkeep backends/loopfile/pool_type
        backends/loopfile/served_pool backends/memory/pool_type
        services/kubelet_registration
    """,
    "the demo, which checks itself: tests/unit/cli/demo and tests/root/cli/demo": """
        cli/demo/calls cli/demo/observations
    """,
    "in the test of the module beside it that calls it": """
        core/ports/memory_records linux/devices/loop_settings linux/formats/btrfs
    """,
}
# Tests of the project as a whole, and of the tools.
OF_NO_MODULE = {
    "test_docstrings.py",
    "test_documented_blocks.py",
    "test_documents.py",
    "test_examples.py",
    "test_exposition.py",
    "test_mirror.py",
    "test_shape.py",
}
MOST = 60  # entries that a person reads


def modules() -> set[str]:
    paths = (path.relative_to(DRIVER) for path in DRIVER.rglob("*.py"))
    return {path.with_suffix("").as_posix() for path in paths if path.name != "__init__.py"}


def covered_in(tests: Path) -> set[str]:
    """Return the modules that the names of the files say are tested."""
    paths = (path.relative_to(tests) for path in tests.rglob("test_*.py"))
    return {
        (path.parent / path.stem.removeprefix("test_")).as_posix()
        for path in paths
        if path.parts[0] != "tools" and path.name not in OF_NO_MODULE
    }


def test_each_module_has_a_test_of_its_name_or_a_reason_to_have_none() -> None:
    elsewhere = {module for names in ELSEWHERE.values() for module in names.split()}
    missing = modules() - covered_in(UNIT) - covered_in(ROOT)
    assert missing - elsewhere == set(), "write a test, or say above what tests it"
    assert elsewhere - missing == set(), "has a test of its name by now, or does not exist"
    assert len(elsewhere) <= MOST


@pytest.mark.parametrize("tests", [UNIT, ROOT])
def test_each_test_file_has_the_name_of_a_module(tests: Path) -> None:
    assert covered_in(tests) - modules() == set()
