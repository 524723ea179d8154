"""From an owner's specification to an open source: the only place that lists the kinds of sources."""

from collections.abc import Mapping
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from mpc.errors import ConfigurationError
from servers.party.sources.base import Source
from servers.party.sources.digests import DigestCache
from servers.party.sources.files import FileSource
from servers.party.sources.spec import Limits, SourceSpec, resolve_url, split_url

__all__ = ["needs_network", "open_source", "readable_paths"]

_FILES = frozenset({"arrow", "csv", "duckdb", "parquet"})
_POSTGRES = frozenset({"postgres", "postgresql"})


def open_source(
    spec: SourceSpec,
    limits: Limits,
    *,
    cache: DigestCache | None = None,
    environment: Mapping[str, str] | None = None,
) -> Source:
    """Open a source for one job.

    Args:
        spec: Where it is and what it holds.
        limits: What it may use.
        cache: File digests known from earlier jobs; new ones are added.
        environment: Where `env:` references are looked up, the process's own unless given.

    Raises:
        ConfigurationError: The specification is wrong, or an optional driver is not installed.
        SourceError: The data cannot be read.
    """
    scheme, rest = split_url(url := resolve_url(spec.url, environment))
    if not spec.tables:
        raise ConfigurationError("a source names at least one table")
    if scheme in _FILES:
        return FileSource(scheme, Path(rest), spec, limits, cache or DigestCache())
    if scheme in _POSTGRES:
        from servers.party.sources.postgres import PostgresSource

        return PostgresSource(url, spec, limits)
    if scheme == "sqlite":
        from servers.party.sources.sqlite import SqliteSource

        return SqliteSource(Path(rest), spec, limits, cache or DigestCache())
    raise ConfigurationError(f"{scheme[:20]} is not a kind of source: arrow, csv, duckdb, parquet, postgresql, sqlite")


def needs_network(spec: SourceSpec, environment: Mapping[str, str] | None = None) -> bool:
    """Whether a worker reaches this source through a socket, for `servers.party.sandbox`."""
    return split_url(resolve_url(spec.url, environment))[0] in _POSTGRES


def readable_paths(spec: SourceSpec, environment: Mapping[str, str] | None = None) -> tuple[Path, ...]:
    """Files and folders that a worker must be able to read for this source, for `servers.party.sandbox`."""
    scheme, rest = split_url(url := resolve_url(spec.url, environment))
    if scheme in _POSTGRES:
        given = parse_qs(urlsplit(url).query)
        return tuple(Path(path) for name in _LIBPQ_FILES for path in given.get(name, ()) if path != "system")
    if scheme not in _FILES | {"sqlite"}:
        return ()
    path = Path(rest)
    beside = [path.with_name(path.name + ending) for ending in _BESIDE.get(scheme, ())]
    return (path, *(file for file in beside if file.exists()))


_LIBPQ_FILES = ("sslrootcert", "sslcert", "sslkey", "sslcrl", "passfile")
_BESIDE = {"duckdb": (".wal",), "sqlite": ("-wal", "-shm", "-journal")}
