"""Which configured pools take blank disks."""

from __future__ import annotations

from pathlib import Path

import pytest

from driver.app.pool_spec import parse_pool
from driver.app.pools import find_pool_type
from driver.backends.lvm.opening import configure_pool
from driver.backends.lvm.volume_group import Groups
from driver.backends.node_resources import NodeResources
from driver.core.errors import Invalid
from driver.core.ports.memory_records import MemoryRecords
from driver.core.ports.node_events import NodeEvents
from driver.core.ports.pool import Pool
from driver.disks import configured_claims
from driver.disks.loopfile_claim import LoopfileClaim
from driver.disks.lvm_claim import LvmClaim
from driver.linux.formats.luks import Options as LuksOptions
from driver.linux.mounts.freeze import Freezer
from tests.support.lvm_resources import LvmResources

OWNER = "cellar.test"


def made(text: str, backend: object) -> object:
    spec = parse_pool(text)
    configured = find_pool_type(spec).read(spec)
    pool = Pool(spec.name, backend, None)  # type: ignore[arg-type]
    claims = configured_claims.make([(configured, pool)], OWNER, MemoryRecords(), NodeEvents())
    assert claims.claimed() == {"fast": 0.0}
    [claim] = claims._claims
    return claim


@pytest.fixture
def resources() -> LvmResources:
    return LvmResources(OWNER, Freezer.__new__(Freezer))


@pytest.mark.parametrize("location", ["vg", "vg/data"])
def test_a_pool_of_logical_volumes_takes_disks(location: str, resources: LvmResources) -> None:
    text = f"fast=lvm:{location},claimBlankDisks=true,disks=model=Samsung*;path=/dev/loop5"
    configured = find_pool_type(parse_pool(text)).read(parse_pool(text))
    groups = Groups(MemoryRecords())
    backend = configure_pool("fast", location, configured.options, resources, groups)
    claim = made(text, backend)
    assert isinstance(claim, LvmClaim)
    assert (claim.location, claim.owner, claim.backend) == (location, OWNER, backend)
    assert claim.rule.named_paths == ("/dev/loop5",)


def test_a_pool_of_loop_files_takes_a_disk() -> None:
    text = "fast=loopfile:/srv/x,disk=LABEL=cellar-fast,claimBlankDisks=true,disks=model=X"
    claim = made(text, None)
    assert isinstance(claim, LoopfileClaim)
    assert claim.location == Path("/srv/x")


def test_without_a_rule_a_pool_of_logical_volumes_takes_none() -> None:
    spec = parse_pool("fast=lvm:vg,claimBlankDisks=true")
    pool_type = find_pool_type(spec)
    node = NodeResources(OWNER, LuksOptions(), MemoryRecords())
    with pytest.raises(Invalid, match="which disks it may take"):
        pool_type.open(pool_type.read(spec), node)
