"""`policy.toml`: what an owner allows. Unknown keys are errors; what is not mentioned is denied."""

import tomllib
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Any, Self

import msgspec

from mpc.errors import ConfigurationError

__all__ = ["CatalogueRule", "ColumnRule", "ColumnUse", "Policy", "TableRule", "Use", "open_policy"]


class Use(StrEnum):
    """What a job may do with a column."""

    GROUP = "group"
    FILTER = "filter"
    AGGREGATE = "aggregate"
    TRAIN = "train"
    JOIN = "join"


class ColumnUse(msgspec.Struct, frozen=True, kw_only=True):
    """One use of one column by one job. COUNT(*) uses the table alone: its column is empty."""

    table: str
    column: str = ""
    use: Use
    function: str = ""
    """For aggregates: the function's SQL name in lower case (sum, avg, corr, ...)."""


class ColumnRule(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What one column may be used for."""

    use: tuple[Use, ...] = ()
    functions: tuple[str, ...] = ()
    """Aggregate functions allowed; empty allows every one."""


class TableRule(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What one table may be used for."""

    count: bool = False
    """Whether rows may be counted."""

    columns: Mapping[str, ColumnRule] = {}
    allow_all: bool = False
    """Every use of every column; for demonstrations and for data without secrets."""


class CatalogueRule(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What one catalogue may be scored for. The default allows nobody."""

    analysts: tuple[str, ...] = ()
    """Names of analysts who may score it; `*` is every analyst of the room."""

    queries_per_analyst: int | None = None
    """Queries that are ever answered to one analyst; below the dimensions, since as many queries tell every item. Not
    given: half of what could tell an item, to an honest analyst or to one who breaks the rules."""

    queries_of_all_analysts: int | None = None
    """The same over all analysts together, against analysts who join forces; not given: no limit."""

    labels: bool = False
    """Whether the labels of the items are told, sealed to the analyst."""

    where: str = ""
    """For catalogues of a table: a condition over its physical columns, in the source's dialect."""

    only: tuple[str | int, ...] | None = None
    """Labels of the items that are offered; not given: all."""

    only_file: str = ""
    """The same from a text file, one label a line; its path is relative to the policy."""

    never: tuple[str | int, ...] = ()
    """Labels of items that are not offered, whatever else is said."""

    most: int | None = None
    """At most so many items, the first ones."""

    def admits(self, analyst: str) -> bool:
        """Whether an analyst may score the catalogue at all."""
        return analyst in self.analysts or "*" in self.analysts


class Policy(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An owner's policy. The default allows nothing."""

    analysts: tuple[str, ...] = ()
    """Names of analysts who may ask; `*` is every analyst of the room."""

    minimum_parties: int = 2
    """Fewest parties in a job, this one included."""

    required_parties: tuple[str, ...] = ()
    """Parties that must take part in every job."""

    two_party: bool = False
    """Whether jobs of exactly two parties may open totals to the parties: each then learns the other's total."""

    allow_clear: bool = False
    """Whether a job may run without encryption, for measurement. Masks stay on."""

    train: bool = False
    """Whether training jobs are allowed at all."""

    trainers: Mapping[str, tuple[str, ...]] = {}
    """By the name of a training function of `party.toml`: the analysts whose jobs may run it; `*` is every one."""

    tables: Mapping[str, TableRule] = {}

    catalogues: Mapping[str, CatalogueRule] = {}
    """By the name of a catalogue of `party.toml`: who may score it, how often, and which items."""

    @classmethod
    def from_mapping(cls, mapping: Mapping[str, Any]) -> Self:
        """Read a policy.

        Raises:
            ConfigurationError: Names the key that is wrong.
        """
        try:
            policy: Self = msgspec.convert(mapping, cls)
        except msgspec.ValidationError as error:
            raise ConfigurationError(f"the policy is not valid: {error}") from None
        if policy.minimum_parties < 2:
            raise ConfigurationError("the policy is not valid: minimum_parties is 2 or more")
        _refuse_twins("tables", policy.tables)
        for name, rule in policy.tables.items():
            _refuse_twins(f"tables.{name}.columns", rule.columns)
        for name, offered in policy.catalogues.items():
            limits = (offered.queries_per_analyst, offered.queries_of_all_analysts, offered.most)
            if any(limit is not None and limit < 1 for limit in limits):
                raise ConfigurationError(f"the policy is not valid: a limit of catalogues.{name} is at least 1")
        return policy

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read `policy.toml` (`ConfigurationError` if it is not there or not valid)."""
        try:
            return cls.from_mapping(tomllib.loads(path.read_text(encoding="utf-8-sig")))
        except OSError as error:
            raise ConfigurationError(f"{path.name} cannot be read: {error.strerror}") from None
        except tomllib.TOMLDecodeError as error:
            raise ConfigurationError(f"{path.name} is not TOML: {error}") from None
        except UnicodeDecodeError:
            raise ConfigurationError(f"{path.name} is not a text in UTF-8") from None

    def table(self, name: str) -> TableRule | None:
        """The rule of a table, ignoring case."""
        folded = name.lower()
        return next((rule for key, rule in self.tables.items() if key.lower() == folded), None)


def _refuse_twins(where: str, rules: Mapping[str, object]) -> None:
    """Names are found ignoring case, so two that differ in case alone would leave open which rule holds."""
    if len({name.lower() for name in rules}) != len(rules):
        raise ConfigurationError(f"the policy is not valid: {where} names something twice")


def open_policy(
    tables: tuple[str, ...], trainers: tuple[str, ...] = (), catalogues: tuple[str, ...] = ()
) -> dict[str, Any]:
    """A policy that allows every use of the named tables, as a mapping; for local rooms and demonstrations."""
    return {
        "analysts": ["*"],
        "two_party": True,
        "allow_clear": True,
        "train": True,
        **({"trainers": {name: ["*"] for name in trainers}} if trainers else {}),
        **({"catalogues": {name: {"analysts": ["*"], "labels": True} for name in catalogues}} if catalogues else {}),
        "tables": {name: {"allow_all": True} for name in tables},
    }
