"""Certificates for tests, made on the spot: a chain and its key as one PEM text."""

from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID


def certificate(*hosts: str, days: float = 90) -> str:
    """Signed by itself. A negative number of days: ended so long ago."""
    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.now(UTC)
    serial = x509.random_serial_number()  # in the name: of two with one name a client tries the first only
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"{hosts[0]} {serial}"[:64])])
    names = x509.SubjectAlternativeName([x509.DNSName(host) for host in hosts])
    ends = now + timedelta(days=days)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(serial)
        .not_valid_before(min(now, ends) - timedelta(days=1))
        .not_valid_after(ends)
        .add_extension(names, critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, SHA256())
    )
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return made.public_bytes(Encoding.PEM).decode() + private.decode()
