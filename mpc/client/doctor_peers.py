"""The doctor on the line: names, ports, TLS, versions, rooms; step by step, so that the first fault has a name."""

import asyncio
import datetime as dt
import errno
import ipaddress
import socket
from collections.abc import AsyncIterator, Iterable
from typing import Final

from cryptography import x509

from mpc import __version__
from mpc.client.doctor import Finding, Host
from mpc.client.members import MemberFolder
from mpc.errors import AuthenticationError, MpcError
from mpc.keys.identity import TlsMaterial
from mpc.keys.manifest import Manifest, Member
from mpc.parties import Role
from mpc.runtime.channel import GrpcCoordinatorPeer, GrpcPartyPeer
from mpc.runtime.tls import address_of, client_context
from mpc.sum.transcript import WIRE_VERSION
from mpc.wire import messages as m
from mpc.wire.errors import from_notice
from mpc.wire.job import CLOCK_TOLERANCE_S

__all__ = ["peer_findings"]

AREA: Final = "connections"
WARN_DAYS: Final = 14
WARN_CLOCK_S: Final = 30.0
_ADDRESSES: Final = 4
"""Most addresses of one name that are dialled, each for a few seconds."""

_NO_ROUTE: Final = frozenset({errno.ENETUNREACH, errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT})


async def peer_findings(host: Host, member: MemberFolder, manifest: Manifest) -> AsyncIterator[Finding]:
    """Dial everybody that this member calls: a coordinator its parties, everybody else the coordinator."""
    peers = manifest.with_role(Role.PARTY) if member.role is Role.COORDINATOR else (manifest.coordinator,)
    for peer in peers:
        steps = await asyncio.to_thread(_reach_all, host, member, peer)
        for finding in steps:
            yield finding
        if all(f.level.value != "FAIL" for f in steps):
            async for finding in _service(host, member, manifest, peer):
                yield finding


def _reach_all(host: Host, member: MemberFolder, peer: Member) -> list[Finding]:
    return list(_reach(host, member, peer))


def _reach(host: Host, member: MemberFolder, peer: Member) -> Iterable[Finding]:
    """Name, port and certificate of a peer; stops at the first that fails."""
    name, port = address_of(peer.endpoint)
    try:
        addresses = host.resolve(name)
    except OSError:
        cure = f"correct DNS for {name}, or ask {peer.name} for its endpoint and make a new version of the room"
        yield Finding.bad(AREA, f"{peer.name} name", f"{name} does not resolve", cure)
        return
    yield Finding.good(AREA, f"{peer.name} name", f"{name} is {', '.join(addresses[:3])}")
    try:
        silent = _dial_each(host, addresses[:_ADDRESSES], port)
    except ConnectionRefusedError:
        cure = f"start it at its owner: sealroom {peer.role.value} serve; or correct the port in the room"
        yield Finding.bad(AREA, f"{peer.name} port", f"nothing listens at {peer.endpoint}", cure)
        return
    except OSError as error:
        cure = f"open TCP {port} from here to {name} in the firewalls between"
        yield Finding.bad(
            AREA, f"{peer.name} port", f"no answer from {peer.endpoint} ({error.strerror or error})", cure
        )
        return
    if silent:
        cure = f"correct DNS for {name}, or what is at {', '.join(silent)}: calls try every address, and wait for some"
        text = f"{peer.endpoint} accepts connections, but not at {', '.join(silent)}, which is its address, too"
        yield Finding.doubtful(AREA, f"{peer.name} port", text, cure)
    else:
        yield Finding.good(AREA, f"{peer.name} port", f"{peer.endpoint} accepts connections")
    expires = peer_certificate_end(peer, member.keys.leaf())
    if expires is not None:
        days = (expires - dt.datetime.fromtimestamp(host.now(), dt.UTC)).days
        if days < WARN_DAYS:
            cure = f"at its owner: sealroom {peer.role.value} certificate renew"
            yield Finding.doubtful(AREA, f"{peer.name} certificate", f"{days} days left", cure)
        else:
            yield Finding.good(AREA, f"{peer.name} certificate", f"{days} days left, issued by its own root")


def _dial_each(host: Host, addresses: list[str], port: int) -> list[str]:
    """Addresses of one name that do not answer though another does.

    Not this machine's own, and none of a family that this machine has no route for.

    Raises:
        OSError: None answers.
    """
    failed: dict[str, OSError] = {}
    for address in addresses:
        try:
            host.dial(address, port)
        except OSError as error:
            failed[address] = error
    if len(failed) == len(addresses):
        raise next((e for e in failed.values() if e.errno not in _NO_ROUTE), next(iter(failed.values())))
    return [a for a, e in failed.items() if e.errno not in _NO_ROUTE and not ipaddress.ip_address(a).is_loopback]


def peer_certificate_end(peer: Member, material: TlsMaterial) -> dt.datetime | None:
    """When the certificate that a peer presents expires; None if the handshake fails, which the service call tells."""
    host, port = address_of(peer.endpoint)
    context = client_context(peer, material)
    try:
        with (
            socket.create_connection((host, port), timeout=3.0) as raw,
            context.wrap_socket(raw, server_hostname=host) as tls,
        ):
            der = tls.getpeercert(binary_form=True)
    except OSError:
        return None
    return x509.load_der_x509_certificate(der).not_valid_after_utc if der else None


async def _service(host: Host, member: MemberFolder, manifest: Manifest, peer: Member) -> AsyncIterator[Finding]:
    material = member.keys.leaf()
    kind = GrpcPartyPeer if peer.role is Role.PARTY else GrpcCoordinatorPeer
    connection = kind(peer, material)
    ask = m.DescribeRequest(wire_version=WIRE_VERSION)
    try:
        asked = host.now()
        found = await connection.describe(ask)
        for finding in (*_described(manifest, peer, found), *_clock(peer.name, found, asked, host.now())):
            yield finding
        if isinstance(connection, GrpcCoordinatorPeer) and member.role in {Role.ANALYST, Role.PARTY}:
            asked = host.now()
            for entry in (await connection.survey(ask)).entries:
                for finding in _surveyed(manifest, member, peer, entry, asked, host.now()):
                    yield finding
    except MpcError as error:
        yield Finding.bad(AREA, f"{peer.name} TLS", str(error.fields.get("reason") or error.public), _cure(error, peer))
    finally:
        await connection.close()


def _described(manifest: Manifest, peer: Member, found: m.Description) -> Iterable[Finding]:
    group = found.key_exchange or "not told"
    yield Finding.good(AREA, f"{peer.name} TLS", f"mutual TLS; key exchange {group}")
    if found.wire_version != WIRE_VERSION:
        older = found.wire_version < WIRE_VERSION
        text = f"it speaks wire version {found.wire_version}, this is {WIRE_VERSION}"
        cure = f"upgrade {peer.name}" if older else "upgrade sealroom here"
        yield Finding.bad(AREA, f"{peer.name} version", text, cure)
    elif found.software != __version__:
        text = f"it runs sealroom {found.software}, this is {__version__}; they understand each other"
        yield Finding.doubtful(AREA, f"{peer.name} version", text, "upgrade the older one when it suits")
    else:
        yield Finding.good(
            AREA, f"{peer.name} version", f"sealroom {found.software}, wire version {found.wire_version}"
        )
    if found.room != manifest.room:
        text = f"it serves another version of the room ({found.room[:16]}, here {manifest.room[:16]})"
        cure = "every member installs the same room.toml, and nodes restart: sealroom room install room.toml"
        yield Finding.bad(AREA, f"{peer.name} room", text, cure)


def _clock(name: str, found: m.Description, asked: float, answered: float) -> Iterable[Finding]:
    """A peer's clock against this one; it answered somewhere between the two moments."""
    if not found.clock_us:
        return
    theirs = found.clock_us / 1e6
    ahead = theirs - min(max(theirs, asked), answered)
    text = f"{_lasting(abs(ahead))} {'ahead of' if ahead > 0 else 'behind'} this machine's"
    cure = f"let NTP set both clocks, here and at {name} (chronyd or systemd-timesyncd)"
    if abs(ahead) >= CLOCK_TOLERANCE_S:
        yield Finding.bad(AREA, f"{name} clock", f"{text}: requests are refused", cure)
    elif abs(ahead) >= WARN_CLOCK_S:
        yield Finding.doubtful(
            AREA, f"{name} clock", f"{text}; from {CLOCK_TOLERANCE_S} s on requests are refused", cure
        )
    else:
        yield Finding.good(AREA, f"{name} clock", "agrees with this machine's")


def _lasting(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 600 else f"{seconds / 60:.0f} minutes"


def _surveyed(
    manifest: Manifest, member: MemberFolder, coordinator: Member, entry: m.SurveyEntry, asked: float, answered: float
) -> Iterable[Finding]:
    """A party as the coordinator reaches it; a party is told of itself alone."""
    check = f"{entry.party} via {coordinator.name}"
    own = entry.party == member.name
    if entry.error is not None or entry.description is None:
        error = from_notice(entry.error) if entry.error else None
        reason = str(error.fields.get("reason") or error.sentence) if error else "no answer"
        found = manifest.member(entry.party)
        endpoint = found.endpoint if found else "its endpoint"
        cure = f"start it at its owner: sealroom party serve; {coordinator.name} dials {endpoint}"
        if error is not None and isinstance(error, AuthenticationError) and found:
            cure = _cure(error, found)
        elif own:
            cure = (
                f"start this node (sealroom party serve), and let {coordinator.name} reach {endpoint}: DNS at its "
                "side, port forwarding and firewall at this one"
            )
        yield Finding.bad(AREA, check, reason, cure)
        return
    if entry.description.room != manifest.room:
        yield Finding.bad(AREA, check, "it serves another version of the room", "install the same room.toml there")
        return
    yield Finding.good(AREA, check, f"answers; key exchange {entry.description.key_exchange or 'not told'}")
    if not own:
        yield from _clock(entry.party, entry.description, asked, answered)


def _cure(error: MpcError, peer: Member) -> str:
    if isinstance(error, AuthenticationError):
        return (
            f"check both certificates (sealroom {peer.role.value} certificate show), that both sides installed the "
            "same room.toml, and that no proxy opens TLS between"
        )
    return f"read the log of {peer.name}'s node"
