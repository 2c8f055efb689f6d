"""Where the control group of all pods is, on a made-up tree of /sys/fs/cgroup."""

from __future__ import annotations

from pathlib import Path

import pytest

from driver.core.errors import Refused
from driver.linux.io_limits import pods_cgroup

KIND = "kubelet.slice/kubelet-kubepods.slice"


class Tree:
    """A tree of control groups of version 2, with `io` on everywhere."""

    def __init__(self, path: Path) -> None:
        self.root = path / "cgroup"
        self.own = path / "own"
        self.own.write_text("0::/\n")
        self.root.mkdir()
        (self.root / "cgroup.controllers").write_text("cpu io\n")
        self.add("system.slice/ssh.service")

    def add(self, path: str, *, io: bool = True, populated: int = 1) -> Path:
        for folder in reversed((Path(path), *Path(path).parents)):
            group = self.root / folder
            if group != self.root and not group.exists():
                group.mkdir()
                (group / "cgroup.controllers").write_text("cpu io\n")
                (group / "cgroup.events").write_text(f"populated {populated}\nfrozen 0\n")
                if io:
                    (group / "io.max").touch()
        return self.root / path

    def find(self, configured: Path | None = None) -> Path:
        return pods_cgroup.find(configured, self.root, self.own)


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    return Tree(tmp_path)


@pytest.mark.parametrize(
    "path",
    ["kubepods", "kubepods.slice", KIND, "kubelet/kubepods", f"system.slice/docker-1.scope/{KIND}"],
)
def test_it_is_found_wherever_kubelet_makes_it(tree: Tree, path: str) -> None:
    group = tree.add(path)
    tree.add(f"{path}/kubepods-burstable.slice/kubepods-burstable-pod1.slice")
    assert tree.find() == group


def test_the_one_that_the_driver_is_in_comes_first(tree: Tree) -> None:
    tree.add("kubepods.slice")
    group = tree.add(f"docker/1/{KIND}")
    tree.add(f"docker/1/{KIND}/kubepods-pod1.slice/cri-1.scope")
    tree.own.write_text(f"0::/docker/1/{KIND}/kubepods-pod1.slice/cri-1.scope\n")
    assert tree.find() == group


@pytest.mark.parametrize("own", ["", "0::/../../kubepods/x\n", "4:memory:/kubepods\n0::/\n"])
def test_a_path_that_cannot_be_seen_does_not_matter(tree: Tree, own: str) -> None:
    tree.own.write_text(own)
    assert tree.find(tree.add("elsewhere")) == tree.root / "elsewhere"
    group = tree.add("kubepods.slice")
    assert tree.find() == group


def test_the_nearest_to_the_root_is_that_of_this_node(tree: Tree) -> None:
    tree.add(f"system.slice/docker-1.scope/{KIND}")
    group = tree.add("kubepods")
    assert tree.find() == group


def test_one_that_is_left_over_does_not_count(tree: Tree) -> None:
    tree.add("kubepods", populated=0)
    group = tree.add("kubepods.slice")
    assert tree.find() == group


@pytest.mark.parametrize("populated", [0, 1])
def test_of_several_somebody_must_choose(tree: Tree, populated: int) -> None:
    groups = [tree.add(name, populated=populated) for name in ("kubepods", "kubepods.slice")]
    with pytest.raises(
        Refused, match=r"set --pods-cgroup to one of .*kubepods and .*kubepods.slice"
    ):
        tree.find()
    assert tree.find(groups[0]) == groups[0]


def test_what_is_missing_is_said_with_its_cure(tree: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(Refused, match="start kubelet, or set --pods-cgroup"):
        tree.find()
    with pytest.raises(Refused, match="correct --pods-cgroup"):
        tree.find(tree.root / "nowhere")
    group = tree.add("kubepods.slice", io=False)
    with pytest.raises(Refused, match=r"echo \+io > .*/cgroup/cgroup.subtree_control"):
        tree.find()
    (group / "io.max").touch()
    monkeypatch.setattr(pods_cgroup, "is_writable", lambda _: False)
    with pytest.raises(Refused, match=r"set ioLimits\.enabled=true"):
        tree.find()


def test_control_groups_of_version_1_are_refused(tree: Tree) -> None:
    tree.add("kubepods")
    (tree.root / "cgroup.controllers").unlink()
    with pytest.raises(Refused, match=r"systemd\.unified_cgroup_hierarchy=1"):
        tree.find()
