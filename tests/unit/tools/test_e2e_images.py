"""The images of the External.Storage suite have the versions that Kubernetes' source names."""

from __future__ import annotations

from tools.e2e_images import suite_names

SOURCE = """
	configs[AgnhostPrev] = Config{list.PromoterE2eRegistry, "agnhost", "2.55"}
	configs[Agnhost] = Config{list.PromoterE2eRegistry, "agnhost", "2.66.1"}
	configs[BusyBox] = Config{list.PromoterE2eRegistry, "busybox", "1.37.0-2"}
	configs[Etcd] = Config{list.GcEtcdRegistry, "etcd", "3.7.0-0"}
"""


def test_each_image_has_the_version_of_its_own_line() -> None:
    assert suite_names(SOURCE) == {
        "AgnhostPrev": "registry.k8s.io/e2e-test-images/agnhost:2.55",
        "Agnhost": "registry.k8s.io/e2e-test-images/agnhost:2.66.1",
        "BusyBox": "registry.k8s.io/e2e-test-images/busybox:1.37.0-2",
    }
