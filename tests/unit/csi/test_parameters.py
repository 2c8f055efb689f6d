"""StorageClass and VolumeAttributesClass."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from driver.core.errors import Invalid
from driver.core.model import MIB, Allocation, FsType, Limits, ObjectKind, ObjectNames
from driver.core.options.storage_class_parameters import parse_options
from driver.csi import parameters
from driver.csi.parameters import Class


def test_nothing_said_is_nothing_asked() -> None:
    assert parameters.parse({}, {}) == Class()


def test_all_keys_at_once() -> None:
    parsed = parameters.parse(
        {
            "pool": "fast",
            "allocation": "sparse",
            "csi.storage.k8s.io/fstype": "xfs",
            "mkfsOptions": "-m reflink=0",
            "blockSize": "512",
            "encrypted": "false",
            "readIops": "100",
            "writeIops": "200",
            "readBps": "10MiB",
            "writeBps": "20Mi",
        },
        {},
    )
    assert parsed == Class(
        pool="fast",
        allocation=Allocation.SPARSE,
        fs=FsType.XFS,
        options={"mkfs_options": "-m reflink=0"},
        block_size=512,
        encrypted=False,
        limits=Limits(100, 200, 10 * MIB, 20 * MIB),
    )
    options = parse_options(parsed.options, FsType.XFS)
    assert options.mkfs_options == ("-m", "reflink=0")


def test_what_is_mutable_wins() -> None:
    parsed = parameters.parse({"readIops": "1", "writeIops": "2"}, {"readIops": "3"})
    assert parsed.limits == Limits(read_iops=3, write_iops=2)


def test_kubernetes_keys_are_not_ours_to_judge() -> None:
    keys = {
        "csi.storage.k8s.io/pvc/name": "data",
        "csi.storage.k8s.io/pv/name": "pvc-1",
        "csi.storage.k8s.io/provisioner-secret-name": "s",
    }
    assert parameters.parse(keys, {}) == Class()
    parameters.refuse_parameters({"csi.storage.k8s.io/volumesnapshot/name": "s"})


@pytest.mark.parametrize("key", ["Pool", "fstype", "XXX_FakeKey", "csi.storage.k8s.io", " pool"])
def test_an_unknown_key_is_named_with_those_that_are_known(key: str) -> None:
    with pytest.raises(Invalid, match=rf"parameters: unknown '{key}'; accepted: pool, allocation"):
        parameters.parse({key: "x"}, {})


@pytest.mark.parametrize("key", ["fsType", "FSTYPE", "fs-type", "fstype:", " fstype", "fs_type"])
def test_a_reserved_key_that_is_misspelt_is_refused_with_the_right_one(key: str) -> None:
    """The provisioner's own keys pass unread, so an xfs was asked for and ext4 made."""
    with pytest.raises(Invalid, match=r"parameters: unknown .* 'csi.storage.k8s.io/fstype' is"):
        parameters.parse({f"csi.storage.k8s.io/{key}": "xfs"}, {})


def test_what_is_fixed_at_creation_is_not_mutable() -> None:
    with pytest.raises(Invalid, match="mutable_parameters: unknown 'pool'; accepted: readIops"):
        parameters.parse({}, {"pool": "fast"})
    with pytest.raises(Invalid, match="mutable_parameters: unknown"):
        parameters.parse_limits({"allocation": "thick"})


def test_a_snapshot_has_no_parameters_of_ours() -> None:
    with pytest.raises(Invalid, match="parameters: unknown 'pool'; accepted: none"):
        parameters.refuse_parameters({"pool": "fast"})


def test_a_group_of_snapshots_may_repeat_the_policy_of_its_class_and_nothing_else() -> None:
    parameters.refuse_group_parameters({"deletionPolicy": "Delete"})
    with pytest.raises(Invalid, match="parameters: unknown 'pool'; accepted: none"):
        parameters.refuse_group_parameters({"deletionPolicy": "Delete", "pool": "fast"})


@pytest.mark.parametrize(
    ("key", "value", "says"),
    [
        ("allocation", "fat", "thick, sparse, thin"),
        ("allocation", "", "thick, sparse, thin"),
        ("csi.storage.k8s.io/fstype", "ntfs", "ext4, xfs, btrfs"),
        ("blockSize", "1024", "512, 4096"),
        ("blockSize", "-512", "512, 4096"),
        ("encrypted", "yes", "true, false"),
        ("encrypted", "", "true, false"),
        ("encrypted", "True", "true, false"),
        ("readIops", "-1", "whole number"),
        ("readIops", "1.5", "whole number"),
        ("readIops", "", "whole number"),
        ("readIops", "٣", "whole number"),
        ("readIops", "9" * 5000, "whole number"),
        ("writeBps", "10 MB/s", "not a size"),
        ("writeBps", "-1", "not a size"),
        ("writeBps", "999999999999999999P", "more than can be"),
    ],
)
def test_a_bad_value_is_named_with_what_is_accepted(key: str, value: str, says: str) -> None:
    with pytest.raises(Invalid, match=rf"^parameters\[{key}\]: .*{says}"):
        parameters.parse({key: value}, {})


@given(st.dictionaries(st.text(max_size=8), st.text(max_size=8), min_size=1))
def test_any_text_is_either_understood_or_invalid(given: dict[str, str]) -> None:
    try:
        parameters.parse(given, {})
    except Invalid:
        return
    assert all(key in parameters.CREATION or key in parameters.LIMITS for key in given)


@given(st.integers(0, parameters.LIMIT), st.sampled_from(["readIops", "writeIops"]))
def test_every_number_of_operations_is_understood(number: int, key: str) -> None:
    [parsed] = parameters.parse_limits({key: str(number)}).values()
    assert parsed == number


CLAIM = {
    "csi.storage.k8s.io/pvc/name": "data",
    "csi.storage.k8s.io/pvc/namespace": "shop",
    "csi.storage.k8s.io/pv/name": "pvc-1",
}


def test_the_names_of_a_claim_are_read_and_change_nothing_else() -> None:
    assert parameters.parse(CLAIM, {}) == parameters.parse({}, {})
    names = parameters.object_names(CLAIM, ObjectKind.CLAIM, "pvc-1")
    assert names == ObjectNames("shop", "data")
    assert parameters.object_names(CLAIM, ObjectKind.CLAIM, "vol-1").persistent == "pvc-1"
    assert parameters.object_names(CLAIM, ObjectKind.POD) == ObjectNames()


@pytest.mark.parametrize("name", ["", "A", "a/b", "<script>", "a\nb", "é", "x" * 254])
def test_what_is_no_name_in_kubernetes_is_left_out(name: str) -> None:
    parameters_given = CLAIM | {"csi.storage.k8s.io/pvc/name": name}
    assert parameters.object_names(parameters_given, ObjectKind.CLAIM) == ObjectNames()


def test_the_facts_of_a_request_are_named_by_their_kind() -> None:
    pod = {"csi.storage.k8s.io/pod.name": "web-0", "csi.storage.k8s.io/pod.namespace": "shop"}
    assert parameters.object_facts(CLAIM) == {"claim": "shop/data"}
    assert parameters.object_facts(pod) == {"pod": "shop/web-0"}
    assert parameters.object_facts({"pool": "fast"}) == {}
