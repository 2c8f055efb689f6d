"""What `cellar doctor` looks at: one function for each subject, one finding for each line."""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from csi_proto import csi_pb2 as csi
from driver.cli.client import CallFailed, Client
from driver.core.errors import Failed
from driver.core.findings import Finding, ok, problem, warning
from driver.core.model import FsType
from driver.linux import command, sysfs
from driver.linux.formats import filesystem

OLDEST_KERNEL: Final = (5, 8)  # LOOP_CONFIGURE
CAP_SYS_ADMIN: Final = 21  # <linux/capability.h>
CAP_SYS_RESOURCE: Final = 24  # ext4_resize_begin() asks for it
NETLINK_KOBJECT_UEVENT: Final = 15  # <linux/netlink.h>
NEARLY_FULL: Final = 0.05
PACKAGES: Final = {
    FsType.EXT4: ("e2fsprogs", ("mkfs.ext4", "-V")),
    FsType.XFS: ("xfsprogs", ("mkfs.xfs", "-V")),
    FsType.BTRFS: ("btrfs-progs", ("mkfs.btrfs", "--version")),
}


# --- the machine


def user(uid: int) -> Finding:
    """Check that the user is root."""
    if uid == 0:
        return ok("user", "root")
    cure = "run as root, or use the simulator: --pool x=memory:10GiB"
    return problem("user", f"uid {uid}: loop devices and mounts are root's", cure)


def capabilities(status: str) -> Iterator[Finding]:
    """Check the capabilities, which some sandboxes take from root.

    `status`: the text of /proc/self/status.
    """
    if not (match := re.search(r"^CapEff:\s*([0-9a-f]+)$", status, re.MULTILINE)):
        return
    effective = int(match[1], 16)
    if not effective >> CAP_SYS_ADMIN & 1:
        yield problem("capabilities", "no CAP_SYS_ADMIN: no mounts", "run it privileged")
    elif not effective >> CAP_SYS_RESOURCE & 1:
        text = "no CAP_SYS_RESOURCE: ext4 volumes do not grow before they are staged anew"
        yield warning("capabilities", text, "give it that, or use xfs or btrfs volumes")
    else:
        yield ok("capabilities", "CAP_SYS_ADMIN, CAP_SYS_RESOURCE")


def kernel(release: str) -> Finding:
    """Check that the kernel (`release` as of uname) has LOOP_CONFIGURE."""
    oldest = ".".join(map(str, OLDEST_KERNEL))
    if not (match := re.match(r"(\d+)\.(\d+)", release)):
        return warning("kernel", f"{release}: not a version that can be read", f"have {oldest}")
    if (int(match[1]), int(match[2])) >= OLDEST_KERNEL:
        return ok("kernel", release)
    text = f"{release} has no LOOP_CONFIGURE"
    return problem("kernel", text, f"use Linux {oldest} or newer")


def loop_devices(dev: Path = Path("/dev"), sys_block: Path = Path("/sys/block")) -> Finding:
    """Check that loop devices can be made and used."""
    control = dev / "loop-control"
    if not control.exists():
        cure = "modprobe loop; in a container mount the host's /dev"
        return problem("loop devices", f"no {control}", cure)
    if not os.access(control, os.R_OK | os.W_OK):
        return problem("loop devices", f"{control} may not be opened", "run as root, privileged")
    names = [one.name for one in sys_block.glob("loop*")]
    if lacking := [name for name in names if not (dev / name).exists()]:
        text = f"{control}; {len(lacking)} of {len(names)} nodes are missing in {dev}"
        return warning("loop devices", text, "they are made when needed; better mount /dev")
    return ok("loop devices", f"{control}, {len(names)} devices; more are made when needed")


def attributes() -> Finding:
    """Check that the driver can write below /sys, where it makes a loop device take no discards."""
    what = "/sys"
    if text := sysfs.find_problem():
        return problem(
            what, f"{text.partition('; ')[0]}: thick volumes cannot be attached", sysfs.CURE
        )
    if sysfs.is_read_only():
        return ok(what, "read-only here; the driver writes through a sysfs of its own")
    return ok(what, "can be written")


def programs(fs: FsType) -> Finding:
    """Check that the programs for this filesystem are installed."""
    package, ask = PACKAGES[fs]
    if lacking := command.missing(filesystem.PROGRAMS[fs]):
        found = problem if fs is FsType.EXT4 else warning
        text = f"{', '.join(lacking)} not found: no {fs} volumes"
        return found(f"{fs} programs", text, f"apt install {package}")
    said = ", ".join(filesystem.PROGRAMS[fs])
    return ok(f"{fs} programs", f"{package} {_version(ask)}: {said}")


def _version(words: tuple[str, ...]) -> str:
    """Return the version that a program reports.

    Some print it on stdout, mke2fs on stderr: that is read by declaring every status
    unexpected.
    """
    try:
        said = command.run(words, timeout=10) or command.run(words, timeout=10, ok=())
    except command.CommandError as error:
        said = error.stderr
    except Failed:
        said = ""
    match = re.search(r"\d+(\.\d+)+", said)
    return match[0] if match else "(version unknown)"


def kernel_filesystem(fs: FsType, known: str, modules: Path) -> Finding:
    """Check that the kernel can mount this filesystem.

    `known`: the text of /proc/filesystems. `modules`: the folder of the kernel's modules.
    """
    if fs in known.split():
        return ok(f"{fs} in the kernel", "can be mounted")
    if any(modules.glob(f"kernel/fs/{fs}/{fs}.ko*")):
        return ok(f"{fs} in the kernel", "as a module, loaded by the first mount")
    found = problem if fs is FsType.EXT4 else warning
    cure = f"use a kernel with {fs}, or no {fs} volumes"
    return found(f"{fs} in the kernel", "is not there: such volumes cannot be mounted", cure)


def descriptors(hard: int) -> Finding:
    """Check that enough files can be open.

    `hard`: the limit to which the driver raises its own; negative: there is none.
    """
    what, enough = "open files", 4096
    if hard < 0 or hard >= enough:
        return ok(what, "as many as are needed")
    text = f"at most {hard}: connections of strangers could use them up"
    return warning(what, text, f"LimitNOFILE={enough} or more for its service")


def encryption(lacking: str | None) -> Finding:
    """Report whether volumes can be encrypted.

    `lacking`: why they cannot, then a colon and the cure; None: they can.
    """
    what = "encryption"
    if not lacking:
        return ok(what, "cryptsetup and dm-crypt: encrypted volumes")
    text, _, cure = lacking.rpartition(": ")
    return warning(what, text, cure)


def uevents() -> Finding:
    """Check that the kernel's events of devices can be received."""
    try:
        with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_KOBJECT_UEVENT) as listener:
            listener.bind((0, 1))
    except OSError as error:
        cure = "changes of devices are then found by looking, later"
        return warning("kernel events", f"netlink: {error.strerror}", cure)
    return ok("kernel events", "netlink delivers them")


def kubelet(directory: Path, mountinfo: str) -> Finding:
    """Check that mounts below kubelet's `directory` are propagated to it."""
    if not directory.is_dir():
        return ok("kubelet", f"no {directory}: not a Kubernetes node")
    if is_shared(directory, mountinfo):
        return ok("kubelet", f"mounts below {directory} are shared")
    text = f"{directory} is on a private mount: kubelet would not see the driver's mounts"
    cure = "in a pod mountPropagation: Bidirectional; on a host mount --make-rshared /"
    return problem("kubelet", text, cure)


def is_shared(directory: Path, mountinfo: str) -> bool:
    """Return whether the mount that `directory` is on is shared, so that it propagates mounts.

    `mountinfo`: the text of /proc/self/mountinfo.
    """
    best, shared = -1, False
    for line in mountinfo.splitlines():
        fields, _, _ = line.partition(" - ")
        target, *optional = fields.split(" ")[4:]
        depth = len(Path(target).parts)
        if directory.is_relative_to(target) and depth >= best:
            best, shared = depth, any(one.startswith("shared:") for one in optional)
    return shared


# --- a running driver


def endpoint(address: str) -> Finding:
    """Check that a driver answers at this address, and is ready."""
    try:
        with Client(address, timeout=5) as client:
            info = client.call(client.identity.GetPluginInfo, csi.GetPluginInfoRequest())
            ready = client.call(client.identity.Probe, csi.ProbeRequest()).ready.value
    except CallFailed as error:
        return problem("driver", error.text, f"start it: cellar serve --endpoint {address}")
    text = f"{info.name} {info.vendor_version} answers at {address}"
    if ready:
        return ok("driver", text)
    return warning("driver", f"{text} and is not ready", "see its log and `cellar pools`")
