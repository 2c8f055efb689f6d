"""When certificates end, compared with `cryptography`."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509

from driver.tls import authority
from driver.tls.expiry import expiry


@pytest.mark.parametrize("days", [0, 9000, 40_000])  # 2050 and later has a form of its own
def test_the_end_is_that_which_the_certificate_has(tmp_path: Path, days: int) -> None:
    authority.create(tmp_path, now=datetime.now(UTC) + timedelta(days=days))
    for name in ("ca.crt", "node/tls.crt", "router/tls.crt"):
        pem = (tmp_path / name).read_bytes()
        known = x509.load_pem_x509_certificate(pem).not_valid_after_utc.timestamp()
        assert expiry(pem) == known
        assert expiry(b"a comment\n" + pem + pem) == known


@pytest.mark.parametrize(
    "pem",
    [b"", b"-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n", b"\xff" * 40],
)
def test_what_is_no_certificate_is_refused(pem: bytes) -> None:
    with pytest.raises(ValueError, match=r".+"):
        expiry(pem)
