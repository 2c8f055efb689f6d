"""What a call finds out about its image, for the log and for errors."""

from __future__ import annotations

from dataclasses import replace

from driver.core.model import Inline, ObjectNames
from driver.volumes.pools.call_facts import persistent_name, with_object
from tests.unit.backends.lvm.test_tags import SNAPSHOT, VOLUME

NAMES = ObjectNames("shop", "data")


def test_an_error_names_the_claim_unless_it_does_already() -> None:
    facts = {"pod": "shop/web-0", "claim": "shop/data"}
    assert with_object("it is full", facts) == "it is full (claim shop/data)"
    assert with_object("shop/data is full", {"claim": "shop/data"}) == "shop/data is full"
    assert with_object("it is full", {}) == "it is full"


def test_a_persistent_volume_mostly_has_the_name_of_the_image() -> None:
    assert persistent_name(VOLUME) == ""
    assert persistent_name(replace(VOLUME, objects=NAMES)) == VOLUME.name
    assert persistent_name(replace(VOLUME, objects=replace(NAMES, persistent="pv"))) == "pv"
    assert persistent_name(replace(SNAPSHOT, objects=NAMES)) == SNAPSHOT.name
    assert persistent_name(replace(VOLUME, objects=NAMES, inline=Inline.CREATED)) == ""
