"""Mutual TLS from a room's manifest: which roots are trusted, and who a peer is."""

import asyncio
import datetime as dt
import logging
import os
import socket
import ssl
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any, Final

import grpc
from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from mpc.errors import AuthenticationError, ConfigurationError, TransportError
from mpc.keys.files import LEAF_CERTIFICATE, LEAF_KEY, KeyFolder
from mpc.keys.identity import TlsMaterial, verify_leaf
from mpc.keys.manifest import Manifest, Member

CONNECTION_WORKS: Final = "the connection works, but the service does not answer"

__all__ = [
    "CONNECTION_WORKS",
    "Caller",
    "CurrentLeaf",
    "Gatekeeper",
    "address_of",
    "answers_as",
    "channel_credentials",
    "client_context",
    "diagnose",
    "pair_ends",
    "server_credentials",
]

log = logging.getLogger(__name__)


class CurrentLeaf:
    """A member's leaf as it is on disk at this moment: renewing it needs no restart of a node.

    Key and certificate are two files; between their replacements they do not belong together, and then, or when they
    cannot be read, the last good pair stays in use.
    """

    def __init__(self, keys: KeyFolder) -> None:
        self._keys = keys
        self._lock = threading.Lock()
        self._seen: tuple[tuple[int, int], ...] = ()
        self._material = keys.leaf()
        self._expires = pair_ends(self._material) or 0.0
        if not self._expires:
            raise ConfigurationError(f"{LEAF_CERTIFICATE} and {LEAF_KEY} do not belong together")
        self._seen = self._stamp()

    def _stamp(self) -> tuple[tuple[int, int], ...]:
        found = [(self._keys.path / name).stat() for name in (LEAF_CERTIFICATE, LEAF_KEY)]
        return tuple((s.st_mtime_ns, s.st_ino) for s in found)

    def __call__(self) -> TlsMaterial:
        """The current leaf."""
        with self._lock:
            try:
                stamp = self._stamp()
                if stamp != self._seen:
                    material = self._keys.leaf()
                    if expires := pair_ends(material):
                        changed = material.certificate != self._material.certificate
                        self._seen, self._material, self._expires = stamp, material, expires
                        if changed:
                            log.info("a renewed certificate is in use")
            except (OSError, ConfigurationError):
                log.warning("the certificate's files cannot be read; the last ones stay in use")
            return self._material

    @property
    def expires(self) -> float:
        """When the leaf in use ends, in seconds since 1970."""
        self()
        return self._expires


def pair_ends(material: TlsMaterial) -> float | None:
    """When the certificate ends, if the key is its key."""
    try:
        certificate = x509.load_pem_x509_certificate(material.certificate)
        key = load_pem_private_key(material.key, None)
    except (ValueError, TypeError):
        return None
    same = key.public_key() == certificate.public_key()
    return certificate.not_valid_after_utc.timestamp() if same else None


@dataclass(frozen=True, slots=True)
class Caller:
    """An authenticated peer."""

    member: Member
    key_exchange: str


class Gatekeeper:
    """Turns a TLS peer into a member of the room; remembers certificates it has checked, until they end.

    Args:
        manifest: The room.
        now: Time, in seconds since 1970: a connection may outlive its peer's certificate, a call may not.
    """

    def __init__(self, manifest: Manifest, now: Callable[[], float] = time.time) -> None:
        self._now = now
        self._by_id = {m.spiffe: m for m in manifest.members}
        self._checked: dict[bytes, tuple[Member, float]] = {}

    def caller(self, auth_context: dict[str, list[bytes]]) -> Caller:
        """The member behind a connection.

        Raises:
            AuthenticationError: No certificate, no or several SPIFFE ids, a stranger, or a leaf that the member's own
                root did not issue.
        """
        pem = b"".join(auth_context.get("x509_pem_cert", [])[:1])
        ids = [v.decode("utf-8", "replace") for v in auth_context.get("peer_spiffe_id", [])]
        group = b"".join(auth_context.get("ssl_negotiated_key_exchange_group", [])[:1]).decode("ascii", "replace")
        member = self._by_id.get(ids[0]) if len(ids) == 1 else None
        if member is None or not pem:
            raise AuthenticationError("the peer's certificate names no member of the room")
        known, ends = self._checked.get(pem, (None, 0.0))
        now = self._now()
        if known is not member or now > ends:
            moment = dt.datetime.fromtimestamp(now, dt.UTC)
            ends = verify_leaf(pem, member.certificate.encode(), member.spiffe, now=moment).timestamp()
            if len(self._checked) > 256:
                self._checked.clear()
            self._checked[pem] = (member, ends)
        return Caller(member, group)


def server_credentials(manifest: Manifest, material: Callable[[], TlsMaterial]) -> Any:
    """Credentials of a server that requires client certificates; the leaf is asked for again at every handshake."""
    roots = "\n".join(m.certificate for m in manifest.members).encode()

    def configuration() -> Any:
        current = material()
        return grpc.ssl_server_certificate_configuration([(current.key, current.certificate)], roots)

    return grpc.dynamic_ssl_server_credentials(configuration(), configuration, require_client_authentication=True)


def channel_credentials(peer: Member, material: TlsMaterial) -> Any:
    """Credentials towards one member: only its own root is trusted, so nobody else can answer in its place."""
    return grpc.ssl_channel_credentials(peer.certificate.encode(), material.key, material.certificate)


def address_of(endpoint: str) -> tuple[str, int]:
    """Host and port of `host:port`; an IPv6 address without its brackets.

    >>> address_of("[::1]:7443"), address_of("hub.example:7443")
    (('::1', 7443), ('hub.example', 7443))
    """
    host, _, port = endpoint.rpartition(":")
    return host.removeprefix("[").removesuffix("]"), int(port)


def client_context(peer: Member, material: TlsMaterial) -> ssl.SSLContext:
    """The settings of `channel_credentials` for Python's own TLS, which says more about what is wrong."""
    context = ssl.create_default_context(cadata=peer.certificate)
    context.set_alpn_protocols(["h2"])
    _load(context, material)
    return context


def answers_as(peer: Member, material: TlsMaterial, *, at: str = "", timeout_s: float = 2.0) -> bool:
    """Whether the member's own node answers, and not somebody else who has taken the port.

    Args:
        peer: The member.
        material: Who asks.
        at: `host:port` to dial instead of its endpoint.
        timeout_s: Patience.
    """
    context = client_context(peer, material)
    try:
        with socket.create_connection(address_of(at or peer.endpoint), timeout=timeout_s) as raw:
            raw.settimeout(timeout_s)
            with context.wrap_socket(raw, server_hostname=address_of(peer.endpoint)[0]):
                return True
    except OSError:
        return False


async def diagnose(peer: Member, material: TlsMaterial, *, timeout_s: float = 3.0) -> TransportError:
    """Why a member cannot be reached, in words: gRPC's own error says little, a plain TLS handshake says more."""
    return await asyncio.to_thread(_diagnose, peer, material, timeout_s)


def _load(context: ssl.SSLContext, material: TlsMaterial) -> None:
    """Give Python's TLS, which reads files alone, a certificate and its key; where it can be, no disk sees the key."""
    data = material.certificate + material.key
    if not hasattr(os, "memfd_create"):
        with NamedTemporaryFile(suffix=".pem") as file:
            Path(file.name).write_bytes(data)
            context.load_cert_chain(file.name)
        return
    with open(os.memfd_create("leaf"), "wb") as memory:  # noqa: PTH123 - it has no path
        memory.write(data)
        memory.flush()
        context.load_cert_chain(f"/proc/self/fd/{memory.fileno()}")


def _diagnose(peer: Member, material: TlsMaterial, timeout_s: float) -> TransportError:
    host, port = address_of(peer.endpoint)
    context = client_context(peer, material)
    try:
        with socket.create_connection((host, port), timeout=timeout_s) as raw:
            raw.settimeout(timeout_s)
            with context.wrap_socket(raw, server_hostname=host) as tls:
                tls.settimeout(0.5)
                try:
                    closed = tls.recv(1) == b""
                except TimeoutError:
                    closed = False
        reason = "it refused our certificate" if closed else CONNECTION_WORKS
        kind: type[TransportError] = AuthenticationError if closed else TransportError
        return kind("", member=peer.name, reason=reason)
    except ssl.SSLCertVerificationError as error:
        mismatch = "mismatch" in str(error).lower()
        reason = (
            "its certificate is not valid for this host name"
            if mismatch
            else "its certificate was not issued by the root in the manifest, or has expired"
        )
        return AuthenticationError(str(error), member=peer.name, reason=reason)
    except ssl.SSLError as error:
        if "ALERT" in str(error).upper():
            return AuthenticationError(str(error), member=peer.name, reason="it refused our certificate")
        return TransportError(str(error), member=peer.name, reason="it does not speak TLS on this port")
    except socket.gaierror as error:
        return TransportError(str(error), member=peer.name, reason="its host name does not resolve")
    except ConnectionRefusedError as error:
        return TransportError(str(error), member=peer.name, reason="nothing listens on its port")
    except OSError as error:
        return TransportError(str(error), member=peer.name, reason="no answer in time")
