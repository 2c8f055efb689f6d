from __future__ import annotations

from pathlib import Path

import pytest

from driver.cli.doctor import checks
from driver.core.findings import Level
from driver.core.model import FsType
from driver.linux import command, sysfs
from driver.linux.formats import filesystem

HOST = """\
22 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw
30 22 0:5 / /dev rw shared:2 - devtmpfs udev rw
40 22 0:40 / /var/lib/kubelet rw - tmpfs tmpfs rw
50 40 0:41 / /var/lib/kubelet/plugins rw shared:7 master:3 - tmpfs tmpfs rw
"""


@pytest.mark.parametrize(
    ("directory", "shared"),
    [
        ("/srv", True),
        ("/var/lib", True),
        ("/var/lib/kubelet", False),
        ("/var/lib/kubelet/pods", False),
        ("/var/lib/kubelet/plugins/x", True),
        ("/var/lib/kubelets", True),
    ],
)
def test_propagation_is_that_of_the_innermost_mount(directory: str, shared: bool) -> None:
    assert checks.is_shared(Path(directory), HOST) is shared


def test_a_later_mount_on_the_same_place_counts() -> None:
    text = HOST + "60 40 0:50 / /var/lib/kubelet rw shared:9 - tmpfs tmpfs rw\n"
    assert checks.is_shared(Path("/var/lib/kubelet"), text)


def test_a_machine_without_kubelet_is_in_order(tmp_path: Path) -> None:
    assert checks.kubelet(tmp_path / "kubelet", HOST).level is Level.OK


def test_private_mounts_below_kubelet_are_a_problem_with_a_cure(tmp_path: Path) -> None:
    finding = checks.kubelet(tmp_path, "22 1 254:0 / / rw - ext4 /dev/vda rw\n")
    assert finding.level is Level.PROBLEM
    assert "Bidirectional" in finding.cure


@pytest.mark.parametrize(
    ("release", "level"),
    [
        ("6.18.44-fc", Level.OK),
        ("5.8.0", Level.OK),
        ("5.10.0-28-amd64", Level.OK),
        ("5.7.19", Level.PROBLEM),
        ("4.19", Level.PROBLEM),
        ("odd", Level.WARNING),
    ],
)
def test_the_kernel_must_have_loop_configure(release: str, level: Level) -> None:
    assert checks.kernel(release).level is level


def test_only_root_will_do() -> None:
    assert checks.user(0).level is Level.OK
    assert checks.user(1000).level is Level.PROBLEM
    assert "memory" in checks.user(1000).cure


@pytest.mark.parametrize(
    ("effective", "level"),
    [
        ("000001ffffffffff", Level.OK),
        ("000001fffeffffff", Level.WARNING),
        ("0000000000000000", Level.PROBLEM),
        ("00000000a80425fb", Level.PROBLEM),
    ],
)
def test_capabilities_may_be_taken_from_root(effective: str, level: Level) -> None:
    [finding] = checks.capabilities(f"Name:\tx\nCapEff:\t{effective}\nCapBnd:\t0\n")
    assert finding.level is level


def test_no_loop_control_is_a_problem(tmp_path: Path) -> None:
    finding = checks.loop_devices(dev=tmp_path)
    assert finding.level is Level.PROBLEM
    assert "modprobe loop" in finding.cure


def test_nodes_that_a_container_lacks_are_a_warning(tmp_path: Path) -> None:
    dev, block = tmp_path / "dev", tmp_path / "block"
    for one in (dev, block / "loop0", block / "loop1", block / "vda"):
        one.mkdir(parents=True)
    (dev / "loop-control").touch()
    (dev / "loop0").touch()
    finding = checks.loop_devices(dev, block)
    assert finding.level is Level.WARNING
    assert "1 of 2" in finding.text
    (dev / "loop1").touch()
    assert checks.loop_devices(dev, block).level is Level.OK


@pytest.mark.parametrize(("fs", "level"), [("ext4", Level.PROBLEM), ("xfs", Level.WARNING)])
def test_missing_programs_name_their_package(
    fs: str, level: Level, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(command, "missing", tuple)
    finding = checks.programs(FsType(fs))
    assert finding.level is level
    assert finding.cure == f"apt install {checks.PACKAGES[FsType(fs)][0]}"


@pytest.mark.parametrize("fs", list(FsType))
def test_programs_that_are_there_tell_their_version(fs: FsType) -> None:
    if command.missing(filesystem.PROGRAMS[fs]):
        pytest.skip(f"this machine has no programs for {fs}")
    finding = checks.programs(fs)
    assert finding.level is Level.OK
    assert "unknown" not in finding.text


def test_a_filesystem_may_be_in_the_kernel_or_a_module(tmp_path: Path) -> None:
    known = "nodev\tproc\n\text4\n"
    assert checks.kernel_filesystem(FsType.EXT4, known, tmp_path).level is Level.OK
    assert checks.kernel_filesystem(FsType.XFS, known, tmp_path).level is Level.WARNING
    assert checks.kernel_filesystem(FsType.EXT4, "", tmp_path).level is Level.PROBLEM
    module = tmp_path / "kernel/fs/xfs/xfs.ko.zst"
    module.parent.mkdir(parents=True)
    module.touch()
    assert checks.kernel_filesystem(FsType.XFS, known, tmp_path).level is Level.OK


@pytest.mark.parametrize(
    ("read_only", "trouble", "level"),
    [
        (False, "", Level.OK),
        (True, "", Level.OK),
        (True, "/sys cannot be written; mount it", Level.PROBLEM),
    ],
)
def test_a_sys_that_cannot_be_written_is_a_problem_with_a_cure(
    monkeypatch: pytest.MonkeyPatch, *, read_only: bool, trouble: str, level: Level
) -> None:
    monkeypatch.setattr(sysfs, "is_read_only", lambda: read_only)
    monkeypatch.setattr(sysfs, "find_problem", lambda: trouble)
    finding = checks.sys_directory()
    assert finding.level is level
    assert ("/sys" in finding.cure) is bool(trouble)


def test_few_open_files_are_a_warning() -> None:
    assert checks.descriptors(1024).level is Level.WARNING
    assert {checks.descriptors(hard).level for hard in (-1, 4096, 1 << 20)} == {Level.OK}


def test_what_is_lacking_for_io_limits_stands_with_its_cure() -> None:
    assert checks.io_limits(None).level is Level.OK
    finding = checks.io_limits(
        "IO limits cannot be enforced on this node, because of X: echo +io > /y"
    )
    assert (finding.level, finding.cure) == (Level.WARNING, "echo +io > /y")
    assert finding.text.endswith("because of X")


def test_what_is_lacking_for_encryption_stands_with_its_cure() -> None:
    assert checks.encryption("").level is Level.OK
    finding = checks.encryption(
        "no encrypted volumes on this node: cryptsetup not found: install it"
    )
    assert (finding.level, finding.cure) == (Level.WARNING, "install it")
    assert "cryptsetup" in finding.text
