"""`policy.toml`: what an owner allows. Unknown keys are errors; what is not mentioned is denied."""

import tomllib
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Any, Self

import msgspec

from mpc.errors import ConfigurationError

__all__ = ["ColumnRule", "ColumnUse", "Policy", "TableRule", "Use", "open_policy"]


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
        return policy

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read `policy.toml` (`ConfigurationError` if it is not there or not valid)."""
        try:
            return cls.from_mapping(tomllib.loads(path.read_text(encoding="utf-8")))
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


def open_policy(tables: tuple[str, ...], trainers: tuple[str, ...] = ()) -> dict[str, Any]:
    """A policy that allows every use of the named tables, as a mapping; for local rooms and demonstrations."""
    return {
        "analysts": ["*"],
        "two_party": True,
        "allow_clear": True,
        "train": True,
        **({"trainers": {name: ["*"] for name in trainers}} if trainers else {}),
        "tables": {name: {"allow_all": True} for name in tables},
    }
