"""The paths of the RPCs."""

from __future__ import annotations

from driver.csi import methods


def test_methods_have_the_paths_that_routers_and_nodes_of_all_versions_use() -> None:
    assert methods.path("CreateVolume") == "/csi.v1.Controller/CreateVolume"
    assert methods.path("CreateVolumeGroupSnapshot").startswith("/csi.v1.GroupController/")
    assert methods.path("Watch") == "/cellar.v1.Node/Watch"
    names = [method.name for method in methods.all_methods()]
    assert len(set(names)) == len(names)
