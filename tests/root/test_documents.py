"""What the documents tell an administrator to type on one machine, typed as it stands there.

Each block has a mount and a process namespace of its own: /srv is a new xfs, and what it writes to
/run, /mnt and /var/lib/cellar is gone with it. The processes that it left in the background end.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

from tests.documents import ROOT, Block, blocks

pytestmark = [pytest.mark.root, pytest.mark.slow]

TIMEOUT: Final = 120.0  # seconds
BEFORE: Final = """
mount -o loop "$DISK" /srv
for folder in /run /mnt /var/lib/cellar; do mkdir -p $folder; mount -t tmpfs none $folder; done
mkdir -p /srv/fast /srv/bulk /run/cellar
free_devices() {
  umount -q /mnt/staging || true
  number=$(mountpoint -d /srv)
  losetup --noheadings --output NAME,BACK-MAJ:MIN | while read -r name on; do
    [ "$on" != "$number" ] || losetup -d "$name"
  done
}
trap 'kill $(jobs -p) 2>/dev/null || true; wait; free_devices; umount /srv' EXIT
"""
# What must be true after a block, in the same shell, by a word of it.
AFTER: Final = {
    "NodeStageVolume": "findmnt --noheadings --output FSTYPE /mnt/staging | grep -qx ext4; cellar volumes",
    "cellar serve --endpoint": "cellar pools --endpoint unix:///run/cellar/csi.sock | grep -w bulk",
    "pools init": "test -e /srv/fast/.cellar-pool.json",
}
# A command that runs until it is stopped is put into the background, as a service manager would.
STAYS: Final = ("cellar serve --endpoint",)
READY: Final = """
until cellar pools --endpoint unix:///run/cellar/csi.sock >/dev/null 2>&1; do
  kill -0 $!; sleep 0.2
done
"""


@pytest.fixture
def disk(tmp_path: Path) -> Path:
    image = tmp_path / "disk.img"
    image.touch()
    os.truncate(image, 4 << 30)
    subprocess.run(["mkfs.xfs", "-q", str(image)], check=True, timeout=60)
    return image


@pytest.mark.parametrize("block", blocks(how="run", what="machine"), ids=str)
def test_what_the_document_says_works(block: Block, disk: Path) -> None:
    [after] = [check for word, check in AFTER.items() if word in block.text]
    text = block.text
    if any(word in text for word in STAYS):
        text = f"{text.rstrip()} &\n{READY}"
    done = typed(f"{BEFORE}\n{text}\n{after}\n", disk)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"


def test_every_check_belongs_to_a_block() -> None:
    texts = [block.text for block in blocks(how="run", what="machine")]
    assert all(sum(word in text for text in texts) == 1 for word in AFTER)


def typed(script: str, disk: Path) -> subprocess.CompletedProcess[str]:
    """Run `script` in bash from the checkout, in namespaces that end with it."""
    spaces = ["unshare", "--mount", "--propagation", "private", "--pid", "--fork", "--mount-proc"]
    environment = {
        "DISK": str(disk),
        "HOME": os.environ.get("HOME", "/root"),
        "PATH": f"{Path(sys.executable).parent}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    }
    return subprocess.run(
        [*spaces, "--kill-child", "bash", "-euo", "pipefail", "-c", script],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        check=False,
    )
