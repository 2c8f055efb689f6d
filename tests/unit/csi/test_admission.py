"""Who may call over a node's port."""

from __future__ import annotations

import pytest

from driver.csi.admission import may_call
from driver.tls.identity import NODE, ROUTER


@pytest.mark.parametrize(
    ("method", "names", "may"),
    [
        ("/csi.v1.Controller/DeleteVolume", [ROUTER], True),
        ("/cellar.v1.Node/Watch", [ROUTER], True),
        ("/csi.v1.Node/NodeStageVolume", [ROUTER], False),
        ("/csi.v1.Controller/DeleteVolume", [NODE], False),
        ("/csi.v1.Controller/DeleteVolume", [NODE, ROUTER], False),
        ("/csi.v1.Controller/DeleteVolume", [], False),
    ],
)
def test_only_a_router_may_and_only_what_it_needs(
    method: str, names: list[str], *, may: bool
) -> None:
    assert may_call(method, names) is may
