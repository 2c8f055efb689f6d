"""The identity of a node or a router, as its files hold it."""

from __future__ import annotations

from pathlib import Path

import pytest
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID

from driver.core.errors import Invalid
from driver.tls import authority, identity
from tests.unit.tls.certificates import read


@pytest.mark.parametrize(
    ("name", "role", "use"),
    [
        ("router", identity.ROUTER, ExtendedKeyUsageOID.CLIENT_AUTH),
        ("node", identity.NODE, ExtendedKeyUsageOID.SERVER_AUTH),
    ],
)
def test_an_identity_has_one_role_and_one_use(
    tmp_path: Path, name: str, role: str, use: x509.ObjectIdentifier
) -> None:
    authority.create(tmp_path)
    leaf, ca = read(tmp_path / name / "tls.crt"), read(tmp_path / "ca.crt")
    leaf.verify_directly_issued_by(ca)
    names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == [role]
    assert list(leaf.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value) == [use]
    assert not leaf.extensions.get_extension_for_class(x509.BasicConstraints).value.ca


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    authority.create(tmp_path)
    return tmp_path / "node"


@pytest.mark.parametrize("name", identity.FILES)
def test_a_file_that_is_missing_is_named(folder: Path, name: str) -> None:
    (folder / name).unlink()
    with pytest.raises(Invalid, match=f"--tls-dir .*{name}"):
        identity.Files(folder)


@pytest.mark.parametrize("name", identity.FILES)
def test_what_is_no_certificate_or_key_is_refused(folder: Path, name: str) -> None:
    (folder / name).write_text("-----BEGIN CERTIFICATE-----\nnone\n-----END CERTIFICATE-----\n")
    with pytest.raises(Invalid, match="--tls-dir "):
        identity.Files(folder)


def test_a_key_of_another_certificate_changes_nothing_until_its_own_is_there(
    folder: Path, tmp_path: Path
) -> None:
    """Files are replaced one after the other, and each connection reads them."""
    files = identity.Files(folder)
    before = files.identity
    authority.create(tmp_path)
    key, certificate = folder / "tls.key", folder / "tls.crt"
    new = certificate.read_bytes()
    certificate.write_bytes(before.certificate)
    assert not files.changed()
    assert files.identity == before
    certificate.write_bytes(new)
    assert files.changed()
    assert files.identity.key == key.read_bytes() != before.key
    assert not files.changed()
