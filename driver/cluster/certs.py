"""A private CA and the two identities that it vouches for. The only user of `cryptography`."""

from __future__ import annotations

import os
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

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

from driver.cluster.tls import NODE, ROUTER
from driver.core.errors import Invalid, Refused

CA_DAYS: Final = 3650
LEAF_DAYS: Final = 365
EARLY: Final = timedelta(minutes=5)  # clocks of two machines differ
IDENTITIES: Final[dict[str, tuple[str, ObjectIdentifier]]] = {
    "router": (ROUTER, ExtendedKeyUsageOID.CLIENT_AUTH),
    "node": (NODE, ExtendedKeyUsageOID.SERVER_AUTH),
}

Key = ec.EllipticCurvePrivateKey


def make(folder: Path, *, now: datetime | None = None, days: int = LEAF_DAYS) -> Sequence[Path]:
    """`folder`/ca.key, and below router/ and node/ the files of `--tls-dir`; what was written.

    A CA that is there is kept, so that a repeat renews the two identities. Refused: its
    certificate or its key is missing. Invalid: it cannot be read.
    """
    now = now or datetime.now(UTC)
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    key, certificate = _ca(folder, now)
    written = [folder / "ca.key"]
    for name, (role, use) in IDENTITIES.items():
        own = folder / name
        own.mkdir(mode=0o700, exist_ok=True)
        leaf_key = ec.generate_private_key(ec.SECP256R1())
        leaf = _leaf(role, use, leaf_key, certificate, key, now, days)
        _write(own / "ca.crt", _pem(certificate), mode=0o644)
        _write(own / "tls.crt", _pem(leaf), mode=0o644)
        _write(own / "tls.key", _pem_key(leaf_key), mode=0o600)
        written.append(own)
    return written


def _ca(folder: Path, now: datetime) -> tuple[Key, x509.Certificate]:
    where, beside = folder / "ca.key", folder / "ca.crt"
    if where.exists() != beside.exists():
        missing = beside if where.exists() else where
        raise Refused(f"{missing} is missing: put it back, or remove the other to begin anew")
    if where.exists():
        return _existing(where, beside)
    key = ec.generate_private_key(ec.SECP256R1())
    certificate = _authority(key, now)
    _write(beside, _pem(certificate), mode=0o644)
    _write(where, _pem_key(key), mode=0o600)
    return key, certificate


def _existing(where: Path, beside: Path) -> tuple[Key, x509.Certificate]:
    try:
        key = load_pem_private_key(where.read_bytes(), None)
        certificate = x509.load_pem_x509_certificate(beside.read_bytes())
    except (OSError, ValueError, TypeError) as error:
        raise Invalid(f"{where}: {error}") from None
    if not isinstance(key, Key) or certificate.public_key() != key.public_key():
        raise Invalid(f"{where} is not the key of {beside}")
    return key, certificate


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
        _builder(name, name, key, now, CA_DAYS)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(usage, critical=True)
        .sign(key, hashes.SHA256())
    )


def _leaf(  # noqa: PLR0913, PLR0917 - all of a certificate
    role: str,
    use: ObjectIdentifier,
    key: Key,
    ca: x509.Certificate,
    ca_key: Key,
    now: datetime,
    days: int,
) -> x509.Certificate:
    return (
        _builder(_name(role), ca.subject, key, now, days)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(role)]), critical=False)
        .add_extension(x509.ExtendedKeyUsage([use]), critical=False)
        .sign(ca_key, hashes.SHA256())
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
        .not_valid_before(now - EARLY)
        .not_valid_after(now + timedelta(days=days))
    )


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(Encoding.PEM)


def _pem_key(key: Key) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def _write(path: Path, content: bytes, *, mode: int) -> None:
    """Beside, then in its place: a driver that reads it meanwhile sees the old or the new."""
    beside = path.with_name(f".{path.name}.new")
    beside.unlink(missing_ok=True)
    fd = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    with os.fdopen(fd, "wb") as file:
        os.fchmod(fd, mode)
        file.write(content)
        os.fsync(fd)
    beside.replace(path)
