"""The programs of other people that are needed, and the Debian package of each."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence

from tools.shell import CACHE, say
from tools.steps import step

# An administrator's programs are not on everybody's PATH.
PATH = os.pathsep.join([os.environ.get("PATH", ""), "/usr/local/sbin", "/usr/sbin", "/sbin"])

# What the driver runs, and what most of its tests make disks with.
DRIVER = {
    "blkid": "util-linux",
    "btrfs": "btrfs-progs",
    "btrfstune": "btrfs-progs",
    "e2fsck": "e2fsprogs",
    "filefrag": "e2fsprogs",
    "findmnt": "util-linux",
    "fsfreeze": "util-linux",
    "fstrim": "util-linux",
    "losetup": "mount",
    "lsattr": "e2fsprogs",
    "mkfs.btrfs": "btrfs-progs",
    "mkfs.ext4": "e2fsprogs",
    "mkfs.xfs": "xfsprogs",
    "mount": "mount",
    "setpriv": "util-linux",
    "tune2fs": "e2fsprogs",
    "umount": "mount",
    "unshare": "util-linux",
    "xfs_admin": "xfsprogs",
    "xfs_db": "xfsprogs",
    "xfs_io": "xfsprogs",
    "xfs_repair": "xfsprogs",
}
# What other tests make disks with. Before Debian 13 util-linux has both.
TESTS = {"mkfs.bfs": "util-linux-extra", "mkfs.minix": "util-linux-extra"}
# What the nodes of a cluster are made with, and the disks of their pools.
CLUSTER = {
    "ip": "iproute2",
    "losetup": "mount",
    "mkfs.xfs": "xfsprogs",
    "nsenter": "util-linux",
    "openssl": "openssl",
    "pgrep": "procps",
    "unshare": "util-linux",
}
# What builds an image where there is no registry and no Docker.
IMAGE = {"buildah": "buildah", "debootstrap": "debootstrap"}
# What the tests of `cellar page` look at it with: one of them. Debian has the first.
BROWSERS = ("chromium", "google-chrome")


def missing(packages: Mapping[str, str]) -> Iterator[str]:
    """Yield the package of each program that is not on this machine, and say which ones."""
    lacking = [one for one in packages if not shutil.which(one, path=PATH)]
    if lacking:
        say(f"not on this machine: {', '.join(lacking)}")
    yield from (packages[one] for one in lacking)


def install(packages: Sequence[str]) -> None:
    """Install Debian packages, or end with the words that do."""
    command = ["apt-get", "install", "--yes", "--no-install-recommends", *packages]
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        sys.exit(f"missing packages: {' '.join(packages)}\nas root: {' '.join(command)}")
    environment, log = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}, CACHE / "logs/apt.log"
    step("asking apt what there is", ["apt-get", "update", "--quiet"], env=environment, log=log)
    title = f"installing {' '.join(packages)}"
    step(title, [*command, "--quiet"], env=environment, log=log)
