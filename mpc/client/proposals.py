"""Dictionaries that owners propose, and the one that follows from several of them.

An owner infers a proposal from its own data, reads it, edits it, and sends it: everything in it (types, ranges, order
of magnitude of the number of rows) becomes known to the members. Merging widens until every owner's rows fit.
"""

import tomllib
from collections.abc import Mapping, Sequence
from functools import reduce
from pathlib import Path
from typing import Any

import msgspec
import tomli_w

from mpc.client.infer import MOST_CAPACITY, infer_dictionary, widest_type
from mpc.client.members import MemberFolder
from mpc.errors import ConfigurationError
from mpc.keys.dictionary import Column, Dictionary, Table
from mpc.keys.manifest import Manifest
from mpc.parties import Role

__all__ = ["dump_proposal", "infer_proposal", "load_proposal", "merge_proposals"]

_NOTE = """\
# Proposed dictionary. Public to the members of the room once it is signed: read it first. Ranges are powers of two
# around the data; narrow them if they say too much, widen them if more may come. `discoverable` lets group keys be
# found by a round that shows their union to all parties; a `domain` lists them instead.
"""


def load_proposal(path: Path) -> Dictionary:
    """Read a dictionary file (`ConfigurationError` if it is not one).

    A room's `draft.toml` or `room.toml` counts as one.
    """
    try:
        mapping = tomllib.loads(path.read_text(encoding="utf-8"))
        if "members" in mapping:
            mapping.pop("signatures", None)
            return Manifest.from_mapping(mapping).dictionary
        dictionary = msgspec.convert(mapping, Dictionary)
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be read: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, msgspec.ValidationError) as error:
        raise ConfigurationError(f"{path} is not a dictionary: {error}") from None
    dictionary.check()
    return dictionary


def dump_proposal(dictionary: Dictionary) -> str:
    """The TOML text of a proposal."""
    return _NOTE + tomli_w.dumps(_plain(msgspec.to_builtins(dictionary)))


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _plain(v) for k, v in value.items() if v is not None}
    return [_plain(v) for v in value] if isinstance(value, list | tuple) else value


def infer_proposal(member: MemberFolder) -> Dictionary:
    """What a party's own files say about its tables.

    Local keys are left empty: one owner cannot know that no other has a value.

    Raises:
        ConfigurationError: The member is not a party, or has sources other than files.
    """
    if member.role is not Role.PARTY:
        raise ConfigurationError(f"{member.name} is not a party: only parties have tables")
    tables: dict[str, Path] = {}
    renamed: dict[str, Mapping[str, str]] = {}
    for source in member.configuration.get("sources", {}).values():
        for name, table in source.get("tables", {}).items():
            tables[name] = _local_path(member.path, str(source.get("url", "")), name, table)
            renamed[name] = table.get("columns", {})
    if not tables:
        raise ConfigurationError("party.toml names no source: add one, or give --source at enrolment")
    found = infer_dictionary({member.name: tables})
    return Dictionary(
        tables=tuple(
            msgspec.structs.replace(t, local_keys=(), columns=_under(renamed[t.name], t)) for t in found.tables
        )
    )


def _local_path(base: Path, url: str, name: str, table: Mapping[str, Any]) -> Path:
    scheme, _, rest = url.partition(":")
    if scheme not in {"parquet", "csv", "arrow", "duckdb"}:
        raise ConfigurationError(
            f"table {name} is in a {scheme or 'nameless'} source: only Parquet, CSV, Arrow and DuckDB are inferred",
            reason="write its part of dictionary.toml by hand",
        )
    origin = str(table.get("origin", ""))
    if scheme == "duckdb" and origin not in {"", name}:
        raise ConfigurationError(
            f"table {name} is called {origin} in its DuckDB file", reason="write its part of dictionary.toml by hand"
        )
    return base / rest / origin if origin and scheme != "duckdb" else base / rest


def _under(columns: Mapping[str, str], table: Table) -> tuple[Column, ...]:
    """The columns under the logical names of `party.toml`, if it renames any."""
    if not columns:
        return table.columns
    from mpc.client.infer import logical_names

    logical = {next(iter(logical_names([physical]))): name for name, physical in columns.items()}
    return tuple(msgspec.structs.replace(c, name=logical[c.name]) for c in table.columns if c.name in logical)


def merge_proposals(proposals: Sequence[Dictionary]) -> Dictionary:
    """The least dictionary into which every proposal fits.

    A table's columns are those that every owner of it proposes; types and ranges are widened; a column is discoverable
    only if all say so, and its capacity holds all of them together.

    Raises:
        ConfigurationError: Two proposals contradict each other; names the column.
    """
    by_name: dict[str, list[Table]] = {}
    for proposal in proposals:
        for table in proposal.tables:
            by_name.setdefault(table.name, []).append(table)
    merged = Dictionary(tables=tuple(reduce(_merge_tables, by_name[name]) for name in sorted(by_name)))
    merged.check()
    return merged


def _merge_tables(one: Table, other: Table) -> Table:
    if both := set(one.parties) & set(other.parties):
        raise ConfigurationError(f"two proposals speak for the rows of {min(both)} in table {one.name}")
    if one.privacy_unit != other.privacy_unit:
        raise ConfigurationError(f"table {one.name}: the proposals name different privacy units")
    columns = []
    for column in one.columns:
        theirs = other.column(column.name)
        if theirs is not None:
            columns.append(_merge_columns(one.name, column, theirs))
    if not columns:
        raise ConfigurationError(f"table {one.name}: the proposals share no column")
    names = {c.name for c in columns}
    return Table(
        name=one.name,
        columns=tuple(columns),
        parties=tuple(sorted((*one.parties, *other.parties))),
        rows_at_most=max(one.rows_at_most, other.rows_at_most),
        privacy_unit=one.privacy_unit,
        local_keys=tuple(k for k in one.local_keys if k in other.local_keys and k in names),
    )


def _merge_columns(table: str, one: Column, other: Column) -> Column:
    if one.name != other.name:
        raise ConfigurationError(f"table {table}: {one.name} and {other.name} differ only in case")
    type_ = widest_type(table, one.name, (one.type, other.type))
    union = None
    if one.domain is not None and other.domain is not None:
        union = tuple(dict.fromkeys((*one.domain, *other.domain)))
    discoverable = one.discoverable and other.discoverable
    return Column(
        name=one.name,
        type=type_,
        nullable=one.nullable or other.nullable,
        scale=max(one.scale, other.scale),
        minimum=_both(min, one.minimum, other.minimum),
        maximum=_both(max, one.maximum, other.maximum),
        earliest=_both(min, one.earliest, other.earliest),
        latest=_both(max, one.latest, other.latest),
        domain=union,
        discoverable=discoverable,
        capacity=min(MOST_CAPACITY, 1 << (one.capacity + other.capacity - 1).bit_length())
        if discoverable
        else max(one.capacity, other.capacity),
        max_bytes=max(one.max_bytes, other.max_bytes),
    )


def _both(choose: Any, one: Any, other: Any) -> Any:
    """The wider bound; none if one side has none."""
    return None if one is None or other is None else choose(one, other)
