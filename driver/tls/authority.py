"""The private CA, and the certificates of its two roles. The only module that imports
`cryptography`.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final, Self

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID, ObjectIdentifier

from driver.core.errors import Invalid, Refused
from driver.tls.identity import NODE, ROUTER

CA_VALIDITY: Final = 3650  # days
LEAF_VALIDITY: Final = 365  # days
CLOCK_TOLERANCE: Final = timedelta(minutes=5)  # the clocks of two machines differ
IDENTITIES: Final[dict[str, tuple[str, ObjectIdentifier]]] = {
    "router": (ROUTER, ExtendedKeyUsageOID.CLIENT_AUTH),
    "node": (NODE, ExtendedKeyUsageOID.SERVER_AUTH),
}

Key = ec.EllipticCurvePrivateKey


@dataclass(frozen=True, slots=True)
class Authority:
    """A certificate authority (CA), with the private key to issue certificates of routers and
    nodes.
    """

    key: Key
    certificate: x509.Certificate

    @classmethod
    def new(cls, now: datetime) -> Self:
        """Create a CA that is valid for CA_VALIDITY days from `now` on."""
        key = ec.generate_private_key(ec.SECP256R1())
        return cls(key, _authority(key, now))

    @classmethod
    def read(cls, certificate: bytes, key: bytes) -> Self:
        """Return the CA of this certificate and key, both as PEM.

        Raises: Invalid if certificate or key cannot be read, or they do not belong together.
        """
        try:
            own = load_pem_private_key(key, None)
            parsed = x509.load_pem_x509_certificate(certificate)
        except (ValueError, TypeError) as error:
            raise Invalid(str(error)) from None
        if not isinstance(own, Key) or parsed.public_key() != own.public_key():
            raise Invalid("the key is not that of the certificate")
        return cls(own, parsed)

    def pem(self) -> bytes:
        """Return the CA's certificate as PEM."""
        return self.certificate.public_bytes(Encoding.PEM)

    def key_pem(self) -> bytes:
        """Return the CA's private key as PEM, not encrypted."""
        return _pem_key(self.key)

    def issue(self, identity: str, now: datetime, days: int) -> tuple[bytes, bytes]:
        """Issue a certificate for `identity`, "router" or "node", and return the certificate and
        its private key as PEM. `days`: how long the certificate is valid from `now` on.
        """
        role, use = IDENTITIES[identity]
        key = ec.generate_private_key(ec.SECP256R1())
        leaf = _leaf(role, use, key, self, now, days)
        return leaf.public_bytes(Encoding.PEM), _pem_key(key)


def validity(certificate: bytes) -> tuple[datetime, datetime]:
    """Return the times from which and until which a certificate (PEM) is valid.

    Raises: Invalid if the certificate cannot be read.
    """
    try:
        parsed = x509.load_pem_x509_certificate(certificate)
    except ValueError as error:
        raise Invalid(str(error)) from None
    return parsed.not_valid_before_utc, parsed.not_valid_after_utc


def is_due(certificate: bytes, now: datetime) -> bool:
    """Return whether two thirds of the validity of a certificate (PEM) are over, so that it should
    be renewed.

    Raises: Invalid if the certificate cannot be read.
    """
    begin, end = validity(certificate)
    return now >= begin + (end - begin) * 2 / 3


def create(
    folder: Path, *, now: datetime | None = None, days: int = LEAF_VALIDITY
) -> Sequence[Path]:
    """Create `folder`/ca.key and, in its folders router/ and node/, the files for `--tls-dir`.

    An existing CA is used again, so that a repeated call renews the certificates of router and
    node. `days`: how long these are valid. Returns the paths of all files.

    Raises: Refused if the CA's certificate or key is missing; Invalid if they cannot be read.
    """
    now = now or datetime.now(UTC)
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    authority = _ca(folder, now)
    written = [folder / "ca.key"]
    for name in IDENTITIES:
        own = folder / name
        own.mkdir(mode=0o700, exist_ok=True)
        certificate, key = authority.issue(name, now, days)
        _write(own / "ca.crt", authority.pem(), mode=0o644)
        _write(own / "tls.crt", certificate, mode=0o644)
        _write(own / "tls.key", key, mode=0o600)
        written.append(own)
    return written


def _ca(folder: Path, now: datetime) -> Authority:
    key, certificate = folder / "ca.key", folder / "ca.crt"
    if key.exists() != certificate.exists():
        missing = certificate if key.exists() else key
        raise Refused(f"{missing} is missing: put it back, or remove the other to start again")
    if key.exists():
        return _existing(key, certificate)
    authority = Authority.new(now)
    _write(certificate, authority.pem(), mode=0o644)
    _write(key, authority.key_pem(), mode=0o600)
    return authority


def _existing(key: Path, certificate: Path) -> Authority:
    try:
        return Authority.read(certificate.read_bytes(), key.read_bytes())
    except (OSError, Invalid) as error:
        raise Invalid(f"{key}, {certificate}: {error}") from None


def _authority(key: Key, now: datetime) -> x509.Certificate:
    name = _name("Cellar CA")
    usage = x509.KeyUsage(
        digital_signature=False,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=True,
        crl_sign=True,
        encipher_only=False,
        decipher_only=False,
    )
    return (
        _builder(name, name, key, now, CA_VALIDITY)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(usage, critical=True)
        .sign(key, hashes.SHA256())
    )


def _leaf(  # noqa: PLR0913, PLR0917 - the parts of a certificate
    role: str,
    use: ObjectIdentifier,
    key: Key,
    ca: Authority,
    now: datetime,
    days: int,
) -> x509.Certificate:
    return (
        _builder(_name(role), ca.certificate.subject, key, now, days)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(role)]), critical=False)
        .add_extension(x509.ExtendedKeyUsage([use]), critical=False)
        .sign(ca.key, hashes.SHA256())
    )


def _builder(
    subject: x509.Name, issuer: x509.Name, key: Key, now: datetime, days: int
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - CLOCK_TOLERANCE)
        .not_valid_after(now + timedelta(days=days))
    )


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _pem_key(key: Key) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def _write(path: Path, data: bytes, *, mode: int) -> None:
    """Write a temporary file and rename it to `path`.

    A driver that reads `path` meanwhile sees the old or the new data.
    """
    temporary = path.with_name(f".{path.name}.new")
    temporary.unlink(missing_ok=True)
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    with os.fdopen(fd, "wb") as file:
        os.fchmod(fd, mode)
        file.write(data)
        os.fsync(fd)
    temporary.replace(path)
