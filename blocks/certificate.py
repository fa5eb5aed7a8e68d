"""A certificate and its key as PEM, made and looked at beside the controller; nodes judge by themselves."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from releases.acme import Held

if TYPE_CHECKING:
    from cryptography import x509


def new_key() -> str:
    """A key on the curve P-256, not encrypted."""
    from cryptography.hazmat.primitives import serialization  # noqa: PLC0415 - TLS by ACME only
    from cryptography.hazmat.primitives.asymmetric import ec  # noqa: PLC0415

    form = serialization.PrivateFormat.PKCS8
    plain = serialization.NoEncryption()
    key = ec.generate_private_key(ec.SECP256R1())
    return key.private_bytes(serialization.Encoding.PEM, form, plain).decode()


def request_for(names: Sequence[str], key: str) -> bytes:
    """The signing request for these names."""
    from cryptography import x509  # noqa: PLC0415 - TLS by ACME only
    from cryptography.hazmat.primitives import hashes, serialization  # noqa: PLC0415
    from cryptography.hazmat.primitives.asymmetric import ec  # noqa: PLC0415

    private = serialization.load_pem_private_key(key.encode(), None)
    if not isinstance(private, ec.EllipticCurvePrivateKey):
        raise TypeError("a key of new_key is expected")
    made = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
    made = made.add_extension(x509.SubjectAlternativeName([x509.DNSName(one) for one in names]), False)
    return made.sign(private, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def held(text: str | None) -> Held | None:
    """The certificate in a secret; None where there is none, or none that has its key beside it."""
    from cryptography import x509  # noqa: PLC0415 - TLS by ACME only
    from cryptography.hazmat.primitives import serialization  # noqa: PLC0415

    if not text:
        return None
    try:
        first = x509.load_pem_x509_certificates(text.encode())[0]
        key = serialization.load_pem_private_key(_key_in(text).encode(), None)
    except (ValueError, TypeError, IndexError):  # no PEM, an encrypted key
        return None
    if key.public_key() != first.public_key():
        return None
    return Held(_names(first), _issuer(first), first.not_valid_before_utc, first.not_valid_after_utc)


def _key_in(text: str) -> str:
    at = text.find("PRIVATE KEY-----")
    return text[text.rfind("-----BEGIN", 0, at) :] if at > 0 else ""


def _names(certificate: "x509.Certificate") -> tuple[str, ...]:
    from cryptography import x509  # noqa: PLC0415 - TLS by ACME only

    try:
        found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except x509.ExtensionNotFound:
        return ()
    return tuple(found.value.get_values_for_type(x509.DNSName))


def _issuer(certificate: "x509.Certificate") -> str:
    from cryptography.x509.oid import NameOID  # noqa: PLC0415 - TLS by ACME only

    for oid in (NameOID.ORGANIZATION_NAME, NameOID.COMMON_NAME):
        for one in certificate.issuer.get_attributes_for_oid(oid):
            return str(one.value)
    return certificate.issuer.rfc4514_string()
