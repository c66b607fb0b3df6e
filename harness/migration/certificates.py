"""Key pairs and self-signed certificates of the nodes of one run, made in memory and never written anywhere."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from harness.migration.tls import TlsParty

CLOCK_TOLERANCE = timedelta(minutes=5)
"""By so much may the clocks of two hosts differ."""


def make_parties(names: Sequence[str], valid_s: float) -> dict[str, TlsParty]:
    """A certificate for each name (Ed25519, RFC 8410), good from now for `valid_s`; each party knows all the others."""
    pairs = {name: _pair(name, valid_s) for name in names}
    return {
        name: TlsParty(certificate, key, {peer: pairs[peer][0] for peer in names if peer != name})
        for name, (certificate, key) in pairs.items()
    }


def _pair(name: str, valid_s: float) -> tuple[str, str]:
    key = Ed25519PrivateKey.generate()
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    both_sides = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - CLOCK_TOLERANCE)
        .not_valid_after(now + timedelta(seconds=valid_s) + CLOCK_TOLERANCE)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(both_sides, critical=False)
        .sign(key, None)
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return certificate.public_bytes(serialization.Encoding.PEM).decode(), private.decode()
