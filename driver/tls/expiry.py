"""The expiry time of a certificate, parsed from its DER bytes, because `cryptography` would need 15
MiB on a node.
"""

from __future__ import annotations

import ssl
from datetime import UTC, datetime
from typing import Final

_VERSION: Final = 0xA0  # context-specific, [0]
_UTC_TIME: Final = 0x17
_FORMATS: Final = {_UTC_TIME: "%y%m%d%H%M%SZ", 0x18: "%Y%m%d%H%M%SZ"}  # RFC 5280, 4.1.2.5


def expiry(certificate: bytes) -> float:
    """Return the time at which the first certificate of a PEM file expires, in seconds since the
    epoch.

    Raises: ValueError if the file contains no certificate.
    """
    end = certificate.find(b"-----END CERTIFICATE-----")
    text = certificate[certificate.find(b"-----BEGIN") : end].decode("ascii", "replace")
    try:
        return _not_after(ssl.PEM_cert_to_DER_cert(f"{text}-----END CERTIFICATE-----\n"))
    except (IndexError, KeyError) as error:
        raise ValueError("not a certificate") from error


def _not_after(der: bytes) -> float:
    """Return the notAfter of a certificate (RFC 5280, 4.1): the sixth field of its first field."""
    _, certificate, _ = _element(der)
    _, rest, _ = _element(certificate)
    if rest[0] == _VERSION:
        _, _, rest = _element(rest)
    for _ in ("serialNumber", "signature", "issuer"):
        _, _, rest = _element(rest)
    _, validity, _ = _element(rest)
    _, _, rest = _element(validity)  # notBefore
    tag, value, _ = _element(rest)
    moment = datetime.strptime(value.decode("ascii"), _FORMATS[tag])  # noqa: DTZ007 - see below
    return moment.replace(tzinfo=UTC).timestamp()


def _element(data: bytes) -> tuple[int, bytes, bytes]:
    """Return the tag and the contents of the first DER element, and what follows it.

    Raises: IndexError if `data` is too short.
    """
    tag, length, at = data[0], data[1], 2
    if length & 0x80:  # the length of the length
        at += length & 0x7F
        length = int.from_bytes(data[2:at], "big")
    if at + length > len(data):
        raise IndexError("shorter than it says")
    return tag, data[at : at + length], data[at + length :]
