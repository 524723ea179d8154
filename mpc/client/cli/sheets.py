"""How members, fingerprints, dictionaries and rooms look on a terminal, and the same as data."""

from collections.abc import Iterator
from typing import Any

from rich.markup import escape

from mpc.client.fingerprints import fingerprint, grouped_hex, spoken
from mpc.keys.dictionary import Column, ColumnKind, Dictionary, Table
from mpc.keys.manifest import Manifest, Member

__all__ = ["column_text", "dictionary_lines", "digest_lines", "fingerprint_lines", "manifest_lines", "member_data"]


def title(member: Member) -> str:
    """A member in a line."""
    where = f" at {member.endpoint}" if member.endpoint else ""
    return f"[bold]{escape(member.name)}[/] ({member.role.value}{escape(where)})"


def fingerprint_lines(member: Member) -> Iterator[str]:
    """What two people compare by telephone."""
    digest = fingerprint(member)
    yield f"    words  [cyan]{spoken(digest)}[/]"
    yield f"    hex    [dim]{grouped_hex(digest)}[/]"


def member_data(member: Member) -> dict[str, Any]:
    """A member for machines."""
    digest = fingerprint(member)
    return {
        "name": member.name,
        "role": member.role.value,
        "endpoint": member.endpoint,
        "spiffe": member.spiffe,
        "fingerprint": digest.hex(),
        "words": spoken(digest),
    }


def digest_lines(manifest: Manifest) -> Iterator[str]:
    """The room's id."""
    digest = bytes.fromhex(manifest.room)
    yield f"    words  [cyan]{spoken(digest)}[/]"
    yield f"    hex    [dim]{grouped_hex(digest)}[/]"


def manifest_lines(manifest: Manifest) -> Iterator[str]:
    """A room on a page."""
    yield f"Room [bold]{manifest.name}[/], version {manifest.version}"
    yield from digest_lines(manifest)
    floor = manifest.floor
    yield f"    at least {floor.minimum_parties} parties in a job; a job lives at most {floor.job_lifetime_s // 60} min"
    for member in manifest.members:
        yield ""
        yield title(member)
        yield from fingerprint_lines(member)
    if manifest.dictionary.tables:
        yield ""
        yield from dictionary_lines(manifest.dictionary)


def dictionary_lines(dictionary: Dictionary) -> Iterator[str]:
    """Every table with its columns."""
    for index, table in enumerate(dictionary.tables):
        if index:
            yield ""
        yield f"[bold]{table.name}[/]  [dim]{escape(_table_facts(table))}[/]"
        name_width = max(len(c.name) for c in table.columns)
        type_width = max(len(c.type) for c in table.columns)
        for column in table.columns:
            yield f"  {column.name:<{name_width}}  {column.type:<{type_width}}  [dim]{escape(column_text(column))}[/]"


def _table_facts(table: Table) -> str:
    facts = [f"rows at {', '.join(table.parties)}", f"at most {table.rows_at_most:,} each"]
    if table.privacy_unit:
        facts.append(f"protects {table.privacy_unit}")
    if table.local_keys:
        facts.append(f"no value at two parties: {', '.join(table.local_keys)}")
    return "; ".join(facts)


def column_text(column: Column) -> str:
    """Range, domain and what else is declared of a column."""
    facts = []
    if column.minimum is not None:
        facts.append(f"{column.minimum:,} to {column.maximum:,}")
    if column.earliest or column.latest:
        facts.append(f"{column.earliest or '...'} to {column.latest or '...'}")
    if column.domain is not None:
        shown = ", ".join(str(v) for v in column.domain[:6])
        facts.append(f"one of {shown}{', ...' if len(column.domain) > 6 else ''}")
    if column.discoverable:
        facts.append(f"group keys can be found, up to {column.capacity:,}")
    if column.parsed.kind is ColumnKind.DOUBLE:
        facts.append(f"{column.scale} decimals")
    if not column.nullable:
        facts.append("never NULL")
    return "; ".join(facts)
