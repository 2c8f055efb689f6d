"""Attributes of devices are written to also where /sys is read-only, or said why not."""

from __future__ import annotations

import subprocess
import sys

import pytest

# A sysfs belongs to a network namespace: that of the machine is not touched.
READ_ONLY = (
    *("unshare", "--net", "--mount", "--propagation", "private"),
    *("sh", "-c", 'mount -t sysfs -o ro sysfs /sys && exec "$@"', "sh"),
)
LOOK = """
import os, errno, fcntl
from pathlib import Path
from driver.linux import sysfs
from driver.linux.devices import loop_ioctl
assert sysfs.is_read_only() and not sysfs.find_problem()
before = os.readlink("/proc/self/ns/net")
control = os.open(loop_ioctl.CONTROL, os.O_RDWR)
number = fcntl.ioctl(control, loop_ioctl.LOOP_CTL_ADD, -1)  # never used, so with all its limits
limit = Path(f"/sys/block/loop{number}/queue/discard_max_bytes")
try:
    limit.write_bytes(b"0")
except OSError as error:
    assert error.errno == errno.EROFS
else:
    raise AssertionError("it could be written")
sysfs.write(limit, b"0")
sysfs.write(limit, b"0")
assert os.readlink("/proc/self/ns/net") == before
fcntl.ioctl(control, 0x4C81, number)
"""
REFUSED = """
from pathlib import Path
from driver.core.errors import Refused
from driver.linux import sysfs
from driver.linux.mounts import fsopen
def fails(_):
    raise PermissionError(1, "Operation not permitted")
fsopen.mount_detached = fails
try:
    sysfs.write(Path("/sys/block/loop0/queue/discard_max_bytes"), b"0")
except Refused as error:
    print(error)
print(sysfs.find_problem())
"""


def test_a_read_only_sys_is_written_to_through_one_of_our_own() -> None:
    assert _run(*READ_ONLY, sys.executable, "-c", LOOK) == ""


def test_where_that_is_refused_too_the_path_and_the_cure_are_named() -> None:
    probe = REFUSED.replace("loop0", _any_loop_device())
    said, problem = _run(*READ_ONLY, sys.executable, "-c", probe).splitlines()
    assert "discard_max_bytes cannot be written: /sys is read-only" in said
    assert "Operation not permitted" in said
    assert "mount the machine's /sys at /sys" in said
    assert "/sys is read-only" in problem


def _any_loop_device() -> str:
    devices = subprocess.check_output(["ls", "/sys/block"], text=True).split()
    found = [one for one in devices if one.startswith("loop")]
    if not found:
        pytest.skip("this machine has no loop device at the moment")
    return found[0]


def _run(*words: str) -> str:
    return subprocess.run(words, check=True, text=True, stdout=subprocess.PIPE).stdout
