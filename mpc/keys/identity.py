"""Who a member is: an Ed25519 identity key for statements, and certificates for transport.

Each member is its own certificate authority: its root certificate stands in the manifest, its leaf (P-256: gRPC's TLS
stack does not take Ed25519 leaves) is issued by itself and can be renewed without asking anybody. A peer is who the
manifest says only if its leaf carries that member's SPIFFE id *and* was issued by that member's own root.
"""

import datetime as dt
import ipaddress
from dataclasses import dataclass
from typing import Final, NoReturn, TypeVar

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from mpc.errors import AuthenticationError, ConfigurationError, IntegrityError, KeyAccessError, WireError
from mpc.keys.statements import Signed, Statement, decode_statement, encode_statement
from mpc.parties import Role

__all__ = [
    "IdentityKey",
    "TlsMaterial",
    "issue_leaf",
    "new_root",
    "spiffe_id",
    "verify_leaf",
    "verify_signed",
    "weak_identity",
]

T = TypeVar("T", bound=Statement)

ROOT_DAYS = 3650
LEAF_DAYS = 90

_FIELD: Final = 2**255 - 19
_Y_ORDER_8: Final = 0x05FC536D880238B13933C6D305ACDFD5F098EFF289F4C345B027B2C28F95E826
"""The y-coordinate of two of the four points of order 8 on edwards25519; the other two have its negative."""

_WEAK_Y: Final = frozenset({0, 1, _FIELD - 1, _Y_ORDER_8, _FIELD - _Y_ORDER_8})


def spiffe_id(role: Role | str, name: str) -> str:
    """The SAN URI of a member.

    >>> spiffe_id("party", "north")
    'spiffe://sealroom/party/north'
    """
    return f"spiffe://sealroom/{Role(role).value}/{name}"


def _signed_bytes(label: str, payload: bytes) -> bytes:
    encoded = label.encode()
    return len(encoded).to_bytes(4, "little") + encoded + payload


class IdentityKey:
    """A member's Ed25519 signing key (RFC 8032). It never leaves its owner.

    Args:
        seed: The 32 secret bytes (`ValueError` if they are not 32); drawn from the operating system if not given.
    """

    __slots__ = ("_private", "public")

    def __init__(self, seed: bytes | None = None) -> None:
        self._private = Ed25519PrivateKey.generate() if seed is None else Ed25519PrivateKey.from_private_bytes(seed)
        self.public = self._private.public_key().public_bytes_raw()

    def __repr__(self) -> str:
        return f"IdentityKey(public={self.public.hex()[:16]}...)"

    def __reduce__(self) -> NoReturn:
        raise KeyAccessError("a secret is not pickled")

    def seed(self) -> bytes:
        """The 32 secret bytes, for the owner's key file."""
        return self._private.private_bytes_raw()

    def sign(self, statement: Statement, signer: str) -> Signed:
        """Sign a statement under its label."""
        payload = encode_statement(statement)
        return Signed(payload, signer, self._private.sign(_signed_bytes(statement.label, payload)))


def weak_identity(public: bytes) -> bool:
    """Whether a key is one of the eight points of small order, under which anybody can make valid signatures.

    RFC 8032 lets a verifier accept them: under the neutral element the signature R = B, s = 1 holds for every message.
    """
    return (int.from_bytes(public, "little") & ((1 << 255) - 1)) % _FIELD in _WEAK_Y


def verify_signed(signed: Signed, kind: type[T], public: bytes) -> T:
    """Check a signature under the label of `kind`, then decode the statement strictly.

    Raises:
        IntegrityError: The signature does not hold.
        WireError: The signed bytes are not a canonical `kind`.
    """
    if len(signed.signature) != 64 or len(public) != 32:
        raise WireError("an Ed25519 signature has 64 bytes and a key 32")
    try:
        Ed25519PublicKey.from_public_bytes(public).verify(signed.signature, _signed_bytes(kind.label, signed.payload))
    except (InvalidSignature, ValueError):
        raise IntegrityError("a signature does not hold", signer=signed.signer[:40]) from None
    return decode_statement(signed.payload, kind)


@dataclass(frozen=True, slots=True)
class TlsMaterial:
    """A certificate chain and its key, in PEM; printed without the key."""

    certificate: bytes
    key: bytes

    def __repr__(self) -> str:
        return "TlsMaterial(<secret>)"

    def __reduce__(self) -> NoReturn:
        raise KeyAccessError("a secret is not pickled")


def _pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _name(role: Role | str, name: str, what: str) -> x509.Name:
    return x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Sealroom"),
            x509.NameAttribute(NameOID.COMMON_NAME, f"{Role(role).value} {name} {what}"),
        ]
    )


def new_root(role: Role | str, name: str, *, now: dt.datetime | None = None) -> TlsMaterial:
    """A member's own root certificate (P-256, ten years, path length 0) and its key."""
    start = (now or dt.datetime.now(dt.UTC)) - dt.timedelta(minutes=5)
    key = ec.generate_private_key(ec.SECP256R1())
    subject = _name(role, name, "root")
    usage = x509.KeyUsage(
        digital_signature=False, content_commitment=False, key_encipherment=False, data_encipherment=False,
        key_agreement=False, key_cert_sign=True, crl_sign=True, encipher_only=False, decipher_only=False,
    )  # fmt: skip
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(start + dt.timedelta(days=ROOT_DAYS))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    return TlsMaterial(certificate.public_bytes(serialization.Encoding.PEM), _pem(key))


def _alternative_names(role: Role | str, name: str, hosts: tuple[str, ...]) -> x509.SubjectAlternativeName:
    names: list[x509.GeneralName] = [x509.UniformResourceIdentifier(spiffe_id(role, name))]
    for host in hosts:
        try:
            names.append(x509.IPAddress(ipaddress.ip_address(host.strip("[]"))))
        except ValueError:
            names.append(_dns_name(host))
    return x509.SubjectAlternativeName(names)


def _dns_name(host: str) -> x509.DNSName:
    try:
        return x509.DNSName(host)
    except ValueError:
        raise ConfigurationError(
            f"{host[:60]!r} is not a host name: other scripts are written in their xn-- form"
        ) from None


def issue_leaf(
    root: TlsMaterial,
    role: Role | str,
    name: str,
    hosts: tuple[str, ...],
    *,
    days: int = LEAF_DAYS,
    now: dt.datetime | None = None,
) -> TlsMaterial:
    """A leaf for a member's servers and clients, issued by its own root, valid for `days`.

    Args:
        root: The member's root.
        role: The member's role.
        name: The member's name.
        hosts: DNS names and addresses under which its endpoint is dialled.
        days: Lifetime.
        now: Time of issue; the present if not given.

    Raises:
        ConfigurationError: A host is neither an address nor a DNS name.
    """
    start = (now or dt.datetime.now(dt.UTC)) - dt.timedelta(minutes=5)
    issuer = x509.load_pem_x509_certificate(root.certificate)
    issuer_key = serialization.load_pem_private_key(root.key, None)
    if not isinstance(issuer_key, ec.EllipticCurvePrivateKey):
        raise KeyAccessError("a root key is a P-256 key")
    key = ec.generate_private_key(ec.SECP256R1())
    certificate = (
        x509.CertificateBuilder()
        .subject_name(_name(role, name, "node"))
        .issuer_name(issuer.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(start + dt.timedelta(days=days))
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_alternative_names(role, name, hosts), critical=False)
        .add_extension(
            x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False
        )
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()), critical=False)
        .sign(issuer_key, hashes.SHA256())
    )
    return TlsMaterial(certificate.public_bytes(serialization.Encoding.PEM), _pem(key))


def verify_leaf(leaf_pem: bytes, root_pem: bytes, expected_id: str, *, now: dt.datetime | None = None) -> dt.datetime:
    """Check that a peer's leaf carries the expected SPIFFE id, alone, and was issued by that member's root.

    TLS has already checked the chain against *some* member's root; this ties it to the right one.

    Returns:
        When the leaf ends.

    Raises:
        AuthenticationError: It does not hold.
    """
    moment = now or dt.datetime.now(dt.UTC)
    try:
        leaf = x509.load_pem_x509_certificate(leaf_pem)
        root = x509.load_pem_x509_certificate(root_pem)
        leaf.verify_directly_issued_by(root)
        names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        uris = names.get_values_for_type(x509.UniformResourceIdentifier)
    except (ValueError, TypeError, InvalidSignature, x509.ExtensionNotFound, x509.DuplicateExtension):
        raise AuthenticationError("a certificate was not issued by the member's root") from None
    if uris != [expected_id] or not leaf.not_valid_before_utc <= moment <= leaf.not_valid_after_utc:
        raise AuthenticationError("a certificate does not carry the member's name, or is not valid now")
    return leaf.not_valid_after_utc
