"""The README's two commands on a machine that has nothing: `python3 -m tools.newcomer [--demo]
[RELEASE...]`, bookworm and trixie unless others are named.

Such a machine is a Debian with python3, git and make, in mount, pid, ipc and uts namespaces of its
own, with an empty home and a clone of what is committed here. Its kernel, its network and its
devices are this machine's. Needs root, debootstrap and apt's mirror, and nothing installed before.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from tools import debian, programs
from tools.shell import CACHE, ROOT, run, say
from tools.test import in_use, left_since

RELEASES = {"bookworm": "Debian 12", "trixie": "Debian 13"}
HAS = ("python3", "git", "make")
NEEDS = {"debootstrap": "debootstrap", "unshare": "util-linux", "mount": "mount", "git": "git"}
BASES = CACHE / "newcomer"
HOME = "/home/newcomer"
CERTIFICATE = "/run/trusted.crt"
# How this machine reaches what is fetched; nothing else of its environment gets in.
PASSED = ("PIP_INDEX_URL", "PIP_DEFAULT_TIMEOUT", "GOPROXY", "GOSUMDB", "GONOSUMDB")
PROXIES = ("http_proxy", "https_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY")

NAMESPACES = ("--mount", "--pid", "--fork", "--kill-child", "--ipc", "--uts")
# $1: the root; $2: a file of certificates, or nothing; then the command. bash stays as the first
# process, and reaps what others leave.
ENTER = """
set -eu
mount --bind "$1" "$1"
cd "$1"
mount -t proc proc proc
mount --rbind /sys sys
mount --rbind /dev dev
mount -t tmpfs -o mode=1777 shm dev/shm
mount -t tmpfs -o mode=755 run run
if [ -n "$2" ]; then
    touch ".$CERTIFICATE"
    mount --bind -o ro "$2" ".$CERTIFICATE"
fi
hostname newcomer
pivot_root . .
umount --lazy .
cd "$HOME/cellar"
shift 2
"$@"
exit
"""
ELSEWHERE = """not shown by this, since the kernel and its devices are those of this machine:
    another kernel, and LVM where this one has no device-mapper: make test-lvm
    nodes with kubelets, and the chart: make e2e"""


def main() -> int:
    """Run the commands on each release; 0 if all of them did."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # the machine is taken away
    options = _options()
    if os.geteuid() != 0:
        sys.exit("this needs root: debootstrap and namespaces")
    if missing := sorted({*programs.missing(NEEDS)}):
        programs.install(missing)
    if subprocess.check_output(["git", "-C", str(ROOT), "status", "--porcelain"]):
        say("what is not committed here is not in the clone")
    commands = options.only or (["make demo"] if options.demo else ["make demo", "make test"])
    failed = [line for release in options.release for line in _try(release, commands)]
    say(ELSEWHERE)
    for line in failed:
        say(line)
    return bool(failed)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--demo", action="store_true", help="only the first command")
    parser.add_argument("--only", action="append", metavar="COMMAND", help="this one instead")
    parser.add_argument("release", nargs="*", default=list(RELEASES), help="of Debian, by name")
    return parser.parse_args()


def _try(release: str, commands: list[str]) -> Iterator[str]:
    """Yield what went wrong."""
    name, before = RELEASES.get(release, f"Debian {release}"), in_use()
    with _machine(release) as root:
        for command in commands:
            began = time.monotonic()
            status = _enter(root, command)
            say(spent := f"{name}, {command}: {time.monotonic() - began:.0f} s")
            if status:
                yield f"{spent}, exit status {status}"
        if changed := subprocess.check_output(_git(root, "status", "--porcelain"), text=True):
            yield f"{name}: files in the clone that git would show:\n{changed}"
    if os.environ.get("CI") == "true":  # elsewhere somebody else may be at work
        yield from (f"{name}: left behind: {one}" for one in left_since(before))


@contextmanager
def _machine(release: str) -> Iterator[Path]:
    """Give the root of one with a clone in it, which is gone afterwards."""
    base, root = BASES / release, BASES / f"run-{release}-{os.getpid()}"
    debian.make_tree(release, base, HAS)
    try:
        run(["cp", "--archive", "--reflink=auto", str(base), str(root)])
        shutil.copy("/etc/resolv.conf", root / "etc/resolv.conf")
        home = root / HOME.strip("/")
        home.mkdir()
        run(["git", "clone", "--quiet", "--no-local", str(ROOT), str(home / "cellar")])
        yield root
    finally:
        shutil.rmtree(root)


def _enter(root: Path, command: str) -> int:
    trusted = os.environ.get("PIP_CERT", "")
    words = ["unshare", *NAMESPACES, "--propagation", "private", "bash", "-c", ENTER, "bash"]
    environment = {**_environment(trusted), "CERTIFICATE": CERTIFICATE}
    return subprocess.run(
        [*words, str(root), trusted, *command.split()], env=environment, check=False
    ).returncode


def _environment(trusted: str) -> Mapping[str, str]:
    """A bare one; that of root on a fresh machine."""
    passed = {name: os.environ[name] for name in (*PASSED, *PROXIES) if name in os.environ}
    if trusted:
        passed |= {"PIP_CERT": CERTIFICATE, "SSL_CERT_FILE": CERTIFICATE}
    path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    return {"HOME": HOME, "PATH": path, "TERM": os.environ.get("TERM", "dumb"), **passed}


def _git(root: Path, *words: str) -> list[str]:
    return ["git", "-C", str(root / HOME.strip("/") / "cellar"), *words]


if __name__ == "__main__":
    sys.exit(main())
