"""Addresses of PostgreSQL: what an owner left open gets the strict value, and a failed connection gets a reason."""

import re
from typing import Final
from urllib.parse import parse_qs, urlencode, urlsplit, urlunsplit

from mpc.errors import ConfigurationError, SourceError

__all__ = ["connection_fault", "connection_url"]

_HERE: Final = frozenset({"localhost", "127.0.0.1", "::1"})

_WRITTEN: Final = "characters such as # / @ : % of a name or password are written as %23 %2F %40 %3A %25"


def connection_url(url: str) -> str:
    """The address with what the owner left open: TLS checked against the host's name, a time limit, our name.

    An address that names `sslmode` keeps it, weak or not: it is the owner's own database. Of several hosts, one that
    is not this machine is enough for the strict value.

    Raises:
        ConfigurationError: It is not an address. No part of it is in the text.

    >>> connection_url("postgresql://reader@db.internal/crm")
    'postgresql://reader@db.internal/crm?application_name=sealroom&connect_timeout=10&sslmode=verify-full'
    """
    try:
        parts = urlsplit(url)
        named = _hosts(parts.netloc)
    except ValueError:
        raise ConfigurationError(f"the address of a database is not a URL with HOST:PORT; {_WRITTEN}") from None
    if parts.fragment or "#" in url:
        raise ConfigurationError(f"the address of a database holds a bare #; {_WRITTEN}")
    given = parse_qs(parts.query, keep_blank_values=True)
    named += [host for key in ("host", "hostaddr") for value in given.get(key, ()) for host in value.split(",")]
    away = any(host and not host.startswith(("/", "@")) and host not in _HERE for host in named)
    defaults = {"application_name": "sealroom", "connect_timeout": "10"}
    if away or "service" in given:
        defaults["sslmode"] = "verify-full"
    query = urlencode({**{k: [v] for k, v in defaults.items()}, **given}, doseq=True)
    return urlunsplit(("postgresql", parts.netloc, parts.path, query, ""))


def _hosts(netloc: str) -> list[str]:
    """The hosts of libpq's `[user[:password]@]host[:port][,...]` (`ValueError` for a port that is no number)."""
    found = []
    for one in netloc.rpartition("@")[2].split(","):
        bare = urlsplit(f"//{one}")
        if bare.port == 0:
            raise ValueError(one)
        found.append(bare.hostname or "")
    return found


_AWAY: Final = "the database cannot be reached"
_SHUT: Final = "the database does not let us in"

_FAULTS: Final = tuple(
    (re.compile(pattern), reason, detail)
    for pattern, reason, detail in (
        (r"FATAL:.*(password authentication failed|no password supplied)|no password supplied", _SHUT,
         "it refuses this user's password"),
        (r'FATAL:.*role ".*" (does not exist|is not permitted)', _SHUT, "it has no such user that may log in"),
        (r'FATAL:.*database ".*" does not exist', _SHUT, "the server has no database of that name"),
        (r"FATAL:.*permission denied for database", _SHUT, "this user may not connect to that database"),
        (r"FATAL:.*pg_hba\.conf", _SHUT, "its pg_hba.conf has no entry for this user, database, address and TLS"),
        (r"FATAL:.*(too many|remaining connection slots)", _SHUT, "it has no connection left"),
        (r"FATAL:.*(starting up|shutting down|not yet accepting|in recovery)", _AWAY, "it is starting or stopping"),
        (r"FATAL:", _SHUT, "it refuses the connection"),
        (r"root certificate file", _SHUT, "there is no root certificate to verify its TLS: name it by sslrootcert="),
        (r"does not support SSL", _SHUT, "it does not speak TLS"),
        (r"certificate verify failed", _SHUT, "its TLS certificate is not from the root that is trusted, or expired"),
        (r"does not match host name|host name must be specified", _SHUT, "its TLS certificate is for another host"),
        (r"certificate|private key|SSL|TLS", _SHUT, "TLS with it fails"),
        (r"could not translate host name", _AWAY, "its host name does not resolve"),
        (r"Connection refused", _AWAY, "nothing listens on its port"),
        (r"on socket .*failed: No such file", _AWAY, "its socket is not there"),
        (r"timeout expired|timed out|unreachable|No route", _AWAY, "it does not answer in time"),
        (r"URI|invalid|could not parse|keyword", _SHUT, "its address has a part that libpq does not understand"),
    )
)  # fmt: skip
"""What libpq says in a program that sets no locale, what everybody may hear of it, and what the owner does."""


def connection_fault(text: str) -> SourceError:
    """The error for a connection that libpq could not make; its text, which may quote the address, is left out."""
    for pattern, reason, detail in _FAULTS:
        if pattern.search(text):
            return SourceError(f"no connection: {detail}", reason=reason)
    return SourceError("no connection", reason=_SHUT)
