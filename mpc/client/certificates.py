"""What a certificate says, for people."""

import datetime as dt
from dataclasses import dataclass

from cryptography import x509

from mpc.errors import ConfigurationError

__all__ = ["CertificateFacts", "facts"]


@dataclass(frozen=True, slots=True, kw_only=True)
class CertificateFacts:
    """The readable parts of a certificate."""

    subject: str
    issuer: str
    spiffe: str
    hosts: tuple[str, ...]
    begins: dt.datetime
    expires: dt.datetime


def facts(pem: bytes) -> CertificateFacts:
    """Read a PEM certificate (`ConfigurationError` if it is not one)."""
    try:
        certificate = x509.load_pem_x509_certificate(pem)
        spiffe, hosts = _names(certificate)
    except ValueError:
        raise ConfigurationError("a certificate cannot be read") from None
    return CertificateFacts(
        subject=_common_name(certificate.subject),
        issuer=_common_name(certificate.issuer),
        spiffe=spiffe,
        hosts=hosts,
        begins=certificate.not_valid_before_utc,
        expires=certificate.not_valid_after_utc,
    )


def _names(certificate: x509.Certificate) -> tuple[str, tuple[str, ...]]:
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return "", ()
    uris = names.get_values_for_type(x509.UniformResourceIdentifier)
    addresses = (str(a) for a in names.get_values_for_type(x509.IPAddress))
    return (uris[0] if uris else ""), (*names.get_values_for_type(x509.DNSName), *addresses)


def _common_name(name: x509.Name) -> str:
    found = name.get_attributes_for_oid(x509.NameOID.COMMON_NAME)
    return str(found[0].value) if found else name.rfc4514_string()
