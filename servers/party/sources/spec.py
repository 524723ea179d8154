"""What an owner writes about a source: where it is, which tables it holds, and which rows may be used at all."""

import os
import re
from collections.abc import Mapping
from pathlib import Path

import msgspec

from mpc.errors import ConfigurationError

__all__ = [
    "Limits",
    "SourceSpec",
    "TableSpec",
    "file_url",
    "located",
    "quoted",
    "resolve_url",
    "resolved",
    "split_name",
    "split_url",
    "text_literal",
]

_SCHEME = re.compile(r"(?P<scheme>[a-z][a-z0-9+]*):(?P<rest>.+)\Z", re.DOTALL)
_MAX_URL_BYTES = 8192
_LONGEST_STATEMENT_S = 7 * 86_400
_SUFFIXES = {
    ".parquet": "parquet",
    ".pq": "parquet",
    ".csv": "csv",
    ".tsv": "csv",
    ".arrow": "arrow",
    ".feather": "arrow",
    ".ipc": "arrow",
    ".duckdb": "duckdb",
    ".ddb": "duckdb",
    ".sqlite": "sqlite",
    ".sqlite3": "sqlite",
}


class TableSpec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """One logical table inside a source."""

    origin: str = ""
    """A table or view, with its schema where it has one (`public.clients`; quote parts that hold dots), or for files a
    path below the source's folder. Empty: the logical name in a database, the whole folder or the file itself."""

    columns: Mapping[str, str] = {}
    """Physical column by logical name; empty: every column under its own name."""

    types: Mapping[str, str] = {}
    """Dictionary type by logical column, for sources whose columns have no types of their own (CSV, SQLite). The node
    fills it from the room's dictionary, so that the text 00123 of a VARCHAR column is not read as a number."""

    where: str = ""
    """The owner's own restriction of the rows: a condition over the physical columns, in the source's dialect."""


class SourceSpec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """One database, folder or file and the tables taken from it."""

    url: str
    """`parquet:`, `csv:`, `arrow:`, `duckdb:` or `sqlite:` and a path; a `postgresql://` address of libpq; or a
    reference to one of these, `env:NAME` or `file:/path/of/a/secret`."""

    tables: Mapping[str, TableSpec]

    def __repr__(self) -> str:
        return f"SourceSpec(<address>, tables={sorted(self.tables)})"  # the address may hold a password


class Limits(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """What a worker may use."""

    memory_bytes: int = 1 << 30
    """Memory of the engine's tables, sorts and hash tables. `servers.party.sandbox` derives the address space."""

    threads: int = 2
    statement_timeout_s: float = 300.0
    """A statement that runs longer ends with `DeadlineExceeded`; the node's own deadline kills the worker."""

    temp_directory: str = ""
    """A private directory for intermediate results that outgrow the memory; empty: they fail instead."""

    temp_bytes: int = 0
    """Most bytes in the temporary directory."""

    def check(self) -> None:
        """Refuse limits that nothing could run under (`ConfigurationError`)."""
        if not 64 << 20 <= self.memory_bytes <= 1 << 44 or not 1 <= self.threads <= 256:
            raise ConfigurationError("limits: a worker has 64 MiB to 16 TiB and 1 to 256 threads")
        if not 0 < self.statement_timeout_s <= _LONGEST_STATEMENT_S:
            raise ConfigurationError("limits: statement_timeout_s is positive, and a week at most")
        if bool(self.temp_directory) != (self.temp_bytes > 0):
            raise ConfigurationError("a temporary directory and its size are given together")


def resolve_url(reference: str, environment: Mapping[str, str] | None = None) -> str:
    """Follow an `env:` or `file:` reference; anything else is returned as it is.

    Raises:
        ConfigurationError: The variable or the file does not exist. The address itself is never in the text.
    """
    text = reference
    if reference.startswith("env:"):
        found = (os.environ if environment is None else environment).get(reference[4:])
        if found is None:
            raise ConfigurationError(f"the environment variable {reference[4:]} is not set")
        text = found
    elif reference.startswith("file:"):
        try:
            text = Path(reference[5:]).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigurationError(f"{reference} cannot be read ({type(error).__name__})") from None
    text = text.strip()
    if not text or len(text) > _MAX_URL_BYTES or "\0" in text:
        raise ConfigurationError("a source's address is empty, too long, or not text")
    return text


def resolved(spec: SourceSpec, environment: Mapping[str, str] | None = None) -> SourceSpec:
    """The specification with its reference followed: a worker has neither the node's environment nor its secrets."""
    return msgspec.structs.replace(spec, url=resolve_url(spec.url, environment))


def located(spec: SourceSpec, base: Path) -> SourceSpec:
    """The specification with its reference followed, and its path, if it has one, counted from `base`."""
    spec = resolved(spec)
    scheme, rest = split_url(spec.url)
    if scheme not in set(_SUFFIXES.values()):
        return spec
    return msgspec.structs.replace(spec, url=f"{scheme}:{base / rest}")


def split_url(url: str) -> tuple[str, str]:
    """Scheme and rest of a source's address; a bare path's scheme follows from its ending.

    >>> split_url("parquet:/data/sales")
    ('parquet', '/data/sales')
    """
    match = _SCHEME.match(url)
    return (match["scheme"], match["rest"]) if match else (file_url(url).partition(":")[0], url)


def file_url(path: str | Path) -> str:
    """The address of a local file or folder, by its ending (a folder holds Parquet).

    Raises:
        ConfigurationError: The ending is not known.

    >>> file_url("north/sales.csv")
    'csv:north/sales.csv'
    """
    where = Path(path)
    scheme = _SUFFIXES.get(where.suffix.lower()) or ("parquet" if where.is_dir() else None)
    if scheme is None:
        raise ConfigurationError(f"{where.name}: not a known kind of file ({', '.join(sorted(_SUFFIXES))})")
    return f"{scheme}:{where}"


def quoted(*parts: str) -> str:
    """A quoted, possibly qualified SQL identifier; every dialect here doubles the quotation mark.

    >>> quoted("public", 'a"b')
    '"public"."a""b"'
    """
    if not parts or any(not part or "\0" in part for part in parts):
        raise ConfigurationError("an identifier is empty or not text")
    return ".".join('"' + part.replace('"', '""') + '"' for part in parts)


def text_literal(text: str) -> str:
    """A quoted SQL string without escapes.

    >>> text_literal("it's")
    "'it''s'"
    """
    if "\0" in text:
        raise ConfigurationError("a text literal holds a zero byte")
    return "'" + text.replace("'", "''") + "'"


def split_name(origin: str) -> list[str]:
    """Parts of a qualified name: dots separate, quotation marks protect dots, two of them inside stand for one.

    >>> split_name('sales."2024.q1"'), split_name('"a""b"')
    (['sales', '2024.q1'], ['a"b'])
    """
    parts, part, inside, before = [], "", False, ""
    for mark in origin:
        again, before = mark == before == '"', "" if mark == before == '"' else mark
        if mark == '"':
            part += '"' * (again and not inside)
            inside = not inside
        elif mark == "." and not inside:
            parts.append(part)
            part = ""
        else:
            part += mark
    if inside or not all((*parts, part)) or len(parts) > 1:
        raise ConfigurationError(f"{origin[:80]!r} is not a table name with at most a schema before it")
    return [*parts, part]
