"""What a node would meet if it started now: `python -m servers.party --config party.toml --check`, for the doctor.

Nothing is changed, no port is bound, nobody is called but the owner's own databases, of which no row is read.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

import msgspec

from mpc.errors import ConfigurationError, MpcError, PlanError, SourceError
from mpc.keys.dictionary import Dictionary, Table
from mpc.keys.manifest import SignedManifest
from servers.party.config import load_config
from servers.party.programs import typed_source
from servers.party.sources.opening import open_source
from servers.party.sources.spec import Limits, SourceSpec, located, quoted

__all__ = ["Checked", "check_node"]

_OPEN_S: Final = 20.0
"""A statement that reads no row ends long before; one that waits for a lock does not."""


class Checked(msgspec.Struct, frozen=True, kw_only=True):
    """One thing looked at; `cure` is empty if it is good."""

    check: str
    text: str
    cure: str = ""
    brief: str = ""
    """The same without the owner's names, for an archive that others read."""

    works: bool = False
    """Whether the node works in spite of it."""


def check_node(path: Path) -> Iterator[Checked]:
    """Read the configuration, open every table of every source as a job would, and ask what the room says of it."""
    base = path.parent
    try:
        config = load_config(path)
    except MpcError as error:
        yield Checked(check="configuration", text=error.detail, cure=f"correct {path}")
        return
    yield Checked(check="configuration", text=f"{path.name} can be read, and every setting in it is known")
    try:
        dictionary = SignedManifest.load(base / config.manifest).verify().dictionary
    except MpcError:
        return  # the doctor has a line for the room
    for name, spec in config.sources.items():
        yield from _source(name, spec, base, dictionary, config.limits)
    held = {table.lower() for spec in config.sources.values() for table in spec.tables}
    for table in dictionary.tables:
        if config.name in table.parties and table.name.lower() not in held:
            cure = f"add [sources.NAME.tables.{table.name}] to party.toml, or agree on a room in which it is not here"
            yield Checked(
                check=f"table {table.name}", text="the room says that it is here, and no source has it", cure=cure
            )


def _source(name: str, spec: SourceSpec, base: Path, dictionary: Dictionary, limits: Limits) -> Iterator[Checked]:
    check, good, said = f"source {name}", [], set[str]()
    short = msgspec.structs.replace(limits, statement_timeout_s=min(_OPEN_S, limits.statement_timeout_s))
    for table, one in spec.tables.items():
        alone = msgspec.structs.replace(spec, tables={table: one})
        try:
            found = list(_table(check, table, located(alone, base), dictionary, short))
        except MpcError as error:
            reason = str(error.fields.get("reason", error.sentence))
            text = f"table {table}: {reason} ({error.detail})" if error.detail else f"table {table}: {reason}"
            if isinstance(error, ConfigurationError):
                text = error.detail
            found = [Checked(check=check, text=text, cure=_cure(error, name, one.origin or table), brief=reason)]
        for problem in found:
            if problem.text not in said:
                yield problem
            said.add(problem.text)
        if not found:
            good.append(table)
    if good and not said:
        yield Checked(check=check, text=f"{', '.join(good)}: opened, and as the room's dictionary says")


def _table(check: str, table: str, spec: SourceSpec, dictionary: Dictionary, limits: Limits) -> Iterator[Checked]:
    source = open_source(typed_source(spec, dictionary), limits)
    try:
        source.run(f"SELECT COUNT(*) AS n FROM {quoted(table)} WHERE FALSE")  # noqa: S608 - a quoted name
        declared = dictionary.table(table)
        if declared is None:
            cure = "take it out of party.toml, or agree on a room whose dictionary has it"
            text = f"the room's dictionary has no table {table}: no job can use it"
            yield Checked(check=check, text=text, cure=cure, works=True)
        else:
            (columns,) = source.describe().values()
            yield from _columns(check, declared, {c.name.lower(): c.type for c in columns})
    finally:
        source.close()


def _columns(check: str, declared: Table, found: dict[str, str | None]) -> Iterator[Checked]:
    for column in declared.columns:
        if column.name.lower() not in found:
            text = f"table {declared.name} has no column {column.name}, which the room's dictionary names"
            cure = f"map it under [sources.NAME.tables.{declared.name}.columns], or let the view have it"
            yield Checked(check=check, text=text, cure=cure)
        elif found[column.name.lower()] is None:
            text = f"column {column.name} of table {declared.name} has a type that no dictionary can declare"
            yield Checked(check=check, text=text, cure=f"let a view cast it to {column.type}")


def _cure(error: MpcError, source: str, origin: str) -> str:
    reason = str(error.fields.get("reason", ""))
    if isinstance(error, SourceError) and "may not read" in reason:
        return f"let the database's owner: GRANT SELECT ON {origin} TO the role of the address, and USAGE on its schema"
    if "cannot be reached" in reason:
        return "start the database, or open the firewall between this node and it"
    if "let us in" in reason:
        return (
            f"correct the address of sources.{source}, or the server's rules, until psql connects with the same address"
        )
    if isinstance(error, PlanError):
        return f"correct `origin` and `where` of its tables in [sources.{source}]: the database does not take them"
    if isinstance(error, ConfigurationError):
        return f"correct [sources.{source}] in party.toml"
    return f"see that the data of sources.{source} is there, whole, and may be read by this user"
