"""PostgreSQL's side of rendering (13 and later), with the same results as DuckDB's bit for bit.

The session's time zone is UTC. Integers beyond 63 bits are NUMERIC without a scale; texts compare under COLLATE "C".
"""

from typing import Final

from mpc.plan.dialects import CHECK_FAILED, identifier, text_literal
from mpc.plan.ir import Column, Kind, Op, Type
from mpc.plan.texts import SPACES

__all__ = ["POSTGRES", "Postgres"]

_TYPES: Final = {"TINYINT": "SMALLINT", "DOUBLE": "DOUBLE PRECISION", "VARCHAR": "TEXT"}
_SPLIT: Final = 1 << 40
"""Where a DOUBLE beyond 63 bits is cut, because PostgreSQL turns only 15 of its digits into a NUMERIC."""


class Postgres:
    """PostgreSQL."""

    name = "postgres"
    wide = "NUMERIC"
    integer_division = "div"
    real = "DOUBLE PRECISION"
    checks_ahead = False
    decimals_may_be_nan = True

    def column(self, name: str, declared: str) -> str:
        """A column in its declared type; TIMESTAMP WITH TIME ZONE becomes the time in UTC."""
        kind = (
            declared.replace("DECIMAL", "NUMERIC") if declared.startswith("DECIMAL") else _TYPES.get(declared, declared)
        )
        return f"CAST({identifier(name)} AS {kind})"

    def scaled(self, text: str, column: Column, *, wide: bool) -> str:
        """An INTEGER or DECIMAL column as an integer at its scale."""
        target = self.wide if wide else "BIGINT"
        if column.type.kind is Kind.DECIMAL and column.type.scale:
            return f"CAST(TRUNC({text} * {10**column.type.scale}) AS {target})"
        return f"CAST({text} AS {target})"

    def unscaled(self, total: str, scale: int, *, wide: bool) -> str:
        """A sum of decimals as an integer."""
        return f"CAST(TRUNC({total} * {10**scale}) AS {'TEXT' if wide else 'BIGINT'})"

    def rounded(self, text: str, column: Column, *, wide: bool) -> str:
        """A DOUBLE as an integer, half away from zero; `ROUND` of a DOUBLE would round half to even here."""
        unit = 10**column.type.scale
        low, high = (column.type.low or 0) // unit, -(-(column.type.high or 0) // unit)
        product = f"({text} * CAST({unit} AS DOUBLE PRECISION))"
        away = f"CASE WHEN ABS({product} - TRUNC({product})) >= 0.5 THEN SIGN({product}) ELSE 0 END"
        whole = f"(TRUNC({product}) + {away})"
        value = f"CAST({whole} AS BIGINT)"
        if wide:
            upper = f"TRUNC({whole} / CAST({_SPLIT} AS DOUBLE PRECISION))"
            lower = f"CAST({whole} - {upper} * CAST({_SPLIT} AS DOUBLE PRECISION) AS BIGINT)"
            value = f"(CAST(CAST({upper} AS BIGINT) AS NUMERIC) * {_SPLIT} + {lower})"
        return f"CASE WHEN {text} BETWEEN {low} AND {high} THEN {value} END"

    def checked(self, value: str, inside: str, names: str, witness: str) -> str:
        """The value where `inside` holds, NULL where `witness` is NULL, an error otherwise."""
        return f"CASE WHEN {inside} THEN {value} WHEN {witness} IS NOT NULL THEN {self.failure(names, witness)} END"

    def failure(self, names: str, witness: str) -> str:
        """A text that is no number, read as one: it depends on the row, or the planner would raise it at once."""
        return f"CAST({text_literal(CHECK_FAILED + names)} || LEFT(CAST({witness} AS TEXT), 0) AS BIGINT)"

    def ordered(self, text: str) -> str:
        """A text that compares by its bytes."""
        return f'({text} COLLATE "C")'

    def truncated(self, unit: str, value: str) -> str:
        """DATE_TRUNC as a timestamp."""
        return f"DATE_TRUNC('{unit}', {value})"

    def part(self, part: str, value: str) -> str:
        """DATE_PART as a BIGINT."""
        return f"CAST(DATE_PART('{part}', {value}) AS BIGINT)"

    def difference(self, part: str, start: str, end: str) -> str:
        """Boundaries of a part between two timestamps."""
        if part == "day":
            return f"CAST(CAST({end} AS DATE) - CAST({start} AS DATE) AS BIGINT)"
        if part in {"month", "year"}:
            years = f"({self.part('year', end)} - {self.part('year', start)})"
            if part == "year":
                return years
            return f"({years} * 12 + {self.part('month', end)} - {self.part('month', start)})"
        size = {"hour": 3600, "minute": 60, "second": 1}[part]
        at = [f"CAST(EXTRACT(EPOCH FROM DATE_TRUNC('{part}', {v})) AS BIGINT)" for v in (end, start)]
        return f"CAST(div({at[0]} - {at[1]}, {size}) AS BIGINT)"

    def raw_key(self, text: str, kind: Type) -> str:
        """A group key as its raw BIGINT or text."""
        if kind.kind is Kind.DATE:
            return f"CAST({text} - DATE '1970-01-01' AS BIGINT)"
        if kind.kind is Kind.TIMESTAMP:
            return f"CAST(EXTRACT(EPOCH FROM {text}) * 1000000 AS BIGINT)"
        if kind.kind is Kind.BOOLEAN:
            return f"CAST(CAST({text} AS INTEGER) AS BIGINT)"
        return text if kind.kind is Kind.VARCHAR else f"CAST({text} AS BIGINT)"

    def like(self, value: str, pattern: str, *, any_case: bool) -> str:
        """LIKE; patterns hold no backslash, PostgreSQL's escape character."""
        return f"({value} {'ILIKE' if any_case else 'LIKE'} {pattern})"

    def trimmed(self, op: Op, value: str) -> str:
        """TRIM of the characters that DuckDB trims; by itself PostgreSQL knows the blank alone."""
        name = {Op.TRIM: "BTRIM", Op.LTRIM: "LTRIM", Op.RTRIM: "RTRIM"}[op]
        return f"{name}({value}, {text_literal(SPACES)})"

    def text_test(self, op: Op, value: str, literal: str) -> str:
        """Prefix, suffix and substring tests."""
        if op is Op.STARTS_WITH:
            return f"(LEFT({value}, LENGTH({literal})) = {literal})"
        if op is Op.ENDS_WITH:
            return f"(RIGHT({value}, LENGTH({literal})) = {literal})"
        return f"(STRPOS({value}, {literal}) > 0)"


POSTGRES: Final = Postgres()
