"""The Crypt port: what is inside is not readable below, and opens with one passphrase only."""

from __future__ import annotations

from pathlib import Path

import pytest

from driver.core.devices import Device
from driver.core.errors import Failed, Invalid, Refused
from driver.core.model import LUKS_HEADER, MIB, Bytes, FsType, Volume
from driver.core.ports.backend_features import FormatsLater
from driver.core.ports.crypt import Crypt
from tests.contract.backends_under_test import BackendUnderTest, whole
from tests.contract.images import create_volume

SECRET = b"open sesame"
SIZE = 48 * MIB
TEXT = b"in the clear" * 256


@pytest.fixture
def volume(encrypted_ground: BackendUnderTest) -> Volume:
    """Never formatted."""
    return create_volume(encrypted_ground, luks_key_id="k", size=SIZE)


def crypt(under_test: BackendUnderTest) -> Crypt:
    assert under_test.pool.crypt
    return under_test.pool.crypt


def encrypt(under_test: BackendUnderTest, volume: Volume, *, zeros: bool = False) -> Volume:
    backend, fs = under_test.pool.backend, FsType.EXT4
    assert isinstance(backend, FormatsLater)

    def prepare(path: Path) -> None:
        with crypt(under_test).format_and_open(
            path, SECRET, block_size=4096, zeros=zeros
        ) as inside:
            if not zeros:
                under_test.pool.host.mkfs(inside, fs, block_size=4096, options=())

    return backend.replace_contents(volume, prepare)


def device_below(under_test: BackendUnderTest, volume: Volume) -> Device:
    return under_test.pool.backend.attach(volume, read_only=False)


def opened(under_test: BackendUnderTest, volume: Volume, secret: bytes = SECRET) -> Device:
    return crypt(under_test).open(
        device_below(under_test, volume), str(volume.id), secret, discards=False
    )


def closed(under_test: BackendUnderTest, volume: Volume) -> None:
    crypt(under_test).close(str(volume.id))
    under_test.pool.backend.detach(volume.id)


def test_what_was_made_inside_is_there_when_it_is_opened(
    encrypted_ground: BackendUnderTest, volume: Volume
) -> None:
    encrypted = encrypt(encrypted_ground, volume)
    device = opened(encrypted_ground, encrypted)
    encrypted_ground.pool.host.check(device, FsType.EXT4)
    assert encrypted_ground.pool.host.size(device) == SIZE - LUKS_HEADER == encrypted.usable_size
    assert not device.read_only
    closed(encrypted_ground, encrypted)


def test_what_is_written_is_not_readable_below(
    encrypted_ground: BackendUnderTest, volume: Volume
) -> None:
    encrypted = encrypt(encrypted_ground, volume)
    device = opened(encrypted_ground, encrypted)
    encrypted_ground.write(device, 20 * MIB, TEXT)
    assert encrypted_ground.read(device, 20 * MIB, len(TEXT)) == TEXT
    closed(encrypted_ground, encrypted)
    assert TEXT[:64] not in whole(encrypted_ground, encrypted)
    assert encrypted_ground.read(opened(encrypted_ground, encrypted), 20 * MIB, len(TEXT)) == TEXT
    closed(encrypted_ground, encrypted)


def test_a_part_of_a_page_can_be_written(
    encrypted_ground: BackendUnderTest, volume: Volume
) -> None:
    device = opened(encrypted_ground, encrypt(encrypted_ground, volume))
    encrypted_ground.write(device, 20 * MIB, TEXT)
    encrypted_ground.write(device, 20 * MIB + 100, b"changed")
    said = encrypted_ground.read(device, 20 * MIB + 90, 30)
    assert said == TEXT[90:100] + b"changed" + TEXT[107:120]
    closed(encrypted_ground, volume)


def test_zeros_are_had_where_they_are_asked_for(
    encrypted_ground: BackendUnderTest, volume: Volume
) -> None:
    device = opened(encrypted_ground, encrypt(encrypted_ground, volume, zeros=True))
    assert not any(encrypted_ground.read(device, 0, SIZE - LUKS_HEADER))
    closed(encrypted_ground, volume)


def test_a_wrong_passphrase_opens_nothing(
    encrypted_ground: BackendUnderTest, volume: Volume
) -> None:
    encrypted = encrypt(encrypted_ground, volume)
    before = whole(encrypted_ground, encrypted)
    with pytest.raises(Invalid, match=r"secrets\[passphrase\]") as caught:
        opened(encrypted_ground, encrypted, b"guess-of-mine")
    assert "guess" not in str(caught.value)
    assert crypt(encrypted_ground).opened(str(encrypted.id), None) is None
    assert whole(encrypted_ground, encrypted) == before
    encrypted_ground.pool.backend.detach(encrypted.id)


def test_opening_twice_gives_the_same_device_and_tries_the_passphrase(
    encrypted_ground: BackendUnderTest, volume: Volume
) -> None:
    encrypted = encrypt(encrypted_ground, volume)
    device = opened(encrypted_ground, encrypted)
    assert opened(encrypted_ground, encrypted) == device
    with pytest.raises(Invalid):
        opened(encrypted_ground, encrypted, b"wrong")
    parent = device_below(encrypted_ground, encrypted)
    assert crypt(encrypted_ground).opened(str(encrypted.id), parent) == device
    assert crypt(encrypted_ground).opened(str(encrypted.id), None) == device
    closed(encrypted_ground, encrypted)
    closed(encrypted_ground, encrypted)  # content


def test_what_is_no_container_is_refused(
    encrypted_ground: BackendUnderTest, volume: Volume
) -> None:
    with pytest.raises(Refused):
        opened(encrypted_ground, volume)
    with encrypted_ground.pool.backend.reading(volume.id) as path, pytest.raises(Refused):
        crypt(encrypted_ground).new_uuid(path)
    encrypted_ground.pool.backend.detach(volume.id)
    assert not any(whole(encrypted_ground, volume))


def test_a_name_belongs_to_one_device(encrypted_ground: BackendUnderTest, volume: Volume) -> None:
    opened(encrypted_ground, encrypt(encrypted_ground, volume))
    other = encrypt(
        encrypted_ground, create_volume(encrypted_ground, "other", luks_key_id="k", size=SIZE)
    )
    parent = device_below(encrypted_ground, other)
    assert crypt(encrypted_ground).opened(str(volume.id), parent) is None
    with pytest.raises(Refused):
        crypt(encrypted_ground).open(parent, str(volume.id), SECRET, discards=False)
    encrypted_ground.pool.backend.detach(other.id)
    closed(encrypted_ground, volume)


def test_an_open_container_keeps_the_device_below(
    encrypted_ground: BackendUnderTest, volume: Volume
) -> None:
    opened(encrypted_ground, encrypt(encrypted_ground, volume))
    with pytest.raises(Refused):
        encrypted_ground.pool.backend.detach(volume.id)
    closed(encrypted_ground, volume)


def test_it_is_in_use_while_it_is_mounted(
    encrypted_ground: BackendUnderTest, volume: Volume, targets: Path
) -> None:
    encrypted, host = encrypt(encrypted_ground, volume), encrypted_ground.pool.host
    device = opened(encrypted_ground, encrypted)
    host.mount(device, targets / "t", FsType.EXT4, (), read_only=False)
    mount = host.mounted_at(targets / "t")
    assert mount and mount.number == device.number
    assert host.volume_label(mount) == str(encrypted.id)
    with pytest.raises(Refused):
        crypt(encrypted_ground).close(str(encrypted.id))
    host.unmount(targets / "t")
    closed(encrypted_ground, encrypted)


def test_it_grows_with_its_passphrase(encrypted_ground: BackendUnderTest, volume: Volume) -> None:
    encrypted = encrypt(encrypted_ground, volume)
    device = opened(encrypted_ground, encrypted)
    grown = encrypted_ground.pool.backend.resize(encrypted, 2 * SIZE)
    assert size(encrypted_ground, device) == SIZE - LUKS_HEADER
    with pytest.raises(Invalid):
        crypt(encrypted_ground).resize(str(encrypted.id), b"wrong")
    assert size(encrypted_ground, device) == SIZE - LUKS_HEADER
    crypt(encrypted_ground).resize(str(encrypted.id), SECRET)
    assert size(encrypted_ground, device) == grown.usable_size
    closed(encrypted_ground, encrypted)


def test_an_erased_container_opens_no_more(
    encrypted_ground: BackendUnderTest, volume: Volume
) -> None:
    encrypted = encrypt(encrypted_ground, volume)
    for _ in range(2):  # a repeat is content
        crypt(encrypted_ground).erase(device_below(encrypted_ground, encrypted))
    with pytest.raises((Invalid, Failed)):
        opened(encrypted_ground, encrypted)
    encrypted_ground.pool.backend.detach(encrypted.id)


def test_there_may_be_nothing_to_erase(encrypted_ground: BackendUnderTest, volume: Volume) -> None:
    crypt(encrypted_ground).erase(device_below(encrypted_ground, volume))
    encrypted_ground.pool.backend.detach(volume.id)
    assert not any(whole(encrypted_ground, volume))


def size(under_test: BackendUnderTest, device: Device) -> Bytes:
    return under_test.pool.host.size(device)
