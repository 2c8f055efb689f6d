"""The checks of `cellar doctor` on this machine: one function for each subject."""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from driver.core.errors import Failed
from driver.core.findings import Finding, ok, problem, warning
from driver.core.model import FsType
from driver.linux import command, sysfs
from driver.linux.formats import filesystem

OLDEST_KERNEL: Final = (5, 8)  # LOOP_CONFIGURE
CAP_SYS_ADMIN: Final = 21  # <linux/capability.h>
CAP_SYS_RESOURCE: Final = 24  # ext4_resize_begin() asks for it
NETLINK_KOBJECT_UEVENT: Final = 15  # <linux/netlink.h>
PACKAGES: Final = {
    FsType.EXT4: ("e2fsprogs", ("mkfs.ext4", "-V")),
    FsType.XFS: ("xfsprogs", ("mkfs.xfs", "-V")),
    FsType.BTRFS: ("btrfs-progs", ("mkfs.btrfs", "--version")),
}


def user(uid: int) -> Finding:
    """Check that the user with the id `uid` is root."""
    if uid == 0:
        return ok("user", "root")
    cure = "run as root, or use the simulator: --pool x=memory:10GiB"
    return problem("user", f"uid {uid}: only root may use loop devices and mount", cure)


def capabilities(status: str) -> Iterator[Finding]:
    """Check that root has the capabilities that some sandboxes remove.

    `status`: the text of /proc/self/status.
    """
    if not (match := re.search(r"^CapEff:\s*([0-9a-f]+)$", status, re.MULTILINE)):
        return
    effective = int(match[1], 16)
    if not effective >> CAP_SYS_ADMIN & 1:
        yield problem(
            "capabilities", "no CAP_SYS_ADMIN: nothing can be mounted", "run the driver privileged"
        )
    elif not effective >> CAP_SYS_RESOURCE & 1:
        text = "no CAP_SYS_RESOURCE: ext4 volumes grow only when they are staged again"
        yield warning("capabilities", text, "grant CAP_SYS_RESOURCE, or use xfs or btrfs volumes")
    else:
        yield ok("capabilities", "CAP_SYS_ADMIN, CAP_SYS_RESOURCE")


def kernel(release: str) -> Finding:
    """Check that the kernel supports LOOP_CONFIGURE. `release`: its version, as in uname."""
    oldest = ".".join(map(str, OLDEST_KERNEL))
    if not (match := re.match(r"(\d+)\.(\d+)", release)):
        return warning(
            "kernel", f"the version {release!r} is unknown", f"use Linux {oldest} or newer"
        )
    if (int(match[1]), int(match[2])) >= OLDEST_KERNEL:
        return ok("kernel", release)
    text = f"{release} has no LOOP_CONFIGURE"
    return problem("kernel", text, f"use Linux {oldest} or newer")


def loop_devices(dev: Path = Path("/dev"), sys_block: Path = Path("/sys/block")) -> Finding:
    """Check that loop devices can be created and used. `dev`, `sys_block`: /dev and /sys/block,
    except in tests.
    """
    control = dev / "loop-control"
    if not control.exists():
        cure = "modprobe loop; in a container mount the host's /dev"
        return problem("loop devices", f"no {control}", cure)
    if not os.access(control, os.R_OK | os.W_OK):
        return problem("loop devices", f"{control} cannot be opened", "run as root, privileged")
    names = [path.name for path in sys_block.glob("loop*")]
    if missing := [name for name in names if not (dev / name).exists()]:
        text = f"{control}; {len(missing)} of {len(names)} nodes are missing in {dev}"
        return warning(
            "loop devices",
            text,
            "the driver creates them when needed; better mount the host's /dev",
        )
    return ok("loop devices", f"{control}, {len(names)} devices; more are created when needed")


def sys_directory() -> Finding:
    """Check that the driver can write below /sys, which it needs to turn off the discards of a
    device.
    """
    subject = "/sys"
    if text := sysfs.find_problem():
        return problem(
            subject, f"{text.partition('; ')[0]}: thick volumes cannot be attached", sysfs.CURE
        )
    if sysfs.is_read_only():
        return ok(subject, "read-only here; the driver mounts a sysfs of its own to write")
    return ok(subject, "writable")


def programs(fs: FsType) -> Finding:
    """Check that the programs for this filesystem are installed."""
    package, version_command = PACKAGES[fs]
    if missing := command.missing(filesystem.PROGRAMS[fs]):
        severity = problem if fs is FsType.EXT4 else warning
        text = f"{', '.join(missing)} not found: no {fs} volumes"
        return severity(f"{fs} programs", text, f"apt install {package}")
    programs = ", ".join(filesystem.PROGRAMS[fs])
    return ok(f"{fs} programs", f"{package} {_version(version_command)}: {programs}")


def _version(words: tuple[str, ...]) -> str:
    """Return the version that a program prints: on stdout, or as mke2fs does on stderr, which is
    only given with an error, so no status is accepted.
    """
    try:
        output = command.run(words, timeout=10) or command.run(words, timeout=10, ok=())
    except command.CommandError as error:
        output = error.stderr
    except Failed:
        output = ""
    match = re.search(r"\d+(\.\d+)+", output)
    return match[0] if match else "(version unknown)"


def kernel_filesystem(fs: FsType, known: str, modules: Path) -> Finding:
    """Check that the kernel can mount this filesystem.

    `known`: the text of /proc/filesystems. `modules`: the directory of the kernel's modules.
    """
    if fs in known.split():
        return ok(f"{fs} in the kernel", "built in or loaded")
    if any(modules.glob(f"kernel/fs/{fs}/{fs}.ko*")):
        return ok(f"{fs} in the kernel", "a module, which the first mount loads")
    severity = problem if fs is FsType.EXT4 else warning
    cure = f"use a kernel with {fs}, or no {fs} volumes"
    return severity(f"{fs} in the kernel", "missing: such volumes cannot be mounted", cure)


def descriptors(hard: int) -> Finding:
    """Check that enough files can be open at the same time.

    `hard`: the hard limit, to which the driver raises its soft limit; negative: there is no limit.
    """
    subject, enough = "open files", 4096
    if hard < 0 or hard >= enough:
        return ok(subject, "the limit is high enough")
    text = f"at most {hard}: connections from outside could use them up"
    return warning(subject, text, f"set LimitNOFILE={enough} or more for the service")


def encryption(lacking: str | None) -> Finding:
    """Report whether volumes can be encrypted.

    `lacking`: why they cannot be encrypted, then a colon and what to do; None: they can be.
    """
    subject = "encryption"
    if not lacking:
        return ok(subject, "cryptsetup and dm-crypt: volumes can be encrypted")
    text, _, cure = lacking.rpartition(": ")
    return warning(subject, text, cure)


def io_limits(lacking: str | None) -> Finding:
    """Report whether IO limits can be enforced.

    `lacking`: why they cannot be enforced, then a colon and what to do; None: they can be.
    """
    subject = "IO limits"
    if not lacking:
        return ok(subject, "can be set in the control group of all pods")
    text, _, cure = lacking.partition(": ")
    return warning(subject, text, cure)


def uevents() -> Finding:
    """Check that the kernel's events about devices (uevents) can be received."""
    try:
        with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_KOBJECT_UEVENT) as listener:
            listener.bind((0, 1))
    except OSError as error:
        cure = "none is needed: changes of devices are noticed later, by polling"
        return warning("kernel events", f"netlink: {error.strerror}", cure)
    return ok("kernel events", "received by netlink")


def kubelet(directory: Path, mountinfo: str) -> Finding:
    """Check that mounts below kubelet's `directory` are propagated to kubelet.

    `mountinfo`: the text of /proc/self/mountinfo.
    """
    if not directory.is_dir():
        return ok("kubelet", f"no {directory}: not a Kubernetes node")
    if is_shared(directory, mountinfo):
        return ok("kubelet", f"mounts below {directory} are shared")
    text = f"{directory} is on a private mount: kubelet does not see the driver's mounts"
    cure = "in a pod, set mountPropagation: Bidirectional; on a host, mount --make-rshared /"
    return problem("kubelet", text, cure)


def is_shared(directory: Path, mountinfo: str) -> bool:
    """Return whether the mount on which `directory` lies is shared, so that mounts below it are
    propagated.

    `mountinfo`: the text of /proc/self/mountinfo.
    """
    best, shared = -1, False
    for line in mountinfo.splitlines():
        fields, _, _ = line.partition(" - ")
        target, *optional = fields.split(" ")[4:]
        depth = len(Path(target).parts)
        if directory.is_relative_to(target) and depth >= best:
            best, shared = depth, any(field.startswith("shared:") for field in optional)
    return shared
