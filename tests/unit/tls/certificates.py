"""Certificates, as the tests read them."""

from __future__ import annotations

from pathlib import Path

from cryptography import x509


def read(path: Path) -> x509.Certificate:
    return x509.load_pem_x509_certificate(path.read_bytes())
